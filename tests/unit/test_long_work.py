"""Long work is begun once, found again by its own run, refused to every other, and believed when it is over."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from inventories.errors import BadInput, Refused, TargetFailed, TimedOut, Unreachable
from runbooks.engine.context import Context
from runbooks.long_work.scripts import ALIVE
from runbooks.long_work.seen import Phase
from runbooks.long_work.work import Asker, Overtaken, Work, look, run_long, stop, under_way, working
from runbooks.procedures.postgresql import rejoin
from runbooks.procedures.postgresql.rejoin import Rejoin, RejoinOptions
from tests.unit.systemd_kit import Machine, machine
from tests.unit.walk_kit import ESTATE

LONG = Work("data", "reclone", ("sleep", "60"))
SHORT = Work("data", "reclone", ("sh", "-c", "echo copied; echo words >&2"))
FIRST = Asker("20261127T160000Z-rejoin", "./dr rejoin --resume --yes")
SECOND = Asker("20261127T170000Z-rejoin", "./dr rejoin --resume --yes")


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = machine(tmp_path, monkeypatch)
    yield made
    for unit in (tmp_path / "units").iterdir():
        made.stop(unit.name)


class Killed(Exception):  # noqa: N818 - what happens to the operator's process
    """The operator's process is gone."""


def begun_and_left(there: Machine, work: Work, asker: Asker) -> None:
    """A run begins it and is killed: nothing of it is there any more, the unit is."""

    def dies(_: str) -> None:
        raise Killed

    with pytest.raises(Killed):
        run_long(there.host, work, replace(asker, say=dies))


def test_its_outcome_and_both_outputs_come_back(there: Machine) -> None:
    ran = run_long(there.host, SHORT, FIRST)
    assert (ran.rc, ran.stdout, ran.stderr) == (0, "copied\n", "words\n")
    assert there.begun == ["mystocks-data-reclone.service"]


def test_what_gives_way_says_so_for_itself_and_for_the_server_that_it_leaves(there: Machine) -> None:
    manners = there.folder / "manners"
    run_long(there.host, SHORT, FIRST)
    assert not manners.exists(), "nothing that is waited for in an outage does"
    work = replace(SHORT, on="side-x", leaves=True, gives_way=True)
    there.server(4711, work.unit)
    run_long(there.host, work, FIRST)
    said = manners.read_text().splitlines()
    assert {"unit Nice=19", "unit IOSchedulingClass=idle", "unit CPUWeight=1", "unit IOWeight=1"} <= set(said)
    assert {"scope CPUWeight=1", "scope IOWeight=1"} <= set(said)


def test_what_a_shell_is_to_expand_is_not_expanded_before(there: Machine) -> None:
    script = 'one=two; echo "${one} $1 $$"; test "$$" -gt 1'
    assert run_long(there.host, Work("data", "reclone", ("sh", "-c", script, "sh", "$HOME")), FIRST).stdout.startswith(
        "two $HOME "
    )


def test_what_is_said_in_backslashes_is_taken_for_what_it_is(
    there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person of a domain begins it, and a program whose words are no sign of how far it is."""
    monkeypatch.setattr("runbooks.long_work.work.user_at_machine", lambda: r"CORP\dora@desk")
    work = replace(LONG, silent=1.0, argv=("sh", "-c", r"printf '%s\n' 'in C:\next\ntaken yes' >&2; sleep 60"))
    begun_and_left(there, work, FIRST)
    seen = look(there.host, work, 2)
    assert (seen.phase, seen.begun.owner, seen.last) == (Phase.RUNNING, r"CORP\dora@desk", r"in C:\next\ntaken yes")


def test_what_fails_fails_with_its_own_words(there: Machine) -> None:
    with pytest.raises(TargetFailed, match="pg1: reclone ended with 3: ERROR: no space left"):
        run_long(there.host, Work("data", "reclone", ("sh", "-c", "echo ERROR: no space left >&2; exit 3")), FIRST)
    assert run_long(there.host, SHORT, FIRST).rc == 0  # and is begun again by the next attempt


def test_a_run_that_was_killed_and_resumed_finds_its_work_and_begins_no_second(there: Machine) -> None:
    work = Work("data", "reclone", ("sh", "-c", "sleep 0.5; echo copied"))
    begun_and_left(there, work, FIRST)
    heard: list[str] = []
    assert under_way(there.host, work, FIRST)
    ran = run_long(there.host, work, replace(FIRST, say=heard.append), prepare=lambda: pytest.fail("already begun"))
    assert ran.stdout == "copied\n"
    assert len(there.begun) == 1
    assert "is of this run" in heard[0]


def test_who_resumes_it_at_another_pace_waits_for_it_or_ends_it_and_begins_it_anew(there: Machine) -> None:
    heard: list[str] = []
    slow = replace(SHORT, argv=("sh", "-c", "sleep $1; echo copied", "sh"), pace=("60",))
    begun_and_left(there, slow, FIRST)
    fast = replace(slow, pace=("0",))

    def stopped(sentence: str) -> None:
        heard.append(sentence)
        if "keeps the pace" in sentence:
            raise Killed

    for _ in range(2):  # the second time its journal has the other pace as well, and no refusal without a way on
        with pytest.raises(Killed):
            run_long(there.host, fast, replace(FIRST, say=stopped))
    assert heard[-1].endswith(f"systemctl stop {slow.unit} on pg1, and give the same command again")
    assert len(there.begun) == 1
    stop(there.host, slow.unit)
    assert run_long(there.host, fast, FIRST).stdout == "copied\n"
    assert len(there.begun) == 2


def test_an_outcome_that_nobody_heard_is_taken_by_the_run_that_began_it(there: Machine) -> None:
    begun_and_left(there, SHORT, FIRST)
    while look(there.host, SHORT).phase is Phase.RUNNING:
        pass
    assert run_long(there.host, SHORT, FIRST).stdout == "copied\n"
    assert len(there.begun) == 1


def test_the_outcome_of_a_run_that_came_in_between_is_not_taken_for_ones_own(there: Machine) -> None:
    """The line was broken while the work ended and an operator elsewhere had the same begun."""

    def overtaken(_: str) -> None:
        while look(there.host, SHORT).phase is Phase.RUNNING:
            pass
        begun_and_left(there, replace(SHORT, argv=("sh", "-c", "sleep 0.5; echo theirs")), SECOND)

    with pytest.raises(Overtaken, match=rf"is of another run by now, begun by .*{SECOND.run}") as told:
        run_long(there.host, SHORT, replace(FIRST, say=overtaken))
    assert SECOND.way_on in told.value.hint
    theirs = replace(SHORT, argv=("sh", "-c", "sleep 0.5; echo theirs"))
    assert run_long(there.host, theirs, SECOND).stdout == "theirs\n", "it was left to them"


def test_what_another_run_rewinds_is_not_restored_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def overtaken(*_: object) -> None:
        raise Overtaken("mystocks-data-rewind.service on pg1 is of another run by now")

    for where, name, fake in (
        (rejoin.act, "checkpoint", None), (rejoin.act, "hold_wal", None), (rejoin.rebuilding, "incoming", None),
        (rejoin.rebuilding, "no_copy_any_more", None),
        (rejoin.directory, "recloning", None), (rejoin.directory, "rewind", overtaken),
        (rejoin.rebuilding, "reclone", lambda *_: pytest.fail("restored over it")),
    ):  # fmt: skip
        monkeypatch.setattr(where, name, fake or (lambda *_: None))
    state = Rejoin(primary="pg2", other="pg1")
    with pytest.raises(Overtaken):
        rejoin.rebuild(Context(ESTATE, RejoinOptions(yes=True), tmp_path), state)


def test_what_has_ended_by_the_time_it_is_named_is_refused_in_words(
    there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It worked when this one was to be begun, and no more when it is asked whose it is."""
    begun_and_left(there, SHORT, SECOND)
    while look(there.host, SHORT).phase is Phase.RUNNING:
        pass
    monkeypatch.setattr("runbooks.long_work.work.BEGIN", f"exit {ALIVE}")
    with pytest.raises(Refused, match=r"mystocks-data-reclone.service works on pg1"):
        run_long(there.host, SHORT, FIRST)


def test_nothing_is_begun_that_cannot_be_noted(there: Machine) -> None:
    """On a full disk: nobody could tell whose it is, and its own run could not find it again."""
    full = there.folder / "bin" / "sync"
    full.write_text("#!/bin/sh\necho sync: No space left on device >&2; exit 1\n")
    full.chmod(0o755)
    with pytest.raises(TargetFailed, match=r"could not be begun: .*No space left"):
        run_long(there.host, SHORT, FIRST)
    assert there.begun == []
    full.unlink()
    assert run_long(there.host, SHORT, FIRST).rc == 0


def test_what_a_run_left_working_is_found_by_its_name_and_ended(there: Machine) -> None:
    theirs, other = Work("side-look", "start", ("sleep", "60")), Work("data", "reclone", ("sleep", "60"))
    begun_and_left(there, theirs, FIRST)
    begun_and_left(there, other, SECOND)
    run_long(there.host, Work("job-full", "run", ("true",)), FIRST)
    assert working(there.host, FIRST.run) == (theirs.unit,)
    stop(there.host, theirs.unit)
    assert working(there.host, FIRST.run) == ()
    assert working(there.host, SECOND.run) == (other.unit,)


def test_a_host_on_which_systemd_is_silent_does_not_say_that_nothing_works(there: Machine) -> None:
    there.hang()
    with pytest.raises(TargetFailed, match="pg1 does not say what works there"):
        working(there.host, FIRST.run)


def test_work_that_does_not_say_whose_it_is_is_named(there: Machine) -> None:
    begun_and_left(there, LONG, FIRST)
    (there.left(LONG.unit) / "begun").write_text("{")
    with pytest.raises(TargetFailed, match=r"what mystocks-data-reclone.service left cannot be read") as told:
        working(there.host, FIRST.run)
    assert told.value.hint == "systemctl stop mystocks-data-reclone.service on pg1 ends it, then repeat"


def test_an_outcome_is_taken_once(there: Machine) -> None:
    """A step that is repeated after its work was done is asked to do it again."""
    run_long(there.host, SHORT, FIRST)
    run_long(there.host, SHORT, FIRST)
    assert len(there.begun) == 2


def test_the_outcome_of_another_run_is_nobody_elses(there: Machine) -> None:
    begun_and_left(there, SHORT, FIRST)
    while look(there.host, SHORT).phase is Phase.RUNNING:
        pass
    run_long(there.host, SHORT, SECOND)
    assert len(there.begun) == 2


@pytest.mark.parametrize(
    "second", [LONG, Work("data", "rewind", ("true",)), Work("data", "reclone", ("sleep", "61"))],
    ids=["the same", "another kind on the same thing", "other words"],
)  # fmt: skip
def test_a_second_run_is_refused_with_the_unit_and_two_commands_that_lead_on(there: Machine, second: Work) -> None:
    begun_and_left(there, LONG, FIRST)
    prepared: list[str] = []
    with pytest.raises(Refused, match=r"mystocks-data-reclone.service works on pg1") as told:
        run_long(there.host, second, SECOND, prepare=lambda: prepared.append("moved the directory away"))
    assert FIRST.run in str(told.value)
    assert FIRST.way_on in told.value.hint
    assert "systemctl stop mystocks-data-reclone.service on pg1" in told.value.hint
    assert (prepared, len(there.begun)) == ([], 1)


def test_the_same_run_with_other_words_is_refused_too(there: Machine) -> None:
    begun_and_left(there, LONG, FIRST)
    with pytest.raises(Refused) as told:
        run_long(there.host, Work("data", "rewind", ("true",)), FIRST)
    assert FIRST.way_on not in told.value.hint, "it would be refused again"
    assert "systemctl stop mystocks-data-reclone.service on pg1" in told.value.hint


def test_work_on_something_else_is_not_in_the_way(there: Machine) -> None:
    begun_and_left(there, LONG, FIRST)
    assert run_long(there.host, Work("job-incr", "run", ("true",)), SECOND).rc == 0


@pytest.mark.parametrize(("one", "other"), [("side-a", "side-a-b"), ("side-a-b", "side-a"), ("job-td", "job-td-incr")])
def test_a_longer_name_that_begins_the_same_is_something_else(there: Machine, one: str, other: str) -> None:
    """Side clusters a and a-b: neither waits for the other, is refused for its sake, or is ended in its place."""
    theirs = Work(other, "restore", ("sleep", "60"))
    begun_and_left(there, theirs, FIRST)
    mine = Work(one, "restore", ("true",))
    assert look(there.host, mine).phase is Phase.ABSENT
    assert run_long(there.host, mine, SECOND).rc == 0
    assert look(there.host, theirs).alive == (theirs.unit,)
    there.process(4711, theirs.unit, 0, 0)
    assert look(there.host, mine).alive == (), "nor by what the kernel says"
    assert working(there.host, FIRST.run) == (theirs.unit,)


@pytest.mark.parametrize(("on", "kind"), [("side-a", "b-restore"), ("side a", "restore"), ("side-a*", "restore")])
def test_a_name_that_could_be_anothers_is_no_work(on: str, kind: str) -> None:
    with pytest.raises(BadInput, match="is no name for a unit of ours"):
        Work(on, kind, ())


def test_what_an_operator_stopped_and_systemd_keeps_loaded_is_begun_all_the_same(there: Machine) -> None:
    """Another unit refers to it: dead, and loaded for as long as that one lives."""
    begun_and_left(there, LONG, FIRST)
    stop(there.host, LONG.unit)
    file = there.keeps_loaded(LONG.unit)
    assert run_long(there.host, SHORT, SECOND).stdout == "copied\n"
    assert not file.exists()


def test_a_unit_file_of_somebodys_is_named_and_stays(there: Machine) -> None:
    file = there.keeps_loaded(SHORT.unit, there.folder / "etc" / SHORT.unit)
    with pytest.raises(Refused, match=rf"was not begun: systemd has {SHORT.unit} by {file}, which is not ours") as told:
        run_long(there.host, SHORT, FIRST)
    assert f"systemctl unmask {SHORT.unit} on pg1" in told.value.hint
    assert file.exists()
    assert there.begun == []


def test_two_who_looked_at_the_same_moment_begin_one(there: Machine) -> None:
    answers: list[object] = []

    def ask(asker: Asker) -> None:
        try:
            answers.append(run_long(there.host, Work("data", "reclone", ("sleep", "0.6")), asker).rc)
        except Refused as error:
            answers.append(error)

    threads = [threading.Thread(target=ask, args=(asker,)) for asker in (FIRST, SECOND)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(there.begun) == 1
    assert 0 in answers
    assert any(isinstance(answer, Refused) for answer in answers)


def test_nothing_is_begun_while_nobody_can_tell(there: Machine) -> None:
    there.hang()
    with pytest.raises(Refused, match=r"nobody can tell whether mystocks-data-reclone.service still works on pg1"):
        run_long(there.host, SHORT, FIRST)
    assert there.begun == []


def test_a_process_that_outlives_its_unit_keeps_the_next_one_from_beginning(there: Machine) -> None:
    """One that waits for a disk hears no signal; its unit is over, and it writes on when the disk is back."""
    there.process(4711, "mystocks-data-rewind.service", 0, 0)
    with pytest.raises(Refused, match=r"mystocks-data-rewind.service works on pg1"):
        run_long(there.host, SHORT, FIRST)
    assert there.begun == []


def test_a_server_that_is_to_live_on_is_given_a_control_group_of_its_own(there: Machine) -> None:
    work = Work("side-pitr", "restore", ("sh", "-c", "echo restored"), leaves=True)
    there.server(4711, work.unit)
    assert run_long(there.host, work, FIRST).stdout == "restored\n"
    assert there.moved == ["4711"]
    run_long(there.host, work, SECOND)
    assert len(there.begun) == 2


def test_what_a_program_began_that_failed_ends_with_it(there: Machine) -> None:
    work = Work("side-pitr", "restore", ("sh", "-c", "exit 5"), leaves=True)
    there.server(4711, work.unit)
    with pytest.raises(TargetFailed, match="restore ended with 5"):
        run_long(there.host, work, FIRST)
    assert there.moved == []


def test_a_host_that_was_restarted_is_told_and_the_work_begun_anew(there: Machine) -> None:
    begun_and_left(there, LONG, FIRST)
    there.power_cut(LONG.unit)
    seen = look(there.host, LONG)
    assert (seen.phase, seen.why) == (Phase.DIED, "the host was restarted since")
    (there.folder / "powerless").unlink()
    short = replace(LONG, argv=("true",))
    assert run_long(there.host, short, FIRST).rc == 0
    assert len(there.begun) == 2


def test_a_host_that_is_restarted_while_it_is_waited_for_fails_the_step(there: Machine) -> None:
    with pytest.raises(TargetFailed, match="has left no outcome: the host was restarted since") as told:
        run_long(there.host, LONG, replace(FIRST, say=lambda _: there.power_cut(LONG.unit)))
    assert told.value.hint == "./dr rejoin --resume --yes begins it anew"


def test_stopped_work_is_a_failure_that_names_the_signal(there: Machine) -> None:
    with pytest.raises(TargetFailed, match="was ended by signal TERM"):
        run_long(there.host, LONG, replace(FIRST, say=lambda _: stop(there.host, LONG.unit)))


def test_work_that_moves_nothing_is_given_up_and_left_working(there: Machine) -> None:
    with pytest.raises(TimedOut, match=r"mystocks-data-reclone.service on pg1: nothing has moved for 1 s") as told:
        run_long(there.host, replace(LONG, silent=1.0), FIRST)
    assert "systemctl stop mystocks-data-reclone.service on pg1 ends it" in told.value.hint
    assert look(there.host, LONG).phase is Phase.RUNNING


def test_a_line_that_breaks_is_waited_for_and_the_work_goes_on(there: Machine) -> None:
    def breaks(_: str) -> None:
        there.away = True
        threading.Timer(1.0, lambda: setattr(there, "away", False)).start()

    work = Work("data", "reclone", ("sh", "-c", "sleep 0.4; echo copied"))
    assert run_long(there.host, work, replace(FIRST, say=breaks)).stdout == "copied\n"


def test_a_line_that_stays_broken_is_told_with_what_waits_on(there: Machine) -> None:
    def breaks(_: str) -> None:
        there.away = True

    with pytest.raises(TimedOut, match="cannot be reached over SSH") as told:
        run_long(there.host, replace(LONG, silent=0.5), replace(FIRST, say=breaks))
    assert FIRST.way_on in told.value.hint
    there.away = False


def test_a_host_that_cannot_be_asked_before_is_unreachable_and_nothing_begins(there: Machine) -> None:
    there.away = True
    with pytest.raises(Unreachable):
        run_long(there.host, SHORT, FIRST)
    there.away = False
    assert there.begun == []


def test_ctrl_c_leaves_it_working_and_says_so(there: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("runbooks.long_work.work.while_it_moves", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_long(there.host, LONG, replace(FIRST, say=heard.append))
    assert heard[-1] == f"{LONG.unit} goes on working on pg1; {FIRST.way_on} waits for it"
    assert look(there.host, LONG).phase is Phase.RUNNING


def test_a_door_joins_what_it_left_and_believes_no_older_outcome(there: Machine) -> None:
    door = Asker.door("./dr backup.run")
    work = Work("job-incr", "run", ("sh", "-c", "sleep 0.3; echo done"))
    begun_and_left(there, work, door)
    assert run_long(there.host, work, door).stdout == "done\n"
    assert len(there.begun) == 1
    begun_and_left(there, work, door)
    while look(there.host, work).phase is Phase.RUNNING:
        pass
    run_long(there.host, work, door)
    assert len(there.begun) == 3


def test_seconds_waited_are_granted_to_the_step(there: Machine) -> None:
    granted: list[float] = []
    run_long(there.host, Work("data", "reclone", ("sleep", "0.3")), replace(FIRST, granted=granted.append))
    assert sum(granted) >= 0.3


def test_what_its_processes_have_moved_and_used_is_how_far_it_is(there: Machine) -> None:
    begun_and_left(there, LONG, FIRST)
    there.process(4711, LONG.unit, 3 << 20, 100)
    there.process(4712, LONG.unit, 1 << 20, 100)
    there.process(4713, "postgresql@17-main.service", 9 << 30, 9000)
    seen = look(there.host, LONG)
    assert (seen.bytes, seen.cpu_s, seen.far) == (8 << 20, 4.0, 9.0)


def test_nothing_that_cannot_be_read_is_taken_for_an_end(there: Machine) -> None:
    begun_and_left(there, SHORT, FIRST)
    while look(there.host, SHORT).phase is Phase.RUNNING:
        pass
    (there.left(SHORT.unit) / "ended").write_text("half a li")
    with pytest.raises(Refused, match="what it left cannot be read") as told:
        run_long(there.host, SHORT, FIRST)
    assert len(there.begun) == 1
    there.run(told.value.hint.partition(" on pg1")[0])
    assert run_long(there.host, SHORT, FIRST).rc == 0, "the hint leads on"


def test_a_run_is_refused_before_it_begins_where_another_one_works(
    there: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before lock and journal, or the run that is refused would overtake the one that can be resumed."""

    class Estate:
        postgres = (there.host,)
        backup = there.host
        name = "toy"

    monkeypatch.setattr("runbooks.hosts.Host.reachable", lambda *_: not there.away)
    second = Context(Estate(), RejoinOptions(yes=True), tmp_path / SECOND.run)
    first = Context(Estate(), RejoinOptions(yes=True), tmp_path / FIRST.run)
    rejoin.wanted(second)  # type: ignore[arg-type]
    begun_and_left(there, LONG, FIRST)
    with pytest.raises(Refused, match=r"mystocks-data-reclone.service works on pg1"):
        rejoin.wanted(second)  # type: ignore[arg-type]
    rejoin.wanted(first)  # type: ignore[arg-type]
    there.hang()
    rejoin.wanted(second)  # type: ignore[arg-type]
    there.hang(False)
    there.away = True
    rejoin.wanted(second)  # type: ignore[arg-type]
    there.away = False
