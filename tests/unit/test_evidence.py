"""The signed history: whatever is done to it afterwards is found, and what happens to its writer loses nothing."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from drills.evidence import chain, keys
from drills.evidence.checking import check, trusted
from inventories.errors import BadInput
from tests.unit.evidence_kit import History, history, told


@pytest.fixture
def kept(tmp_path: Path) -> History:
    made = history(tmp_path)
    made.add(*(told(days_ago=days) for days in (5, 4, 3, 2, 1)))
    return made


def test_what_was_recorded_holds(kept: History) -> None:
    checked = check(kept.files)
    assert checked.sound and len(checked.records) == 5 and len(checked.keys) == 1
    assert [record.seq for record in checked.records] == [1, 2, 3, 4, 5]


def test_nothing_is_no_evidence(tmp_path: Path) -> None:
    checked = check(history(tmp_path).files)
    assert (checked.records, checked.troubles, checked.sound) == ((), (), False)


EDITED = "record 3 was edited: the signature does not fit what it says"


def without(*numbers: int) -> Callable[[History], None]:
    return lambda kept: kept.write([line for nr, line in enumerate(kept.lines, 1) if nr not in numbers])


def edited(number: int, old: bytes, new: bytes) -> Callable[[History], None]:
    def edit(kept: History) -> None:
        lines = kept.lines
        assert old in lines[number - 1]
        lines[number - 1] = lines[number - 1].replace(old, new)
        kept.write(lines)

    return edit


def swapped(kept: History) -> None:
    lines = kept.lines
    lines[1], lines[2] = lines[2], lines[1]
    kept.write(lines)


def twice(kept: History) -> None:
    lines = kept.lines
    kept.write([*lines, lines[-1]])


def removed(kept: History) -> None:
    kept.files.history.unlink()


def signed_anew(kept: History) -> None:
    """By who has the key: the line itself holds, and the next one tells."""
    lines, signer = kept.lines, keys.signer(kept.files.key)
    old = kept.records[2]
    new = dataclasses.replace(old, told={**old.told, "rto_s": 0.1})
    new = dataclasses.replace(new, signature=base64.b64encode(signer.sign(new.content)).decode())
    lines[2] = new.line + b"\n"
    kept.write(lines)


def signed_by_another(kept: History) -> None:
    other = Ed25519PrivateKey.generate()
    record = kept.records[4]
    kept.write([*kept.lines[:4], dataclasses.replace(
        record, signature=base64.b64encode(other.sign(record.content)).decode()
    ).line + b"\n"])  # fmt: skip


@pytest.mark.parametrize(
    ("do", "trouble"),
    [
        (without(3), "record 3 is missing: line 3 is record 4"),
        (without(2, 3), "records 2 to 3 are missing: line 2 is record 4"),
        (without(1), "record 1 is missing: line 1 is record 2"),
        (without(5), "record 5 is missing at the end: 5 were written here"),
        (removed, "records 1 to 5 are missing at the end: 5 were written here"),
        (edited(3, b'"rto_s":1.7', b'"rto_s":0.7'), EDITED),
        (edited(3, b'"seq":3', b'"seq": 3'), "line 3 is no record: it was edited, or spelled anew"),
        (edited(3, b'"lost":0', b'"lost":9,"lost":0'), "line 3 is no record: it was edited, or spelled anew"),
        (edited(3, b'"signature":"', b'"signature":"A'), EDITED),
        (edited(5, b"}\n", b"}"), "line 5 was written in part"),
        (signed_by_another, "record 5 was edited: the signature does not fit what it says"),
        (signed_anew, "record 4 does not follow on what stands before it: that was replaced since"),
        (twice, "line 6 is record 5, and record 5 stands before it"),
    ],
)  # fmt: skip
def test_whatever_is_done_to_it_is_one_sentence(kept: History, do: Callable[[History], None], trouble: str) -> None:
    do(kept)
    assert check(kept.files).troubles == (trouble,)


def test_lines_that_changed_places_are_found(kept: History) -> None:
    swapped(kept)
    assert check(kept.files).troubles[0] == "record 2 is missing: line 2 is record 3"


def test_what_does_not_hold_is_not_believed(kept: History) -> None:
    edited(3, b'"rto_s":1.7', b'"rto_s":0.7')(kept)
    assert [record.seq for record in check(kept.files).records] == [1, 2, 4, 5]


def test_a_hole_is_not_healed_by_what_is_recorded_later(kept: History) -> None:
    without(4, 5)(kept)
    kept.add(told(days_ago=0))
    assert check(kept.files).troubles == ("records 4 to 5 are missing: line 4 is record 6",)


def test_an_edit_of_the_last_record_is_not_healed_either(kept: History) -> None:
    edited(5, b'"lost":0', b'"lost":1')(kept)
    kept.add(told(days_ago=0))
    assert [record.seq for record in kept.records] == [1, 2, 3, 4, 5, 6]
    assert check(kept.files).troubles == ("record 5 was edited: the signature does not fit what it says",)


def test_a_writer_that_is_killed_in_its_line_or_before_it_remembers_it_leaves_no_hole(kept: History) -> None:
    before = kept.files.head.read_text()
    kept.add(told(days_ago=0.5))
    kept.files.head.write_text(before)  # killed after the line, before the note
    kept.add(told(days_ago=0.4))
    assert check(kept.files).sound
    kept.files.history.write_bytes(kept.files.history.read_bytes() + b'{"at":"2026')
    kept.add(told(days_ago=0.3))
    assert check(kept.files).sound and len(kept.records) == 8


def test_a_result_that_was_edited_since_is_named(tmp_path: Path) -> None:
    kept = history(tmp_path)
    result = kept.files.runs / "a-run" / "result.json"
    result.parent.mkdir(parents=True)
    result.write_text("{}")
    kept.add(told(run="a-run", sha256=hashlib.sha256(b"{}").hexdigest()))
    assert check(kept.files).sound
    result.write_text('{"outcome": "passed"}')
    assert check(kept.files).troubles == ("a-run/result.json was edited since record 1 was written",)
    result.unlink()
    assert check(kept.files).sound, "runs are removed one day, and the record stays"


def test_the_key_is_for_its_owner_alone_and_shows_in_nothing(kept: History) -> None:
    assert stat.S_IMODE(kept.files.key.stat().st_mode) == 0o600
    secret = kept.files.key.read_text().splitlines()[1]
    public = [path for path in kept.files.runs.rglob("*") if path.is_file()]
    assert public and not any(secret in path.read_text() for path in public)
    signer = keys.signer(kept.files.key)
    assert secret not in repr(signer) and "PRIVATE" not in repr(signer)
    assert signer.public.pem == kept.files.public.read_text()


def test_a_key_that_others_may_read_signs_nothing(kept: History) -> None:
    kept.files.key.chmod(0o644)
    with pytest.raises(BadInput, match="can be read by others") as told_so:
        kept.add(told())
    assert told_so.value.hint == f"chmod 600 {kept.files.key}"
    assert len(kept.records) == 5


@pytest.mark.parametrize("content", ["", "no key"])
def test_a_key_that_is_none_signs_nothing(kept: History, content: str) -> None:
    kept.files.key.write_text(content)
    with pytest.raises(BadInput, match="holds no ed25519 key that can sign"):
        kept.add(told())


def test_a_key_that_was_lost_is_replaced_and_both_are_named(kept: History) -> None:
    kept.files.key.unlink()
    kept.add(told(days_ago=0))
    checked = check(kept.files)
    assert checked.sound and len(checked.keys) == 2


def test_only_the_keys_that_an_auditor_trusts_count(kept: History, tmp_path: Path) -> None:
    given = tmp_path / "auditor.pem"
    given.write_text(kept.files.public.read_text())
    forged = history(tmp_path / "forged")
    forged.add(told())
    assert check(forged.files).sound, "with its own key it is whole by itself"
    assert check(kept.files, trusted([given])).sound
    name = next(iter(keys.publics(forged.files.public)))
    (trouble,) = check(forged.files, trusted([given])).troubles
    assert trouble == f"record 1 is signed with key {name}, which is none of those that are trusted"
    with pytest.raises(BadInput, match="holds no public ed25519 key"):
        trusted([kept.files.history])
    with pytest.raises(BadInput, match="cannot be read"):
        trusted([tmp_path / "no.pem"])


def test_several_at_once_make_one_chain(tmp_path: Path) -> None:
    kept = history(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda days: kept.add(told(days_ago=days)), range(24)))
    assert check(kept.files).sound and len(kept.records) == 24


def test_who_reads_while_another_writes_sees_no_hole(tmp_path: Path) -> None:
    kept = history(tmp_path)
    kept.add(told())
    with ThreadPoolExecutor(3) as pool:
        writing = [pool.submit(kept.add, told(days_ago=days)) for days in range(60)]
        troubles = []
        while not all(one.done() for one in writing):
            troubles += check(kept.files).troubles
    assert troubles == [] and len(check(kept.files).records) == 61


def test_a_record_has_one_spelling_whatever_is_in_it(kept: History) -> None:
    kept.add(told(reason='gelöscht: "alles"\n\r\u2028', rto_s=0.1 + 0.2))
    assert check(kept.files).sound
    record = kept.records[-1]
    assert chain.parse(record.line + b"\n") == record
    assert json.loads(record.line)["told"]["rto_s"] == 0.1 + 0.2


def test_keys_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    other = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    with pytest.raises(BadInput, match="no ed25519 key"):
        keys.signer(path)
