"""Which marks a restore can reach, what each refusal says, what expires, and the options that a mark becomes."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.marks import keep
from doors import restores
from doors.main import DrProgram, arguments
from doors.mark import to_the_mark
from inventories.errors import BadInput, ExitCode, Refused
from runbooks import hosts
from runbooks.hosts import Estate, Ran
from runbooks.judge import marks as judged
from runbooks.marks import expiring, keeping, reaching, resolving
from runbooks.marks.reaching import Ground, State, reach
from runbooks.marks.types import Mark
from runbooks.probes import marks as probe
from runbooks.probes.marks import Marks, Newest
from runbooks.probes.postgresql.archive import Archive, Covered, Line, Reach
from runbooks.probes.postgresql.pgbackrest import Backup, Repository
from runbooks.procedures.postgresql.restore_pitr import RestorePitrOptions
from runbooks.procedures.postgresql.restore_table import RestoreTableOptions
from tests.unit.marks_kit import estate, host
from tests.unit.test_tasks_support import run

SEGMENT = 16 << 20
NOW = time.time()


def a_mark(name: str = "etl", **changes: Any) -> Mark:
    mark = Mark(name=name, at=NOW - 600, estate="here", system="77", primary="pg1", timeline=1, lsn="0/14000110")
    return mark.model_copy(update=changes)


def covered(label: str = "full", stop: int = 10, timeline: int = 1, ends: int = 40, leads: int = 1) -> Covered:
    """A backup that is whole from segment `stop` on, and from which WAL leads to segment `ends`."""
    to = {leads: Reach(f"{leads:08X}00000000{ends - 1:08X}", ends * SEGMENT, None)}
    return Covered(label, "full", timeline, stop * SEGMENT, int(NOW) - 9000, False, (), to, stop * SEGMENT, 0)


def archive(*backups: Covered, ends: int = 40, **changes: Any) -> Archive:
    line = Line(1, ends, 0, "0" * 24, f"0000000100000000{ends - 1:08X}", int(NOW), ())
    return replace(Archive("17-1", SEGMENT, (line,), {}, backups or (covered(),), ()), **changes)


def there(seen: Archive | None = None, **changes: Any) -> Ground:
    return replace(Ground("here", "pg1", "77", 1, NOW, seen or archive(), {}), **changes)


def test_a_mark_that_backup_and_wal_lead_to_can_be_restored_to() -> None:
    assert reach(a_mark(), there()) == reaching.Reach(State.REACHED, 1)


def test_a_mark_whose_segment_is_not_archived_yet_waits_while_there_is_a_primary_to_close_it() -> None:
    young = a_mark(lsn="0/28000028")
    assert reach(young, there()).state is State.WAITS
    assert reach(young, there(primary="")).state is State.REFUSED, "nobody closes the segment"


@pytest.mark.parametrize(
    ("mark", "ground", "words"),
    [
        (a_mark(lsn="0/9000000"), there(), "mark etl cannot be reached: .* lies before anything that can be restored"),
        (a_mark(estate="other"), there(), "mark etl is of estate other, and this one is here"),
        (a_mark(system="78"), there(), "mark etl is of database system 78, and pg1 is of 77"),
        (a_mark(at=NOW + 366 * 86400), there(), "366.0 d ahead of the backup host's clock"),
        (a_mark(), there(unsound={"full": "it was damaged"}), "no backup leads to LSN 0/14000110.*it was damaged"),
        (
            a_mark(timeline=2), there(timeline=3),
            "was taken on timeline 2 at 0/14000110, which timeline 3 does not come from",
        ),
        (
            a_mark(), there(archive(histories={2: ((1, 15 * SEGMENT),)}), timeline=2),
            "was taken on timeline 1 at 0/14000110, which timeline 2 left at 0/F000000, before it",
        ),
    ],
)  # fmt: skip
def test_each_reason_against_a_restore_is_one_sentence_with_a_hint(mark: Mark, ground: Ground, words: str) -> None:
    found = reach(mark, ground)
    assert found.state is State.REFUSED
    with pytest.raises(Refused, match=words):
        raise Refused(found.why)
    assert found.hint
    assert "\n" not in found.why


def test_a_mark_of_before_a_failover_is_reached_along_the_timeline_of_today() -> None:
    seen = archive(covered(leads=2), histories={2: ((1, 30 * SEGMENT),)})
    assert reach(a_mark(), there(seen, timeline=2)) == reaching.Reach(State.REACHED, 2)


# ---- a name, resolved ----


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Estate:
    made = estate(host("pg1", tmp_path), host("app1", tmp_path), host("backup1", tmp_path))
    monkeypatch.setattr(reaching, "ground", lambda *_: there())
    monkeypatch.setattr(hosts, "load", lambda *_: made)
    return made


def put(folder: Path, mark: Mark) -> Path:
    """A file of a mark, as it would be there after some time."""
    told = mark.model_dump(mode="json", exclude={"file"})
    path = folder / "marks" / keep.file_of(told)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"schema": 1, "sum": keep.sum_of(told), "mark": told}))
    return path


def test_a_mark_becomes_the_lsn_and_the_timeline_that_a_restore_knows(here: Estate, tmp_path: Path) -> None:
    put(tmp_path, a_mark())
    pitr = to_the_mark(RestorePitrOptions(yes=True), "etl", "", False)
    assert (pitr.to_lsn, pitr.timeline, pitr.inclusive, pitr.yes) == ("0/14000110", 1, False, True)
    table = to_the_mark(RestoreTableOptions(tables=("symbols",)), "etl", "", False)
    assert (table.to_lsn, table.timeline, table.tables) == ("0/14000110", 1, ("symbols",))
    none = RestorePitrOptions(to_lsn="0/1")
    assert to_the_mark(none, "", "", False) is none
    for source in ("delayed", "repository"):  # where it is restored from is no other target
        assert to_the_mark(RestorePitrOptions(source=source), "etl", "", False).to_lsn == "0/14000110"
    with pytest.raises(BadInput, match="two targets were given: --to-mark etl and --from"):
        to_the_mark(RestoreTableOptions(tables=("symbols",), source="pitr"), "etl", "", False)


def test_a_run_that_is_resumed_asks_for_the_same_although_nobody_is_primary(
    here: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, a_mark())
    begun = to_the_mark(RestorePitrOptions(), "etl", "", False)

    def nobody(*_: object) -> Ground:
        raise Refused("no PostgreSQL node takes writes")

    monkeypatch.setattr(reaching, "ground", nobody)
    assert to_the_mark(RestorePitrOptions(), "etl", "", True) == begun


def test_a_name_that_stands_twice_is_bad_input_with_both_moments(here: Estate, tmp_path: Path) -> None:
    first, second = a_mark(), a_mark(at=NOW - 60, lsn="0/15000028")
    put(tmp_path, first)
    put(tmp_path, second)
    with pytest.raises(BadInput, match="mark etl stands 2 times") as told:
        resolving.resolve(here, "etl")
    assert first.moment in str(told.value)
    assert second.moment in str(told.value)
    assert told.value.hint.endswith("--to-lsn 0/14000110 or --to-lsn 0/15000028")


def test_a_damaged_file_is_refused_and_the_restore_point_named(here: Estate, tmp_path: Path) -> None:
    path = put(tmp_path, a_mark())
    path.write_text(path.read_text().replace("0/14000110", "0/15000110"))
    with pytest.raises(Refused, match=r"the file of mark etl cannot be believed, etl@.*: its sum does not fit") as told:
        resolving.resolve(here, "etl")
    assert "--to-name etl" in told.value.hint


def test_a_mark_that_is_not_there_is_bad_input_with_those_that_are(here: Estate, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no mark 'etl'") as told:
        resolving.resolve(here, "etl")
    assert "./dr mark NAME" in told.value.hint
    put(tmp_path, a_mark("etl-1"))
    with pytest.raises(BadInput) as told:
        resolving.resolve(here, "etl")
    assert "etl-1" in told.value.hint


def test_a_mark_that_nothing_leads_to_is_refused(here: Estate, tmp_path: Path) -> None:
    put(tmp_path, a_mark(lsn="0/9000000"))
    with pytest.raises(Refused, match="lies before anything that can be restored"):
        resolving.resolve(here, "etl")


def test_what_a_later_version_has_put_into_a_mark_stops_no_restore(here: Estate, tmp_path: Path) -> None:
    told = {**a_mark().model_dump(mode="json", exclude={"file"}), "redis": {"offset": 7}}
    path = put(tmp_path, a_mark())
    path.write_text(json.dumps({"schema": 1, "sum": keep.sum_of(told), "mark": told}))
    assert keeping.look(here.backup).marks[0].lsn == "0/14000110"


# ---- the doors ----


@pytest.mark.parametrize(
    "other",
    [
        ("--to-time", "2026-11-21 10:00:00Z"), ("--to-lsn", "0/1"), ("--to-xid", "743"), ("--to-name", "x"),
        ("--inclusive",), ("--timeline", "2"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("task", ["restore-pitr", "restore-table"])
def test_a_mark_beside_another_target_is_bad_input_before_any_host_is_asked(
    capsys: pytest.CaptureFixture[str], task: str, other: tuple[str, ...]
) -> None:
    code, _, err = run(capsys, task, "--to-mark", "etl", *other)
    assert code == ExitCode.BAD_INPUT
    assert f"two targets were given: --to-mark etl and {other[0]}" in err
    assert "HINT: " in err


def test_the_marks_are_listed_newest_first_with_what_leads_to_them(
    here: Estate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, a_mark("old", at=NOW - 7200, lsn="0/9000000"))
    put(tmp_path, a_mark("new"))
    DrProgram(name="dr", binary="./dr").run(arguments(["marks", "--json"]))  # which ends with 0: nothing is raised
    listed = json.loads(capsys.readouterr().out)["marks"]
    assert [(one["name"], one["restorable"], one["state"]) for one in listed] == [
        ("new", True, "reached"), ("old", False, "refused"),
    ]  # fmt: skip
    assert listed[0]["stores"] == ["postgresql"]
    assert abs(listed[0]["age_s"] - (time.time() - NOW + 600)) < 60
    put(tmp_path, a_mark("bad")).write_text("{")
    code, out, _ = run(capsys, "marks")
    assert code == ExitCode.FAILED
    assert "DAMAGED" in out
    assert "is possible" in out


# ---- what goes ----


def repository(*stops: str) -> Repository:
    backups = tuple(Backup(f"b{n}", "full", 0, False, 0, 0, stop) for n, stop in enumerate(stops))
    return Repository(0, "ok", "aes", 77, "17", backups, "17-1", "", False)


def test_marks_go_with_the_last_backup_that_leads_to_them_and_after_their_days() -> None:
    before, after = a_mark("before", lsn="0/9000000"), a_mark("after", lsn="0/B000000")
    aged = a_mark("aged", lsn="0/B000000", at=NOW - 29 * 86400)
    stop = "00000001000000000000000A"
    assert expiring.overdue((before, after, aged), repository(stop, "00000001000000000000001A"), 28, NOW) == (
        before, aged,
    )  # fmt: skip
    older = repository("000000010000000000000008", stop)
    assert expiring.overdue((before, after), older, 28, NOW) == (), "an older backup leads to it still"


def test_no_mark_goes_for_want_of_a_backup_where_there_is_none_or_by_another_clusters() -> None:
    mark = a_mark(lsn="0/9000000")
    assert expiring.overdue((mark,), repository(), 28, NOW) == ()
    other = a_mark(lsn="0/9000000", system="78")
    assert expiring.overdue((other,), repository("00000001000000000000000A"), 28, NOW) == ()


def test_of_scheduled_marks_one_an_hour_is_left_after_a_day_and_every_one_that_was_named() -> None:
    start = NOW // 3600 * 3600
    every = [a_mark(f"auto-{n}", scheduled=True, at=start - n * 300) for n in range(2 * 24 * 12)]
    named = a_mark("etl", at=start - 30 * 3600 - 60)
    gone = expiring.thinned((*every, named), 24, start)
    left = [mark for mark in every if mark not in gone]
    assert named not in gone
    assert [mark for mark in left if start - mark.at <= 24 * 3600] == every[: 24 * 12 + 1], "none of the last day goes"
    old = [mark.at for mark in left if start - mark.at > 24 * 3600]
    assert len(old) == 24 and len({at // 3600 for at in old}) == 24
    assert expiring.thinned((*left, named), 24, start) == (), "what was left stays"


# ---- the timer's ----


def newest(age_s: float, **more: Any) -> Marks:
    return Marks(7, Newest("auto-1", NOW - age_s, 210, 9, **{"lacks": (), **more}))


@pytest.mark.parametrize(
    ("found", "since", "told"),
    [
        (newest(200), NOW - 9000, ""),
        (newest(1000), NOW - 9000, "the newest is 17 min old"),
        (newest(9000), NOW - 100, ""),  # it has been switched on again just now
        (Marks(3, None), NOW - 9000, "none was ever taken"),
        (Marks(0, None), NOW - 100, ""),
        (newest(200), 0.0, "mystocks-mark.timer does not run"),
        (newest(200, lacks=("app1 is away",)), NOW - 9000, "lacks app1 is away"),
        (None, NOW - 9000, ""),  # the backup host is silent, which is a finding of its own
    ],
    ids=["fresh", "old", "just-begun", "never", "just-switched-on", "no-timer", "lacking", "backup-host-silent"],
)
def test_marks_that_do_not_come_are_told(found: Marks | None, since: float, told: str) -> None:
    findings = list(judged.findings(found, {"backup1": since}, 5, NOW))
    assert [one.measured for one in findings] == ([told] if told else [])
    assert all(one.hint for one in findings)


def test_status_says_what_a_mark_costs() -> None:
    assert judged.sentence(newest(90), NOW) == "newest 90 s old, took 210 ms, 9 ms of it for the restore point; 7 kept"
    assert judged.sentence(Marks(2, None), NOW) == "2 kept, none by a timer"


@pytest.mark.parametrize(
    ("said", "at"), [("active\n@1790000000\n", 1790000000.0), ("inactive\n\n", 0.0), ("inactive\n@0\n", 0.0)]
)
def test_since_when_a_timer_runs_is_systemds_word(tmp_path: Path, said: str, at: float) -> None:
    asked: Any = host("backup1", tmp_path)
    object.__setattr__(asked, "run", lambda *_, **__: Ran(0, said, "", 0.0))
    assert probe.since(asked, 1.0) == at


def test_first_watch_takes_them(here: Estate) -> None:
    assert probe.taker(here) is None
    both = replace(here, groups={**here.groups, "watch": ("backup1", "app1")})
    taker = probe.taker(both)
    assert taker is not None and taker.name == "app1", "by name, as a deploy chooses"


def ended(*words: str) -> None:
    """A restore-cluster that ends well."""
    DrProgram(name="dr", binary="./dr").run(arguments(["restore-cluster", *words]))


class TestRestoreCluster:
    """`restore-cluster --to-mark`: the mark is looked for first and last, and two runs come between."""

    @pytest.fixture
    def done(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        done: list[str] = []

        def to_the_mark(options: Any, name: str, inventory: str, resume: bool) -> Any:
            if name == "gone":
                raise Refused("mark gone cannot be reached")
            done.extend([f"look for {name}"] if name else [])
            return options.model_copy(update={"to_lsn": "0/3000060", "timeline": len(done)}) if name else options

        def run_procedure(name: str, options: Any, plan: bool, resume: bool, json: bool, inventory: str) -> None:
            words = [word for word, said in (("plan", plan), ("resume", resume), ("yes", options.yes)) if said]
            if name == "restore-pitr":
                words.append(f"to {options.to_lsn} along {options.timeline}, swap {options.swap}")
            done.append(" ".join([name, *words]))

        monkeypatch.setattr(restores, "to_the_mark", to_the_mark)
        monkeypatch.setattr(restores, "run_procedure", run_procedure)
        monkeypatch.setattr(restores, "_name_migrations", lambda *_: None)  # asks hosts
        return done

    def test_two_runs_with_the_mark_looked_for_before_and_between(self, done: list[str]) -> None:
        ended("--to-mark", "etl", "--yes")
        assert done == [
            "look for etl", "restore-cluster yes", "look for etl",
            "restore-pitr yes to 0/3000060 along 3, swap True",
        ]  # fmt: skip

    def test_a_mark_that_nothing_leads_to_is_refused_before_anything(
        self, done: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, _, err = run(capsys, "restore-cluster", "--to-mark", "gone", "--yes")
        assert (code, done) == (3, []) and "cannot be reached" in err

    def test_a_first_run_that_is_resumed_goes_on_to_the_mark(self, done: list[str]) -> None:
        ended("--to-mark", "etl", "--yes", "--resume")
        assert done[0] == "restore-cluster resume yes" and done[-1].startswith("restore-pitr yes to ")

    def test_without_a_mark_and_as_a_plan_nobody_looks(self, done: list[str]) -> None:
        ended("--yes")
        ended("--to-mark", "etl", "--plan")
        assert done == ["restore-cluster yes", "restore-cluster plan", "restore-pitr plan to  along 0, swap True"]
