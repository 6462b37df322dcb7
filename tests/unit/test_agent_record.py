"""The estate record's program: real files and real processes, on which many pull at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agents.guard import record

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = "7712820265723870263"
Json = dict[str, Any]


def a_record(**changes: Any) -> Json:
    return {
        "revision": 0, "system_identifier": SYSTEM, "epoch": 1, "primary": "pg1", "timeline": 1, "mode": "synchronous",
        "synchronous": ["pg2"], "since": "2026-01-01T00:00:00+00:00", "why": "deployed", "changing": None,
        "based_on": None, **changes,
    }  # fmt: skip


def acting(token: str, **changes: Any) -> Json:
    return {
        "token": token, "machine_id": "m", "boot_id": "b", "pid_space": "p", "pid": 7, "started": "1",
        "owner": f"{token}@desk", "procedure": "failover", "run_dir": "/runs/1", **changes,
    }  # fmt: skip


def ask(folder: Path, verb: str, **request: Any) -> tuple[int, Json]:
    """One process, as on the host."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", _MAIN, verb, str(folder)], input=json.dumps(request), capture_output=True,
        text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout or "{}") | {"stderr": done.stderr}


_MAIN = (
    "import sys; from pathlib import Path; from agents.guard import record;"
    "sys.exit(record.main(sys.argv[1:2], sys.stdin.read(), Path(sys.argv[2])))"
)


def done(folder: Path, verb: str, **request: Any) -> Json:
    code, said = ask(folder, verb, **request)
    assert code == 0, said
    return said


def refused(folder: Path, verb: str, **request: Any) -> str:
    code, said = ask(folder, verb, **request)
    assert code == 3, said
    assert said["why"] in said["stderr"]
    return str(said["refused"])


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder with a record of revision 1, and `me` acting."""
    done(tmp_path, "take", acting=acting("me"))
    done(tmp_path, "swap", token="me", expect=0, record=a_record())
    return tmp_path


def test_a_record_is_changed_by_who_acts_and_knows_what_it_was(kept: Path) -> None:
    assert done(kept, "show")["record"]["revision"] == 1
    changed = done(kept, "swap", token="me", expect=1, record=a_record(timeline=2, epoch=2))
    assert changed["record"]["revision"] == 2 and changed["record"]["timeline"] == 2
    assert refused(kept, "swap", token="me", expect=1, record=a_record()) == "revision"
    assert refused(kept, "swap", token="you", expect=2, record=a_record()) == "token"
    assert done(kept, "show")["record"]["timeline"] == 2


def test_nobody_changes_a_record_without_acting(kept: Path) -> None:
    done(kept, "free", token="me")
    assert refused(kept, "swap", token="me", expect=1, record=a_record()) == "token"
    assert refused(kept, "swap", token="", expect=1, record=a_record()) == "token"


def test_of_many_takers_exactly_one_wins(tmp_path: Path) -> None:
    takers = [
        subprocess.Popen(
            [sys.executable, "-S", "-c", _MAIN, "take", str(tmp_path)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for _ in range(12)
    ]  # fmt: skip
    for nr, taker in enumerate(takers):  # all of them are waiting for their request before the first is answered
        assert taker.stdin
        taker.stdin.write(json.dumps({"acting": acting(f"t{nr}")}))
    for taker in takers:
        taker.communicate()
    assert sorted(taker.returncode for taker in takers) == [0] + [3] * 11
    winner = next(nr for nr, taker in enumerate(takers) if taker.returncode == 0)
    assert done(tmp_path, "show")["acting"]["token"] == f"t{winner}"


def test_of_many_swaps_from_one_revision_exactly_one_is_done(kept: Path) -> None:
    request = json.dumps({"token": "me", "expect": 1, "record": a_record(epoch=2)})
    swaps = [
        subprocess.Popen(
            [sys.executable, "-S", "-c", _MAIN, "swap", str(kept)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for _ in range(8)
    ]  # fmt: skip
    for swap in swaps:
        assert swap.stdin
        swap.stdin.write(request)
    for swap in swaps:
        swap.communicate()
    assert sorted(swap.returncode for swap in swaps) == [0] + [3] * 7
    assert done(kept, "show")["record"]["revision"] == 2


def test_two_newcomers_do_not_both_follow_the_same_dead_holder(kept: Path) -> None:
    done(kept, "take", acting=acting("ann"), instead_of="me")
    assert refused(kept, "take", acting=acting("bob"), instead_of="me") == "held"
    assert done(kept, "show")["acting"]["token"] == "ann"


def test_a_run_neither_frees_nor_renews_anothers_lock(kept: Path) -> None:
    assert refused(kept, "free", token="you") == "token"
    assert refused(kept, "beat", token="you") == "token"
    assert done(kept, "show")["acting"]["token"] == "me"


def test_a_repeated_take_by_the_same_run_is_the_same_holding(kept: Path) -> None:
    done(kept, "take", acting=acting("me"))
    assert refused(kept, "take", acting=acting("you")) == "held"


def acts(folder: Path, run: str, **more: Any) -> tuple[int, Json]:
    """Take the lock for that run and give it back."""
    token = f"{run}-{len(list(folder.iterdir()))}-{time.monotonic_ns()}"
    code, said = ask(folder, "take", acting=acting(token, run=run, **more))
    if code == 0:
        done(folder, "free", token=token)
    return code, said


def test_a_run_that_another_has_overtaken_is_not_resumed_from_whatever_machine(tmp_path: Path) -> None:
    assert acts(tmp_path, "first")[0] == 0
    assert acts(tmp_path, "first", resumes=True)[0] == 0, "nobody has acted since"
    assert acts(tmp_path, "second", owner="ann@laptop", procedure="deploy")[0] == 0
    code, said = acts(tmp_path, "first", resumes=True)
    assert (code, said["refused"]) == (3, "overtaken")
    assert "ann@laptop has begun deploy" in said["why"] and "overtaken it" in said["why"]
    assert "runbook.abandon" in said["stderr"]
    assert acts(tmp_path, "second", resumes=True)[0] == 0
    assert record.show(tmp_path)["acting"] is None


def test_a_run_that_was_never_seen_here_is_not_resumed_beside_one_that_was(tmp_path: Path) -> None:
    assert acts(tmp_path, "unseen", resumes=True, touched=True)[0] == 0, "of an estate in which nobody has acted"
    assert acts(tmp_path, "away", resumes=True, touched=True)[1]["refused"] == "overtaken"


def test_a_run_that_was_killed_before_it_came_here_has_done_nothing_and_is_resumed(tmp_path: Path) -> None:
    acts(tmp_path, "first")
    assert acts(tmp_path, "killed", resumes=True)[0] == 0
    assert record.runs(tmp_path)[-1]["run"] == "killed"


def test_what_cannot_be_read_is_not_taken_for_nobody_has_acted(tmp_path: Path) -> None:
    acts(tmp_path, "first")
    (tmp_path / record.RUNS).write_text("{half")
    assert acts(tmp_path, "first", resumes=True)[1]["refused"] == "unreadable"
    assert acts(tmp_path, "second")[0] == 0, "a run that begins is not refused for it"
    assert [one["run"] for one in record.runs(tmp_path)] == ["second"]


def test_the_list_of_runs_does_not_grow_for_ever(tmp_path: Path) -> None:
    for nr in range(record.KEPT_RUNS + 3):
        record.take(tmp_path, {"acting": acting("same", run=f"run-{nr}")})
    assert len(record.runs(tmp_path)) == record.KEPT_RUNS
    assert record.runs(tmp_path)[-1]["run"] == f"run-{record.KEPT_RUNS + 2}"


def test_a_lock_is_broken_only_when_its_holder_is_silent_or_somebody_insists(kept: Path) -> None:
    assert refused(kept, "break", token="me", by="ann") == "fresh"
    assert refused(kept, "break", token="other", by="ann", yes=True) == "token"
    done(kept, "break", token="me", by="ann", yes=True)
    assert done(kept, "show")["acting"] is None
    assert refused(kept, "beat", token="me") == "token"
    line = json.loads((kept / record.LOG).read_text().splitlines()[-1])
    assert line["what"] == "break" and line["by"] == "ann" and line["holder"]["owner"] == "me@desk"


def test_silence_is_measured_on_the_arbiters_uptime_and_not_on_any_clock(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + record.FRESH_S + 1)
    assert record.break_(kept, {"token": "me", "by": "ann"})["acting"] is None


def test_a_holder_from_before_a_boot_of_the_arbiter_is_silent(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record.clock, "boot_id", lambda: "another boot")
    assert record.show(kept)["acting"]["beat_age_s"] is None
    assert record.break_(kept, {"token": "me", "by": "ann"})["acting"] is None


def test_a_writer_killed_in_the_middle_leaves_the_old_record_or_the_new_one(kept: Path) -> None:
    """Processes are killed at random moments while they write again and again."""
    writer = (
        "import sys, itertools; from pathlib import Path; from agents.guard import record;"
        "folder = Path(sys.argv[1]); base = record.read(folder)['record'];"
        "[record.main(['swap'], __import__('json').dumps({'token': 'me', 'expect': n, 'record': {**base, 'epoch': n}}),"
        " folder) for n in itertools.count(base['revision'])]"
    )
    for moment in (0.05, 0.1, 0.15, 0.2, 0.25):
        before = record.read(kept)["record"]["revision"]
        child = subprocess.Popen([sys.executable, "-S", "-c", writer, str(kept)], cwd=ROOT, stdout=subprocess.DEVNULL)
        ends = time.monotonic() + 20
        while record.read(kept)["record"]["revision"] == before and time.monotonic() < ends:
            time.sleep(0.005)
        time.sleep(moment)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        found = record.read(kept)
        assert found["record"]["revision"] > before
        assert found["sum"] == record.sum_of(found["record"])
    revision = record.read(kept)["record"]["revision"]
    done(kept, "swap", token="me", expect=revision, record=a_record())


def test_a_full_disk_leaves_the_record_as_it_was(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "estate.json")

    monkeypatch.setattr(record.files, "replace", full)
    request = json.dumps({"token": "me", "expect": 1, "record": a_record(epoch=9)})
    assert record.main(["swap"], request, kept) == 1
    monkeypatch.undo()
    assert record.read(kept)["record"]["epoch"] == 1


@pytest.mark.parametrize(
    ("edit", "kind"),
    [
        (lambda text: text.replace('"primary": "pg1"', '"primary": "pg2"'), "unreadable"),
        (lambda text: text.replace('"synchronous"', '"degraded"', 1), "unreadable"),
        (lambda text: text[: len(text) // 2], "unreadable"),
        (lambda text: text.replace('"schema": 1', '"schema": 3'), "future"),
        (lambda _: "[]", "unreadable"),
        (lambda _: "", "unreadable"),
    ],
)
def test_what_was_edited_damaged_or_is_from_the_future_is_never_believed(kept: Path, edit: Any, kind: str) -> None:
    path = kept / record.NAME
    path.write_text(edit(path.read_text()))
    text = path.read_text()
    assert done(kept, "show")["state"] == kind
    assert refused(kept, "swap", token="me", expect=1, record=a_record()) == kind
    assert refused(kept, "take", acting=acting("you")) == kind
    assert path.read_text() == text


def test_a_record_that_cannot_be_believed_is_put_aside_with_a_persons_word_only(kept: Path) -> None:
    (kept / record.NAME).write_text("{")
    done(kept, "take", acting=acting("me"), anew=True)
    done(kept, "swap", token="me", expect=0, record=a_record(), anew=True)
    assert done(kept, "show")["record"]["revision"] == 1
    assert [path.read_text() for path in kept.glob("estate.*.aside.json")] == ["{"]


def test_another_estates_record_is_not_overwritten(kept: Path) -> None:
    other = a_record(system_identifier="42")
    assert refused(kept, "swap", token="me", expect=1, record=other) == "foreign"
    assert done(kept, "show")["record"]["system_identifier"] == SYSTEM
    done(kept, "swap", token="me", expect=1, record=other, anew=True)
    assert done(kept, "show")["record"]["system_identifier"] == "42"
    assert done(kept, "show")["acting"]["token"] == "me"


def test_a_copy_never_goes_back_and_holds_no_lock(kept: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    there = tmp_path_factory.mktemp("pg1")
    first = record.read(kept)["record"]
    second = done(kept, "swap", token="me", expect=1, record=a_record(epoch=2))["record"]
    done(there, "copy", record=second)
    assert refused(there, "copy", record=first) == "older"
    seen = done(there, "show")
    assert seen["record"] == second and seen["acting"] is None


def test_a_change_without_the_arbiter_says_what_it_is_based_on(kept: Path, tmp_path: Path) -> None:
    document = record.read(kept)
    there = tmp_path / "pg1"
    there.mkdir()
    done(there, "copy", record=document["record"])
    alone = done(there, "swap", alone=True, expect=1, record=a_record(mode="degraded", synchronous=[]))["record"]
    assert alone["revision"] == 2 and alone["based_on"] == {"revision": 1, "sum": document["sum"]}
    again = done(there, "swap", alone=True, expect=2, record=a_record(epoch=2, revision=2))["record"]
    assert again["revision"] == 3 and again["based_on"] == alone["based_on"]
    carried = done(kept, "swap", token="me", expect=1, record=again)["record"]
    assert carried["revision"] == 4 and carried["based_on"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "degraded"}, {"synchronous": []}, {"mode": "fine"}, {"timeline": "1"}, {"timeline": True},
        {"primary": ""}, {"system_identifier": "x"}, {"changing": {"procedure": "failover"}}, {"more": 1},
    ],
)  # fmt: skip
def test_a_record_that_contradicts_itself_is_no_request(kept: Path, changes: Json) -> None:
    code, said = ask(kept, "swap", token="me", expect=1, record=a_record(**changes))
    assert code == 2 and said["stderr"]
    assert done(kept, "show")["record"]["revision"] == 1


@pytest.mark.parametrize("argv", [["fly"], [], ["swap"]])
def test_what_is_no_request_is_bad_input(kept: Path, argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert record.main(argv, "[]", kept) == 2
    assert capsys.readouterr().err
