from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agents.guard import start_guard
from agents.guard.start_guard import Verdict

CONFIG: dict[str, Any] = {
    "name": "pg1", "version": 17, "stanza": "main", "fenced": "/etc/mystocks-dr/fenced", "ca": "/ca",
    "passfile": "/pass", "peers": [{"name": "pg2", "address": "192.0.2.22"}],
}  # fmt: skip
Answer = tuple[int, str] | None


class World:
    """The programs that the guard starts, and this host's files below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "var/lib/postgresql/17/main"
        (self.data / "pg_wal").mkdir(parents=True)
        (root / "etc/mystocks-dr").mkdir(parents=True)
        self.peers: dict[str, Answer] = {"pg2": None}
        self.archive: dict[str, Answer] = {}  # by history file; what is not here is asked for in vain
        self.control_timeline = 1
        self.system, self.checkpoint = "7712", "0/4000080"
        self.state, self.oid = "in production", 24576
        self.asked_for: list[str] = []

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if command[0].endswith("pg_controldata"):
            told = (
                f"Database system identifier:           {self.system}\n"
                f"Database cluster state:               {self.state}\n"
                f"Latest checkpoint's NextOID:          {self.oid}\n"
                f"Latest checkpoint location:           {self.checkpoint}\n"
                f"Latest checkpoint's TimeLineID:       {self.control_timeline}\n"
            )
            return self._done(command, (0, told), options)
        if command[0] == "psql":
            dsn = command[command.index("-d") + 1]
            return self._done(command, next(a for name, a in self.peers.items() if f"host={name} " in dsn), options)
        self.asked_for.append(command[-2])  # a history file; for `info` the form of its answer
        return self._done(command, self.archive.get(command[-2]), options)

    @staticmethod
    def _done(command: list[str], answer: Answer, options: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        if answer is None:
            raise subprocess.TimeoutExpired(command, options["timeout"])
        return subprocess.CompletedProcess(command, answer[0], answer[1], "")

    def unused(self) -> None:
        """As initdb leaves it."""
        self.state, self.oid = "shut down", 13579

    def decide(self) -> Verdict:
        return start_guard.decide(CONFIG, self.root)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(subprocess, "run", made.run)
    return made


def test_fenced_host_stays_down_whatever_else_is_true(world: World) -> None:
    (world.root / "etc/mystocks-dr/fenced").write_text("failover 20260101\n")
    (world.data / "standby.signal").touch()
    world.peers["pg2"] = (0, "t\n")
    verdict = world.decide()
    assert not verdict.allowed
    assert "failover 20260101" in verdict.why


def test_standby_starts_without_asking_anybody(world: World) -> None:
    (world.data / "standby.signal").touch()
    assert world.decide().allowed
    assert world.asked_for == []


def info(code: int, *backups: str) -> Answer:
    return 0, json.dumps([{"backup": [{"label": label} for label in backups], "status": {"code": code}}])


@pytest.mark.parametrize("code", [1, 2, 3])
def test_empty_cluster_starts_where_there_is_no_other_and_no_backup(world: World, code: int) -> None:
    world.unused()
    world.peers["pg2"] = (2, "")
    world.archive = {"--output=json": info(code)}
    assert world.decide().allowed


@pytest.mark.parametrize(
    ("peer", "answer", "why"),
    [
        ((0, "t\n"), info(1), "./dr failover"),
        ((0, "f\n"), info(1), "./dr deploy"),
        ((2, ""), info(0, "20260101-000000F"), "holds backups"),
        ((2, ""), info(99), "does not say"),
        ((2, ""), (1, ""), "does not say"),
        ((2, ""), (0, "nonsense"), "does not say"),
        ((2, ""), (0, "[{}]"), "does not say"),
        (None, None, "does not say"),
    ],
)
def test_host_that_lost_its_disk_does_not_begin_an_empty_database(
    world: World, peer: Answer, answer: Answer, why: str
) -> None:
    world.unused()
    world.peers["pg2"] = peer
    world.archive = {"--output=json": answer}
    verdict = world.decide()
    assert not verdict.allowed
    assert "this cluster is empty" in verdict.why
    assert why in verdict.why


def test_a_mark_of_an_empty_cluster_that_outlived_its_first_start_is_not_believed(world: World) -> None:
    (world.data / "mystocks-blank").touch()
    world.state = "shut down"
    world.peers["pg2"] = (0, "t\n")
    assert "every peer is a standby" in world.decide().why


def test_an_unused_cluster_that_the_record_is_of_is_judged_as_any_other(world: World) -> None:
    world.unused()
    folder = world.root / "var/lib/mystocks-dr"
    folder.mkdir(parents=True)
    told = {"system_identifier": world.system, "primary": "pg1", "timeline": 1}
    (folder / "estate.json").write_text(json.dumps({"record": told}))
    world.peers["pg2"] = (0, "t\n")
    assert "every peer is a standby" in world.decide().why


def test_primary_starts_when_its_peer_is_a_standby(world: World) -> None:
    world.peers["pg2"] = (0, "t\n")
    assert world.decide().allowed


def test_succeeded_primary_stays_down(world: World) -> None:
    world.peers["pg2"] = (0, "f\n")
    verdict = world.decide()
    assert not verdict.allowed
    assert "pg2 is the primary now" in verdict.why


def test_silent_peer_and_a_newer_timeline_in_the_repository_keep_it_down(world: World) -> None:
    world.archive = {"00000002.history": (0, "")}
    verdict = world.decide()
    assert not verdict.allowed
    assert "timeline 2" in verdict.why
    assert world.asked_for == ["00000002.history"]


def test_silent_peer_and_no_newer_timeline_let_it_start(world: World) -> None:
    world.archive = {"00000002.history": (1, "")}
    assert world.decide().allowed


def test_nobody_answers_so_it_stays_down(world: World) -> None:
    verdict = world.decide()
    assert not verdict.allowed
    assert "pg2" in verdict.why


@pytest.mark.parametrize("code", [2, 25, 49, 103])
def test_repository_that_fails_is_no_answer(world: World, code: int) -> None:
    world.archive = {"00000002.history": (code, "")}
    assert not world.decide().allowed


def test_peer_that_answers_nonsense_is_silent(world: World) -> None:
    world.peers["pg2"] = (0, "")
    assert not world.decide().allowed


def test_freshly_promoted_primary_knows_its_own_timeline_before_its_first_checkpoint(world: World) -> None:
    """The archive holds 00000002.history because this very host put it there."""
    (world.data / "pg_wal/00000002.history").touch()
    world.archive = {"00000002.history": (0, ""), "00000003.history": (1, "")}
    assert world.decide().allowed
    assert world.asked_for == ["00000003.history"]


def test_operators_override_is_good_for_one_start(world: World) -> None:
    (world.root / "etc/mystocks-dr/allow-start").touch()
    assert world.decide().allowed
    assert not world.decide().allowed


def test_override_does_not_lift_a_fence(world: World) -> None:
    (world.root / "etc/mystocks-dr/allow-start").touch()
    (world.root / "etc/mystocks-dr/fenced").write_text("by hand\n")
    assert not world.decide().allowed
    assert (world.root / "etc/mystocks-dr/allow-start").exists()


def test_repository_is_asked_for_exactly_one_file(world: World) -> None:
    world.archive = {"00000002.history": (1, "")}
    assert start_guard.repository_has_timeline("main", 2) is False
    assert world.asked_for == ["00000002.history"]


PERMIT = {"boot": "b1", "uptime": 100.0, "system": "7712", "checkpoint": "0/4000080", "why": "start-cluster, run r"}


def permitted(world: World, now: float = 160.0, **changed: object) -> Path:
    """A host that `start-cluster` left a permit on, `now` seconds after its boot."""
    (world.root / "proc/sys/kernel/random").mkdir(parents=True, exist_ok=True)
    (world.root / "proc/sys/kernel/random/boot_id").write_text("b1\n")
    (world.root / "proc/uptime").write_text(f"{now} 1.0\n")
    path = world.root / start_guard.PERMIT
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**PERMIT, **changed}))
    return path


def test_a_permit_starts_it_once_where_nobody_can_be_asked(world: World) -> None:
    path = permitted(world)
    verdict = world.decide()
    assert verdict.allowed
    assert "start-cluster, run r" in verdict.why
    assert not path.exists()
    assert not world.decide().allowed


@pytest.mark.parametrize(
    ("changed", "uptime"),
    [
        ({"boot": "b0"}, 160.0),
        ({"system": "9"}, 160.0),
        ({"checkpoint": "0/3000080"}, 160.0),
        ({}, 701.0),  # forgotten
        ({}, 99.0),  # of a later moment than now: not of this boot
        ({"uptime": "soon"}, 160.0),
        ({"uptime": None}, 160.0),
    ],
)
def test_a_permit_of_another_boot_cluster_checkpoint_or_hour_is_worth_nothing(
    world: World, changed: dict[str, object], uptime: float
) -> None:
    path = permitted(world, uptime, **changed)
    assert not world.decide().allowed
    assert not path.exists()


def test_a_permit_that_cannot_be_read_is_none(world: World) -> None:
    permitted(world).write_text("{")
    assert not world.decide().allowed
    permitted(world).write_text("[]")
    assert not world.decide().allowed


def test_a_permit_lifts_no_fence_and_is_used_up_there_too(world: World) -> None:
    path = permitted(world)
    (world.root / "etc/mystocks-dr/fenced").write_text("failover\n")
    assert not world.decide().allowed
    assert not path.exists()


def test_a_peer_that_is_primary_outweighs_a_permit(world: World) -> None:
    permitted(world)
    world.peers["pg2"] = (0, "f\n")
    verdict = world.decide()
    assert not verdict.allowed
    assert "pg2 is the primary now" in verdict.why


def test_a_standby_uses_a_permit_up_as_well(world: World) -> None:
    path = permitted(world)
    (world.data / "standby.signal").touch()
    assert world.decide().allowed
    assert not path.exists()


# ---- the estate record


def keeps(world: World, **changes: Any) -> None:
    record = {"system_identifier": "77", "primary": "pg2", "timeline": 2, "changing": None, **changes}
    (world.root / "var/lib/mystocks-dr").mkdir(parents=True)
    (world.root / start_guard.RECORD).write_text(json.dumps({"schema": 1, "record": record}))
    world.system = "77"


def test_a_primary_that_the_record_knows_to_be_succeeded_stays_down_without_asking_anybody(world: World) -> None:
    keeps(world)
    verdict = world.decide()
    assert not verdict.allowed and "knows pg2 as primary on timeline 2" in verdict.why
    assert world.asked_for == []


@pytest.mark.parametrize(
    "changes", [{"primary": "pg1"}, {"timeline": 1}, {"system_identifier": "other"}, {"timeline": "2"}]
)
def test_a_record_that_names_no_successor_leaves_the_other_questions_to_be_asked(
    world: World, changes: dict[str, Any]
) -> None:
    keeps(world, **changes)
    world.peers["pg2"] = (0, "t\n")
    assert world.decide().why == "every peer is a standby"


def test_a_record_never_allows_what_a_peer_forbids(world: World) -> None:
    keeps(world, primary="pg1", timeline=1)
    world.peers["pg2"] = (0, "f\n")
    assert not world.decide().allowed


def test_a_primary_stays_down_while_the_role_was_moving_to_a_peer_that_is_silent(world: World) -> None:
    keeps(world, primary="pg1", timeline=1, changing={"procedure": "failover", "run": "r", "to": "pg2"})
    world.archive["00000002.history"] = (1, "")
    verdict = world.decide()
    assert not verdict.allowed and "start-cluster" in verdict.why
    world.peers["pg2"] = (0, "t\n")
    assert world.decide().allowed


@pytest.mark.parametrize("text", ["", "{", "[]", '{"record": 7}', '{"record": null}'])
def test_a_record_that_cannot_be_read_allows_and_forbids_nothing(world: World, text: str) -> None:
    keeps(world)
    (world.root / start_guard.RECORD).write_text(text)
    world.peers["pg2"] = (0, "t\n")
    assert world.decide().why == "every peer is a standby"


def test_a_fence_outweighs_a_record_that_names_this_host(world: World) -> None:
    keeps(world, primary="pg1", timeline=1)
    (world.root / "etc/mystocks-dr/fenced").write_text("failover\n")
    assert not world.decide().allowed


def test_a_start_is_noted_in_the_claim_to_an_unfinished_restore_and_nowhere_else(tmp_path: Path) -> None:
    start_guard.note_start(tmp_path)
    assert list(tmp_path.iterdir()) == []
    claim = tmp_path / start_guard.CLAIM
    claim.parent.mkdir(parents=True)
    for text in ("", "[]", "null", "{"):
        claim.write_text(text)
        start_guard.note_start(tmp_path)
        assert claim.read_text() == text
    claim.write_text('{"label": "x"}')
    start_guard.note_start(tmp_path)
    assert json.loads(claim.read_text()) == {"label": "x", "started": True}
    assert [path.name for path in claim.parent.iterdir()] == [claim.name]
