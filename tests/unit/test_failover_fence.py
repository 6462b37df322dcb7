"""Fencing: a way that fails or hangs leads on to the next, the operator's word comes last, and a viewer proves nothing
that could not be asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from inventories.errors import DrError, Refused, TargetFailed, TimedOut, Unreachable, VerificationFailed
from inventories.inventory import HostEntry
from runbooks import hosts
from runbooks.actions.postgresql import asking, promotion
from runbooks.actions.postgresql import server as act
from runbooks.engine import budgets
from runbooks.engine.context import Context
from runbooks.engine.lock import LockLost
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host, Ran
from runbooks.knock import Door
from runbooks.layout import Layout
from runbooks.probes import app, network
from runbooks.probes.app import WriteAttempt
from runbooks.probes.postgresql import server
from runbooks.probes.postgresql.server import Node
from runbooks.procedures.postgresql import ahead, failover, fence_proof, start_cluster, writing
from runbooks.procedures.postgresql.failover import Failover, FailoverOptions
from runbooks.procedures.postgresql.start_cluster import StartCluster
from runbooks.record import keep
from runbooks.record.arbiter import FileOn
from runbooks.record.types import Known
from tests.unit.record_kit import a_record

HANGING = ("sleep", "30")
SILENT = dict.fromkeys(("pg2", "backup1", "app1"), Door.SILENT)


def estate(hook: tuple[str, ...] | None = None) -> Estate:
    hosts = tuple(
        Host(
            name,
            HostEntry(name=name, ssh_hostname=f"192.0.2.{nr}", fence_command=hook if name == "pg1" else None),
            Path("/nowhere"),
        )
        for nr, name in enumerate(("pg1", "pg2", "backup1", "app1"), 1)
    )
    groups = {"pg_primary": ("pg1",), "pg_standby": ("pg2",), "backup": ("backup1",), "app": ("app1",)}
    return Estate("fences", "lab", hosts, groups, {"postgres_version": 17})


class Run:
    """A context, what was said, and how the old primary was asked to stop over SSH."""

    def __init__(self, hook: tuple[str, ...] | None = None, **options: bool) -> None:
        self.said: list[str] = []
        self.patience: list[float] = []
        self.context: Any = Context(
            estate(hook), FailoverOptions(yes=True, **options), Path("20260101T000000Z-failover"), self.said.append
        )

    def stop(self, _host: Host, _layout: object, _reason: str, patience: float) -> None:
        self.patience.append(patience)


def seen(**facts: Any) -> Failover:
    return Failover(primary="pg2", other="pg1", seen_at=time.time(), why="no answer at 192.0.2.1:22", **facts)


def failing(error: DrError) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    told = budgets.budget
    monkeypatch.setattr(failover, "budget", lambda name: 0.2 if name == "fence.hook" else told(name))


# ---- what is looked at before


def looked(
    monkeypatch: pytest.MonkeyPatch, old: Node, door: Door | None, wrote: bool = True
) -> tuple[str | None, list[str]]:
    """What was concluded of the application's writes, and whether one was tried. `door`: None would be waited for."""
    tried: list[str] = []
    end = threading.Event()

    def doors(viewer: Host, targets: tuple[Host, ...], port: int, _: float) -> dict[str, Door]:
        assert (viewer.name, port) == ("app1", 5432)
        if door is None:
            end.wait(10)
        return {target.name: Door.OPEN if target.name == "pg2" else door or Door.OPEN for target in targets}

    def write(*_: object) -> WriteAttempt:
        tried.append("tried")
        return attempt(wrote=wrote, stage="done", host="192.0.2.1" if wrote else None)

    standby = Node(old.host, ssh=True, online=True, in_recovery=True)
    run = Run()
    monkeypatch.setattr(server, "survey", lambda *_: (old, replace(standby, host=run.context.estate.host("pg2"))))
    monkeypatch.setattr(failover, "read", lambda _: None)
    monkeypatch.setattr(network, "look_at", doors)
    monkeypatch.setattr(Host, "knock", lambda *_: Door.OPEN)
    monkeypatch.setattr(app, "try_to_write", write)
    try:
        return failover._looked(run.context)[2], tried
    finally:
        end.set()


PG1 = estate().host("pg1")
SILENCE = Node(PG1, ssh=False, why="no answer")
HANGS = Node(PG1, ssh=True, runs=True, why="PostgreSQL hangs")


@pytest.mark.parametrize("door", [Door.SILENT, Door.REFUSED])
@pytest.mark.parametrize("old", [SILENCE, HANGS])
def test_host_whose_port_is_shut_to_the_application_takes_no_write(
    monkeypatch: pytest.MonkeyPatch, door: Door, old: Node
) -> None:
    assert looked(monkeypatch, old, door) == (None, [])


@pytest.mark.parametrize("door", [Door.OPEN, Door.UNKNOWN])
@pytest.mark.parametrize("old", [SILENCE, HANGS])
def test_host_whose_port_the_application_does_not_find_shut_is_written_to(
    monkeypatch: pytest.MonkeyPatch, door: Door, old: Node
) -> None:
    assert looked(monkeypatch, old, door) == ("192.0.2.1", ["tried"])
    assert looked(monkeypatch, old, door, wrote=False) == (None, ["tried"])


def test_nobody_waits_for_the_application_where_every_node_has_spoken_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert looked(monkeypatch, Node(PG1, ssh=True), None) == (None, [])


def test_a_silent_host_is_waited_for_as_long_as_a_failover_waits_and_not_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(hosts, "knock", lambda _name, _port, seconds: asked.append(seconds) or Door.SILENT)
    assert not estate().reached_within("assess.reach").host("pg1").reachable()
    assert not estate().host("pg1").reachable()
    assert asked == [budgets.budget("assess.reach"), budgets.budget("ssh.reach")]


# ---- what is begun meanwhile


def test_everything_is_got_ready_for_the_standby_that_answers_while_the_other_node_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready: list[tuple[str, str, tuple[str, ...]]] = []
    programs: list[str] = []
    standby = Node(estate().host("pg2"), ssh=True, online=True, in_recovery=True, timeline=1, written=0)

    def survey(_: Estate, heard: Callable[[Node], object]) -> tuple[Node, ...]:
        heard(standby)
        # Before the silent one is given up.
        until(lambda: ready and programs, 2.0, what="everything to be got ready")
        heard(SILENCE)
        return SILENCE, standby

    monkeypatch.setattr(server, "survey", survey)
    monkeypatch.setattr(failover, "read", lambda _: None)
    monkeypatch.setattr(network, "look_at", lambda *_: {"pg1": Door.SILENT})
    monkeypatch.setattr(FileOn, "begin", lambda there, verb: programs.append(f"{verb} on {there.name}"))
    monkeypatch.setattr(Host, "knock", lambda *_: Door.OPEN)
    monkeypatch.setattr(ahead, "get_ready", lambda _, old, new, asks: ready.append((old.name, new.name, asks)))
    failover._looked(Run().context)
    assert ready == [("pg1", "pg2", ("000000010000000000000000", "00000002.history"))]
    assert programs == ["swap on backup1"]


def test_who_is_got_ready_asks_the_very_words_that_are_asked_later(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[object, ...]] = []
    asked: list[tuple[object, ...]] = []

    def run(host: Host, *words: object, user: str = "root", **_: object) -> Ran:
        asked.append((host, *words, user))
        return Ran(0, json.dumps(asdict(attempt())) if host.name == "app1" and user == "mystocks" else "", "", 0.0)

    monkeypatch.setattr(Host, "begin", lambda host, *words, user="root": begun.append((host, *words, user)))
    monkeypatch.setattr(Host, "knock", lambda *_: Door.OPEN)
    monkeypatch.setattr(Host, "run", run)
    context, state = Run().context, seen(fenced_by="hook")
    old, new, names = estate().host("pg1"), estate().host("pg2"), ("00000002.history",)
    ahead.get_ready(context, old, new, names)
    fence_proof.look(context, state)
    asking.ahead(new, names, 1.0)
    promotion.let_it_write(new, Layout(17))
    act.promote(new, old, 1.0)
    assert len(begun) == 7 and set(begun) == set(asked)


@pytest.fixture
def course(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `begin` does, in its order."""
    did: list[str] = []

    def noting(word: str, answer: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *words: did.append(word) or answer(*words)

    monkeypatch.setattr(failover, "_record", noting("record", lambda *_: None))
    monkeypatch.setattr(failover, "fence", noting("fence", lambda _, state: state))
    monkeypatch.setattr(ahead, "get_ready", lambda *_: None)
    monkeypatch.setattr(ahead, "ask_archive", noting("ask", lambda *_: None))
    monkeypatch.setattr(network, "look_from", noting("look", lambda *_: SILENT))
    monkeypatch.setattr(Host, "knock", lambda *_: Door.OPEN)
    monkeypatch.setattr(app, "try_to_write", noting("write", lambda *_: attempt()))
    return did


@pytest.mark.parametrize("by", ["hook", "ssh"])
def test_nobody_looks_and_the_archive_is_not_asked_before_the_fence_has_ended(course: list[str], by: str) -> None:
    state = failover.begin(Run().context, seen(fenced_by=by))
    assert sorted(course) == ["ask", "fence", "look", "record", "write"]
    assert course.index("fence") < min(course.index(word) for word in ("ask", "look", "write"))
    assert state.views and state.views.doors == SILENT


def test_what_was_found_is_what_is_judged(course: list[str]) -> None:
    run = Run()
    state = failover.begin(run.context, seen(fenced_by="hook"))
    course.clear()
    fence_proof.judge(run.context, state)
    assert course == []
    leaking = state.model_copy(update={"views": fence_proof.Views(doors={**SILENT, "app1": Door.OPEN}, tried=None)})
    with pytest.raises(VerificationFailed, match=r"the fence leaks.* seen from app1"):
        fence_proof.judge(run.context, leaking)


def test_run_that_is_resumed_looks_anew(course: list[str]) -> None:
    run = Run()
    state = failover.begin(run.context, seen(fenced_by="hook"))
    course.clear()
    fence_proof.judge(run.context, Failover.model_validate_json(state.model_dump_json()))
    assert sorted(course) == ["look", "write"]


def test_without_a_fence_nothing_is_asked_ahead(course: list[str]) -> None:
    state = failover.begin(Run().context, seen(fenced_by="nobody (accepted)"))
    assert sorted(course) == ["fence", "record"]
    fence_proof.judge(Run().context, state)


def test_clients_look_while_the_record_is_being_written_and_nothing_goes_on_without_it(
    course: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(*_: object) -> None:
        until(lambda: "look" in course, 5.0, what="the proof to be under way")
        raise TargetFailed("the record cannot be written")

    monkeypatch.setattr(failover, "_record", record)
    with pytest.raises(TargetFailed, match="the record cannot be written"):
        failover.begin(Run().context, seen(fenced_by="hook"))


@pytest.mark.parametrize("wrote", [True, False])
def test_failover_that_is_refused_takes_back_what_it_has_recorded_and_nobody_elses(
    course: list[str], monkeypatch: pytest.MonkeyPatch, wrote: bool
) -> None:
    taken: list[object] = []
    monkeypatch.setattr(failover, "fence", failing(Refused("it cannot be fenced")))
    monkeypatch.setattr(keep, "unchanged", taken.append)
    if not wrote:
        monkeypatch.setattr(failover, "_record", failing(Refused("somebody else acts")))
    with pytest.raises(Refused, match="cannot be fenced"):
        failover.begin(Run().context, seen())
    assert len(taken) == wrote


@pytest.mark.parametrize(("by", "ends"), [("hook", TargetFailed), ("nobody (accepted)", Refused)])
def test_record_that_refuses_after_the_fence_is_no_refusal_that_touched_nothing(
    course: list[str], monkeypatch: pytest.MonkeyPatch, by: str, ends: type[DrError]
) -> None:
    monkeypatch.setattr(failover, "_record", failing(Refused("backup1 is away", "bring it back")))
    with pytest.raises(ends, match="backup1 is away") as ended:
        failover.begin(Run().context, seen(fenced_by=by))
    assert ended.value.hint == "bring it back"


def test_record_that_refuses_another_standby_after_the_fence_is_no_refusal_either(
    course: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failover, "_elected", lambda *_: Node(estate().host("backup1"), ssh=True, timeline=1))
    monkeypatch.setattr(keep, "changing", failing(LockLost("somebody broke the lock")))
    recorded = Known(a_record(), "backup1", 1)
    with pytest.raises(TargetFailed, match="pg1 is fenced, and nobody is promoted: somebody broke the lock"):
        failover.begin(
            Run().context,
            seen(fenced_by="hook", recorded=recorded, elects=recorded.record, rivals=("pg2", "backup1")),
        )


@pytest.mark.parametrize(
    ("timeline", "position", "names"),
    [
        (3, 0x3BB93A08, ("00000003000000000000003B", "00000004.history", "00000003.history")),
        (1, 0, ("000000010000000000000000", "00000002.history")),
    ],
)
def test_promotion_asks_for_its_last_segment_and_for_two_histories(
    timeline: int, position: int, names: tuple[str, ...]
) -> None:
    best = Node(PG1, ssh=True, online=True, in_recovery=True, timeline=timeline, written=position, replayed=0)
    assert ahead.asks(best) == names


# ---- the ways


def test_server_that_hangs_is_killed_over_ssh_unasked_and_keeps_its_power(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(hook=("/bin/false",))
    monkeypatch.setattr(act, "fence", run.stop)
    assert failover.fence(run.context, seen(ssh_answers=True, hangs=True)).fenced_by == "ssh"
    assert run.patience == [0]


def test_server_that_is_down_or_gone_wrong_otherwise_may_end_by_itself_first(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    monkeypatch.setattr(act, "fence", run.stop)
    assert failover.fence(run.context, seen(ssh_answers=True)).fenced_by == "ssh"
    assert run.patience == [budgets.budget("fence.ssh")]


@pytest.mark.parametrize("error", [Unreachable("gone"), TimedOut("too late"), TargetFailed("it still listens")])
def test_ssh_that_fails_in_whatever_way_leads_on_to_the_hook(monkeypatch: pytest.MonkeyPatch, error: DrError) -> None:
    run = Run(hook=("/bin/true",))
    monkeypatch.setattr(act, "fence", failing(error))
    assert failover.fence(run.context, seen(ssh_answers=True)).fenced_by == "hook"
    assert [line for line in run.said if str(error) in line and "hook is next" in line]


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        (("/bin/false",), "ended with 1"),
        (HANGING, "did not answer within"),
        (("/no/such/hook",), "cannot be run"),
        (None, "gives it no fence_command"),
    ],
)
def test_hook_that_fails_hangs_or_is_not_there_leads_on_to_the_operators_word(
    hook: tuple[str, ...] | None, told: str
) -> None:
    refusing, accepting = Run(hook), Run(hook, accept_split_brain=True)
    with pytest.raises(Refused, match="pg1 cannot be fenced: SSH does not reach pg1") as refused:
        failover.fence(refusing.context, seen())
    assert told in str(refused.value)
    assert "./dr failover --yes --accept-split-brain" in refused.value.hint
    assert failover.fence(accepting.context, seen()).fenced_by == "nobody (accepted)"
    assert [line for line in accepting.said if "WARNING: pg1 is not fenced" in line and told in line]


@pytest.mark.parametrize("by", [-60, 3600], ids=["long ago", "before the clock was set back"])
def test_what_was_seen_at_another_time_is_asked_anew(monkeypatch: pytest.MonkeyPatch, by: float) -> None:
    run = Run()
    monkeypatch.setattr(act, "fence", run.stop)
    monkeypatch.setattr(
        server, "look", lambda host, _: Node(host, ssh=True, runs=True, why="PostgreSQL hangs (process 7 runs)")
    )
    old = seen().model_copy(update={"seen_at": time.time() + by})
    done = failover.fence(run.context, old)
    assert (done.fenced_by, done.hangs, run.patience) == ("ssh", True, [0])


def test_primary_that_came_back_meanwhile_is_not_fenced(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(hook=("/bin/true",))
    monkeypatch.setattr(act, "fence", run.stop)
    monkeypatch.setattr(server, "look", lambda host, _: Node(host, ssh=True, online=True, in_recovery=False))
    with pytest.raises(Refused, match="takes writes again"):
        failover.fence(run.context, seen(ssh_answers=True).model_copy(update={"seen_at": 0.0}))
    assert run.patience == []


# ---- the proof


def attempt(**facts: Any) -> WriteAttempt:
    return replace(WriteAttempt(False, "connect", None, None, 1.0, "refused"), **facts)


def prove(
    monkeypatch: pytest.MonkeyPatch, run: Run, by: str, doors: dict[str, Door], tried: WriteAttempt | None
) -> None:
    monkeypatch.setattr(network, "look_from", lambda viewers, *_: {one.name: doors[one.name] for one in viewers})
    monkeypatch.setattr(Host, "knock", lambda *_: Door.OPEN if tried else Door.SILENT)
    monkeypatch.setattr(app, "try_to_write", lambda *_: tried)
    fence_proof.judge(run.context, seen(fenced_by=by))


AWAY = dict.fromkeys(("pg2", "backup1", "app1"), Door.UNKNOWN)


def test_silence_to_everybody_proves_a_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    prove(monkeypatch, run, "hook", SILENT, attempt())
    assert [line for line in run.said if "silent from pg2, silent from backup1, silent from app1" in line]


@pytest.mark.parametrize("tried", [attempt(wrote=True, stage="done"), attempt(stage="commit")])
def test_write_that_reached_its_commit_is_a_leak(monkeypatch: pytest.MonkeyPatch, tried: WriteAttempt) -> None:
    with pytest.raises(VerificationFailed, match="the fence leaks"):
        prove(monkeypatch, Run(), "hook", SILENT, tried)


@pytest.mark.parametrize("viewer", ["pg2", "backup1", "app1"])
def test_port_that_one_viewer_finds_open_is_a_leak_whatever_the_operator_accepts(
    monkeypatch: pytest.MonkeyPatch, viewer: str
) -> None:
    with pytest.raises(VerificationFailed, match=f"the fence leaks.* seen from {viewer}"):
        prove(monkeypatch, Run(accept_split_brain=True), "hook", {**SILENT, viewer: Door.OPEN}, attempt())


def test_application_that_is_away_is_said_and_stops_no_failover(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    prove(monkeypatch, run, "hook", {**SILENT, "app1": Door.UNKNOWN}, None)
    assert [line for line in run.said if "app1 could not be asked" in line]
    assert [line for line in run.said if "WARNING: app1 cannot try to write to pg1" in line]


def test_hook_that_only_the_new_primary_could_check_is_not_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    doors = {**AWAY, "pg2": Door.SILENT}
    with pytest.raises(VerificationFailed, match="not proved: backup1 and app1 could not be asked") as unproved:
        prove(monkeypatch, Run(), "hook", doors, None)
    assert "--accept-split-brain" in unproved.value.hint
    accepting = Run(accept_split_brain=True)
    prove(monkeypatch, accepting, "hook", doors, None)
    assert [line for line in accepting.said if "its hook's word alone" in line]


def test_old_primary_itself_is_a_witness_where_ssh_reached_it(monkeypatch: pytest.MonkeyPatch) -> None:
    prove(monkeypatch, Run(), "ssh", {**AWAY, "pg2": Door.REFUSED}, None)


@pytest.mark.parametrize("last", ["ssh", "nobody (accepted)"])
def test_each_host_that_a_cold_start_fences_is_proved_by_its_own_way(
    monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    run, ways = Run(), {"pg1": "hook", "pg3": last}
    monkeypatch.setattr(failover, "fence", lambda _, now: now.model_copy(update={"fenced_by": ways[now.other]}))
    state = start_cluster.fence(run.context, StartCluster(primary="pg2", other="pg1", fence=tuple(ways)))
    judged: list[tuple[str, str]] = []
    for where, name in ((fence_proof, "judge"), (failover, "still_fenced")):
        monkeypatch.setattr(where, name, lambda _, one: judged.append((one.other, one.fenced_by)))
    resumed = StartCluster.model_validate_json(state.model_dump_json())
    start_cluster.fenced(run.context, state)
    start_cluster.still_fenced(run.context, resumed)
    assert judged == [*ways.items()] * 2


# ---- the write path


def commits(timeline: int, asked: list[tuple[str, str]]) -> Callable[..., int]:
    def commit(viewer: Host, new: Host, _: float) -> int:
        asked.append((viewer.name, new.name))
        return timeline

    return commit


def test_write_path_is_proved_from_elsewhere_while_the_application_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(Host, "knock", lambda host, *_: Door.SILENT if host.name == "app1" else Door.OPEN)
    monkeypatch.setattr(server, "commit_from", commits(4, asked))
    done = writing.must_write(run.context, seen(timeline=4))
    assert asked == [("backup1", "pg2")]
    assert "app1 does not answer: a commit on pg2 over the network from backup1" in done.degraded[0]


def test_new_primary_commits_over_its_own_address_where_the_backup_host_is_away_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run()
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(Host, "knock", lambda *_: Door.SILENT)
    monkeypatch.setattr(server, "commit_from", commits(3, asked))
    with pytest.raises(VerificationFailed, match="on timeline 3, expected 4"):
        writing.must_write(run.context, seen(timeline=4))
    assert asked == [("pg2", "pg2")]
