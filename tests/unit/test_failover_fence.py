"""Fencing: a way that fails or hangs leads on to the next, the operator's word comes last, and a viewer proves nothing
that could not be asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inventories.errors import DrError, Refused, TargetFailed, TimedOut, Unreachable, VerificationFailed
from inventories.inventory import HostEntry
from runbooks.actions.postgresql import server as act
from runbooks.engine import budgets
from runbooks.engine.context import Context
from runbooks.hosts import Estate, Host
from runbooks.knock import Door
from runbooks.probes import app, network
from runbooks.probes.app import WriteAttempt
from runbooks.probes.postgresql import server
from runbooks.probes.postgresql.server import Node
from runbooks.procedures.postgresql import failover, writing
from runbooks.procedures.postgresql.failover import Failover, FailoverOptions

HANGING = ("sleep", "30")


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


def test_what_was_seen_long_ago_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    monkeypatch.setattr(act, "fence", run.stop)
    monkeypatch.setattr(
        server, "look", lambda host, _: Node(host, ssh=True, runs=True, why="PostgreSQL hangs (process 7 runs)")
    )
    old = seen().model_copy(update={"seen_at": time.time() - 60})
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
    failover.prove_fence(run.context, seen(fenced_by=by))


SILENT = dict.fromkeys(("pg2", "backup1", "app1"), Door.SILENT)
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
