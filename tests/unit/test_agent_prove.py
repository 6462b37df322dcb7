"""Which backup is proven next, what its rows are held to, and what a record tells."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from pathlib import Path
from typing import ClassVar

import pytest

from agents.base.errors import AgentError
from agents.jobs import leases, proofs
from agents.jobs.proofs import Check, Proof, labelled_at
from agents.jobs.proving import choose, judged, overdue, prove, tell
from agents.postgresql import manifest, prove_checks, rows
from agents.postgresql.rows import Counted
from agents.postgresql.side.place import Unanswered
from inventories.catalog import load_tables
from inventories.catalog.export import tables_json
from runbooks.probes.postgresql import proofs as probe
from runbooks.probes.tdengine import backups as td_backups

_hold, _release = leases.hold, leases.release  # as they are, before a test gives them a folder of its own
LABELS = ("1F", "2F", "3F")
DAY, NOW = 86400.0, 50.0


def test_the_newest_that_was_never_tried_comes_first() -> None:
    assert choose(LABELS, (), NOW) == "3F"
    assert choose(LABELS, (Proof("3F", 10, True),), NOW) == "2F"


def test_then_the_one_tried_longest_ago_and_a_failed_trial_is_one() -> None:
    """By the order of the records: the clock was wrong when the first was written."""
    tried = (Proof("3F", 30, True), Proof("2F", 20, False), Proof("1F", 25, True), Proof("2F", 40, True))
    assert choose(LABELS, tried, NOW) == "3F"


@pytest.mark.parametrize("jump", [0.0, 60.0, -60.0])
def test_every_full_backup_in_use_is_restored_again_within_fourteen_days(jump: float) -> None:
    """Two incremental ones a day and a full one a week, kept for five weeks, one trial a night, for a year.

    After 200 days the clock is wrong by two months for a night, and that night's record with it.
    """
    begins = labelled_at("20260101-180000F")
    taken: dict[str, int] = {}  # label -> day
    records: list[Proof] = []
    gaps: list[float] = []
    untried, full = 0, ""
    for day in range(365):
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(begins + day * DAY))
        full = f"{stamp}F" if day % 7 == 0 else full
        taken |= {full: taken.get(full, day)} | {f"{full}_{stamp[:-1]}{part}I": day for part in "12"}
        there = [label for label in taken if day - taken[label.partition("_")[0]] < 35]
        now = begins + day * DAY + 4 * 3600
        chosen = choose(there, records, now)
        assert chosen is not None
        untried += chosen not in [one.label for one in records]
        records.append(Proof(chosen, now + (jump * DAY if day == 200 else 0.0), True))
        right = {one.label: n for n, one in enumerate(records)}  # one a day, so its number is the day
        gaps += [day - right.get(label, taken[label]) for label in there if "_" not in label]
        assert jump or not list(overdue(there, records, now, 14 * DAY))
    assert max(gaps) <= 14
    assert untried > 200, "what is new is tried all the same"


def test_a_full_backup_that_waits_too_long_is_told_and_a_damaged_one_is_told_elsewhere() -> None:
    label, other = "20260901-000000F", "20260908-000000F"
    at = labelled_at(label)
    assert list(overdue([label], [], at + 15 * DAY, 14 * DAY)) == [(label, 15 * DAY)]
    known = [Proof(label, at + 9 * DAY, True)]
    assert list(overdue([label, f"{label}_20260902-000000I"], known, at + 15 * DAY, 14 * DAY)) == []
    assert list(overdue([label], [Proof(label, at, False)], at + 15 * DAY, 14 * DAY)) == []
    ahead = [Proof(other, at + 900 * DAY, True)]
    assert [one for one, _ in overdue([other], ahead, at + 15 * DAY, 14 * DAY)] == [other], "a stamp ahead is none"


def test_no_backup_at_all_is_no_proof() -> None:
    assert choose((), (), NOW) is None
    assert choose((), (Proof("1F", 10, True),), NOW) is None


def test_nothing_expires_while_a_backup_is_chosen_and_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "hold", lambda lease: _hold(lease, tmp_path))
    monkeypatch.setattr(leases, "release", lambda identity: _release(identity, tmp_path))
    path = tmp_path / "proofs.jsonl"

    def trial() -> Proof:
        (held,) = leases.live(tmp_path)
        assert (held.why, held.label) == ("a backup is being proven", None)
        return Proof("1F", 5, True)

    assert prove("prove", "a backup", path, trial).passed
    assert leases.live(tmp_path) == ()

    def no_space() -> Proof:
        raise AgentError("A proof needs 5 MiB, none is free.", "Make room there.")

    with pytest.raises(AgentError, match="none is free"):
        prove("prove", "a backup", path, no_space)
    assert leases.live(tmp_path) == ()
    assert [one.label for one in proofs.read(path)] == ["1F"], "what is not the backup's fault is no verdict"


def test_a_failed_proof_is_printed_and_ends_with_its_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    checks = (Check("rows", True, "5 rows"), Check("amcheck", False, "index i is broken"))
    sentence = judged("1F", checks, ", restored at 5 MiB/s", "; damaged: base/1")
    assert sentence == "1F is NOT proven: amcheck: index i is broken; damaged: base/1"
    with pytest.raises(AgentError, match="index i is broken; damaged: base/1"):
        tell(Proof("1F", 5, False, checks=checks, sentence=sentence))
    assert json.loads(capsys.readouterr().out)["outcome"] == "failed"
    sound = judged("1F", checks[:1], ", restored at 5 MiB/s", "; damaged: base/1")
    assert sound == "1F is proven by 1 checks, restored at 5 MiB/s"
    assert tell(Proof("1F", 5, True, checks=checks[:1], sentence=sound)) == 0


@pytest.mark.parametrize(
    ("failed", "hint"),
    [((), "once there are rows"), (("amcheck",), "Take a new full backup")],
)
def test_a_backup_of_tables_without_rows_is_not_called_damaged(
    failed: tuple[str, ...], hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The native engine counts nothing beforehand: a copy of what is new and one that lost all are alike."""
    check = counted(Restored(rows=0), monkeypatch)
    assert not check.ok
    assert "none of its 1 tables holds a row" in check.detail
    checks = (Check("structure", True, "as declared"), check, *(Check(name, False, "broken") for name in failed))
    with pytest.raises(AgentError) as told:
        tell(Proof("1F", 5, False, checks=checks, sentence=judged("1F", checks, "")))
    assert hint in str(told.value.hint)


def test_rows_lie_between_the_counts_around_the_backup() -> None:
    before, after = {"t": Counted(5, "a", "c")}, {"t": Counted(9, "a", "e")}
    assert rows.differences(before, after, {"t": Counted(7, "a", "d")}) == (1, [])
    assert rows.differences(before, after, {"t": Counted(4, "a", "c")})[1]
    assert rows.differences(before, after, {"t": Counted(10, "a", "e")})[1]
    assert rows.differences(before, after, {"t": Counted(7, "a", "b")})[1]
    assert rows.differences(before, after, {"t": Counted(7, "a", None)})[1]
    assert rows.differences(before, after, {})[1] == ["t is not there"]


def test_retention_during_the_backup_makes_no_difference() -> None:
    assert rows.differences({"t": Counted(9)}, {"t": Counted(5)}, {"t": Counted(7)}) == (1, [])


class Restored:
    """A side cluster that answers every statement with what it was given, or refuses it."""

    name, folder, log = "proof", Path("/nowhere"), "/log"
    environment: ClassVar[dict[str, str]] = {}

    def __init__(self, refused: Unanswered | None = None, collations: str = "", rows: int = 7) -> None:
        self.refused, self.collations, self.rows = refused, collations, rows

    def program(self, name: str) -> str:
        return name

    def query(self, sql: str, database: str = "postgres") -> str:
        if self.refused is not None:
            raise self.refused
        return self.collations if "datcollversion" in sql else f"[{self.rows}, null, null]" if "count" in sql else ""


def counted(place: Restored, monkeypatch: pytest.MonkeyPatch) -> Check:
    monkeypatch.setattr(rows, "asked", lambda: (rows.Asked("order_records", "quant_research", None),))
    return prove_checks.counts(place, {})  # type: ignore[arg-type]


@pytest.mark.parametrize("state", ["53200", "25006", "57014", "55P03", "28000", ""])
def test_what_cannot_be_read_on_this_host_is_no_verdict_on_a_backup(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F6, F7: out of shared memory, a trigger at login; the proof of a good backup was recorded as failed."""
    refused = Unanswered("The side cluster proof refused a statement: it says why", "See.", state)
    with pytest.raises(AgentError, match="order_records cannot be read here") as raised:
        counted(Restored(refused), monkeypatch)
    assert "Nothing is said of the backup" in str(raised.value.hint)


@pytest.mark.parametrize("state", ["XX001", "XX002", "42P01", "58P01"])
def test_what_is_damaged_or_missing_in_a_backup_is_one(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check = counted(Restored(Unanswered("invalid page in block 7", "See.", state)), monkeypatch)
    assert (check.name, check.ok) == ("rows", False)
    assert counted(Restored(), monkeypatch).ok


LOCKS = 'heap table "q.public.a":\n    ERROR:  out of shared memory\n    HINT:  You might need more.\n'
ORDER = 'btree index "q.public.i":\n    ERROR:  item order invariant violated for index "i"\n'
HEAP = 'heap table "q.public.b", block 0, offset 1:\n    xmin 7 precedes relation freeze threshold\n'


def checked(said: str, monkeypatch: pytest.MonkeyPatch, collations: str = "") -> Check:
    done = subprocess.CompletedProcess([], 2 if said else 0, said, "3/3 relations (100%)")
    monkeypatch.setattr(prove_checks.subprocess, "run", lambda *_, **__: done)
    return prove_checks.amcheck(Restored(collations=collations))  # type: ignore[arg-type]


def test_amcheck_without_locks_or_with_another_icu_says_nothing_of_a_backup(monkeypatch: pytest.MonkeyPatch) -> None:
    other = "database q: 153.120, here 153.14"
    assert checked("", monkeypatch, other).ok
    with pytest.raises(AgentError, match="Not every table could be looked at"):
        checked(LOCKS, monkeypatch)
    with pytest.raises(AgentError, match=r"ordered otherwise than there: database q: 153\.120, here 153\.14"):
        checked(ORDER, monkeypatch, other)


def test_damage_that_amcheck_finds_is_a_verdict_whatever_else_it_met(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not checked(ORDER, monkeypatch).ok
    assert not checked(LOCKS + HEAP, monkeypatch).ok
    check = checked(ORDER + HEAP, monkeypatch, "database q: 153.120, here 153.14")
    assert not check.ok
    assert 'heap table "q.public.b"' in check.detail


def test_nothing_to_compare_with_compares_nothing() -> None:
    assert rows.differences({}, {}, {"t": Counted(7)}) == (0, [])
    assert rows.parse("torn {") == {} == rows.parse("")


def test_counts_survive_their_annotation() -> None:
    counted = {"t": Counted(5, "2026-11-21 06:00:00+00", "2026-11-21 07:00:00+00"), "u": Counted(0)}
    assert rows.parse(rows.compact(counted)) == counted
    assert "=" not in rows.compact(counted)


def test_every_table_of_the_catalogue_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "tables.json"
    path.write_text(tables_json(load_tables()))
    asked = {one.name: one for one in rows.asked(path)}
    assert asked["order_records"].time_column
    assert f'max("{asked["order_records"].time_column}")' in rows.query(asked["order_records"])
    assert "max" not in rows.query(asked["system_config"])


def test_the_key_is_told_by_its_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_text("[global]\nrepo1-cipher-pass=secret\n")
    assert manifest.key_id(path) == hashlib.sha256(b"secret").hexdigest()[:12]
    assert manifest.key_id(tmp_path / "none") == ""


def test_a_record_is_read_by_retention_and_by_the_operator(tmp_path: Path) -> None:
    path = tmp_path / "proofs.jsonl"
    figures = {"restore_bytes": 100, "restore_s": 1.0, "wal_bytes": 16, "replay_s": 0.5}
    for passed in (True, False):
        checks = (Check("rows", True, "5 rows"),)
        proofs.append(Proof("1F", 5.0, passed, ("base/1",), "full", 1, 2.0, figures, checks, "s"), path)
    path.write_text(path.read_text() + '{"label": "torn')
    assert [one.passed for one in proofs.read(path)] == [True, False]
    told = probe.parse(path.read_text())
    assert [one.passed for one in told] == [True, False]
    assert told[0].checks == (probe.Check("rows", True, "5 rows"),)
    assert told[0].damaged == ("base/1",)
    assert json.loads(path.read_text().splitlines()[0])["outcome"] == "passed"


def test_a_record_of_either_store_is_read_by_the_operator(tmp_path: Path) -> None:
    path = tmp_path / "td-proofs.jsonl"
    figures = {"restore_bytes": 100, "restore_rows": 7, "restore_s": 1.0}
    proofs.append(Proof("1F", 5.0, True, (), "full", 1, 2.0, figures, (Check("rows", True, "7 rows"),), "s"), path)
    (told,) = td_backups.parse(path.read_text())
    assert (told.label, told.passed, told.restore_rows, told.sentence) == ("1F", True, 7, "s")
