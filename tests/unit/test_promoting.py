"""A promotion that fails: the words are said, the way is cleared, it is repeated once. The host is pretended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from inventories.errors import TargetFailed, Unreachable, VerificationFailed
from inventories.inventory import HostEntry
from runbooks.engine.context import Context, Options
from runbooks.hosts import Host, Ran
from runbooks.knock import Door
from runbooks.layout import Layout
from runbooks.probes.postgresql import promotion
from runbooks.procedures.postgresql import promoting

FITS = {
    "summarize_wal": "off", "recovery_min_apply_delay": "0", "max_connections": "100", "max_worker_processes": "8",
    "max_wal_senders": "10", "max_prepared_transactions": "0", "max_locks_per_transaction": "64",
}  # fmt: skip
CONTROL = """
Database cluster state:               in archive recovery
Latest checkpoint's TimeLineID:       3
max_connections control=100
max_worker_processes control=8
max_wal_senders control=10
max_prepared_xacts control=0
max_locks_per_xact control=64
"""
WAY_OUT = "./dr failover --resume --yes"


@dataclass
class World:
    """A standby: `blocks` says whether, as it is, a promotion fails; `shuts` whether the server ends with it.

    `needs`: the connections that its control file asks for; `meets`: those that WAL tells which it replays at a start.
    """

    settings: dict[str, str] = field(default_factory=lambda: dict(FITS))
    up: bool = True
    primary: bool = False
    paused: bool = False
    signal: bool = True
    position: int = 100
    moves: bool = False
    shuts: bool = False
    always: bool = False
    lost: bool = False
    needs: int = 100
    meets: int = 0
    starts: bool = True
    forbidden: str = ""
    silent: int = 0  # questions that it leaves without an answer
    busy: bool = False  # the first time that its files are to be changed
    did: list[str] = field(default_factory=list)

    @property
    def blocked(self) -> bool:
        return self.always or self.settings["summarize_wal"] == "on" or self.settings["max_connections"] == "90"

    def promote(self) -> int:
        self.did.append("promote")
        if self.blocked or not self.up or (self.moves and self.did.count("promote") == 1):
            if self.shuts:
                self.up, self.signal = False, False
            return 3
        self.primary = True
        return 0

    def start(self) -> int:
        self.did.append("start")
        self.needs = max(self.needs, self.meets)
        self.up = self.starts and int(self.settings["max_connections"]) >= self.needs
        return 0 if self.up else 1

    def node(self) -> str:
        if self.moves:
            self.position += 100
        server = {
            "system": "7712", "in_recovery": not self.primary, "timeline": 4 if self.primary else 3,
            "written": f"0/{self.position:X}",
            "replayed": f"0/{self.position:X}", "replay_age_s": 0,
            "since_s": 0, "heard": 0, "delaying": False, "replay_paused": self.paused,
            "receiving_from": None, "synchronous": False, "archived_age_s": None, "archive_failing": False,
            "lost_slots": [], "logical_slots": [], "pending_restart": [], "standbys": [],
        }  # fmt: skip
        self.silent, answers = max(self.silent - 1, 0), self.up and not self.silent
        runs = "" if answers or not self.up else "postgres"
        beside = {"standby_signal": self.signal, "installed": True, "fenced": "", "runs": runs, "error": ""}
        return json.dumps({**beside, "server": server if answers else None})

    def configured(self) -> str:
        said = "".join(f"{name} setting={value}\n" for name, value in self.settings.items())
        control = CONTROL.replace("control=100", f"control={self.needs}")
        return f"{said}{control}standby_signal={'yes' if self.signal else 'no'}\n"


class Pretended(Host):
    """The host boundary: what each command of a promotion would do there."""

    world: World

    def knock(self, timeout: float | None = None) -> Door:
        return Door.OPEN

    def run(self, command: str, *args: object, **options: Any) -> Ran:
        world, stdin = self.world, str(options.get("stdin") or "")
        if world.lost:
            raise Unreachable(f"{self.name} cannot be reached")
        code, out = 0, ""
        if "pg_promote" in stdin:
            code = world.promote()
        elif "pg_wal_replay_resume" in stdin:
            world.did.append("resume")
            world.paused = False
        elif "pg_reload_conf" in stdin:
            world.did.append("reload")
        elif command.startswith("\nanswer="):
            out = world.node()
        elif "postgres -C" in str(args):
            out = world.configured()
        elif "agents.postgresql.promotion" in command:
            out = json.dumps({"in_recovery": True, "asked_s": 0.1, "needed": {}, "hindrances": []})
        elif "auto.conf" in str(args) and len(args) > 1:
            world.did.append(f"set {args[1]}")
            world.settings[str(args[1])] = str(args[2])
        elif "received promote request" in command:
            out = "12:00 [9] FATAL:  WAL summarization is not progressing\n"
        elif "default_transaction_read_only" in str(args) and world.busy:
            code, world.busy = 1, False
        elif "default_transaction_read_only" in str(args):
            out, world.forbidden = world.forbidden, ""
        elif "main stop" in command:
            world.did.append("stop")
            world.up, world.signal = False, True
        elif "systemctl start" in command:
            code = world.start()
        if code:
            raise TargetFailed(f"{self.name}: ended with {code}")
        return Ran(code, out, "", 0.1)


@dataclass(frozen=True)
class Estate:
    name: str = "toy"
    data: Mapping[str, Any] = field(default_factory=lambda: {"database": "quant_research"})
    postgres: tuple[Any, ...] = ()


@dataclass
class Tried:
    """What one promotion did, said and noted."""

    world: World
    said: list[str] = field(default_factory=list)
    noted: list[str] = field(default_factory=list)

    def promote(self, folder: Path) -> None:
        new, old = (made(name, self.world) for name in ("pg2", "pg1"))

        def note(what: str, **data: Any) -> None:
            self.noted.append(what)

        context = Context(Estate(), Options(), folder, say=self.said.append, note=note, deadline=1e12)
        promoting.promote(context, Layout(17), new, old, WAY_OUT)


def made(name: str, world: World) -> Pretended:
    host = Pretended(name, HostEntry(name=name, ssh_hostname="192.0.2.1"), Path("unused"))
    object.__setattr__(host, "world", world)
    return host


def test_a_setting_that_forbids_writes_is_taken_away_before_and_noted(tmp_path: Path) -> None:
    tried = Tried(World(forbidden="default_transaction_read_only = 'on'\n"))
    tried.promote(tmp_path)
    assert tried.world.did == ["promote"]
    assert tried.noted == ["removed"]
    assert "removed on pg2: default_transaction_read_only = 'on' is out of its files" in tried.said[0]


def test_what_could_not_be_taken_away_at_first_is_taken_away_before_the_second_attempt(tmp_path: Path) -> None:
    tried = Tried(World(forbidden="synchronous_standby_names = '*'\n", busy=True, moves=True, did=["promote"]))
    tried.promote(tmp_path)
    assert (tried.world.primary, tried.world.forbidden) == (True, "")


@dataclass
class Promoted:
    primary: str = "pg2"
    old_timeline: int = 3
    timeline: int = 0

    def model_copy(self, update: Mapping[str, Any]) -> Promoted:
        return Promoted(**{**vars(self), **update})


@pytest.mark.parametrize("silent", [0, 2, 1000])
def test_a_server_that_is_too_busy_to_say_so_was_not_left_unpromoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: int
) -> None:
    world = World(silent=silent)
    monkeypatch.setattr(promoting, "primary_of", lambda *_: made("pg2", world))
    monkeypatch.setattr(promoting, "other_of", lambda *_: made("pg1", world))
    monkeypatch.setattr(promoting, "layout", lambda _: Layout(17))
    monkeypatch.setattr(promoting, "budget", lambda _: 0.5)
    context = Context(Estate(), Options(), tmp_path, say=lambda _: None, note=lambda *_, **__: None, deadline=1e12)
    if silent < 1000:
        assert promoting.promoted(context, Promoted(), WAY_OUT).timeline == 4  # type: ignore[type-var]
        return
    with pytest.raises(VerificationFailed, match="nobody can tell whether it is"):
        promoting.promoted(context, Promoted(), WAY_OUT)  # type: ignore[type-var]


REPEATED = ["promotion-failed", "removed", "brought-up", "promotion-repeated"]


def test_a_promotion_that_comes_needs_nothing_else(tmp_path: Path) -> None:
    tried = Tried(World())
    tried.promote(tmp_path)
    assert tried.world.did == ["promote"]
    assert (tried.said, tried.noted) == ([], [])


@pytest.mark.parametrize("shuts", [False, True])
def test_a_summarizer_is_switched_off_and_the_server_started_again(tmp_path: Path, shuts: bool) -> None:
    tried = Tried(World(settings={**FITS, "summarize_wal": "on"}, shuts=shuts))
    tried.promote(tmp_path)
    assert tried.world.primary
    assert tried.world.did == ["promote", "set summarize_wal", "stop", "start", "promote"]
    assert tried.noted == REPEATED
    assert any("WAL summarization is not progressing" in line for line in tried.said), "the server's own words"
    assert any("summarize_wal is off now, it was on" in line for line in tried.said)
    assert not shuts or any("standby.signal is gone" in line for line in tried.said)


def test_a_standby_that_is_too_small_is_made_to_fit(tmp_path: Path) -> None:
    tried = Tried(World(settings={**FITS, "max_connections": "90"}))
    tried.promote(tmp_path)
    assert tried.world.settings["max_connections"] == "100"
    assert tried.noted == REPEATED


def test_a_server_that_was_down_before_is_brought_up(tmp_path: Path) -> None:
    """As a resumed run finds it: the first attempt ended it."""
    tried = Tried(World(up=False, signal=False))
    tried.promote(tmp_path)
    assert tried.world.did == ["promote", "stop", "start", "promote"]
    assert tried.world.primary


def test_replay_that_gets_on_is_waited_for_and_not_started_anew(tmp_path: Path) -> None:
    tried = Tried(World(moves=True))
    tried.promote(tmp_path)
    assert tried.world.did == ["promote", "promote"]
    assert tried.noted == ["promotion-failed", "promotion-repeated"]


def test_paused_replay_and_a_delay_are_ended_without_a_restart(tmp_path: Path) -> None:
    tried = Tried(World(moves=True, paused=True, settings={**FITS, "recovery_min_apply_delay": "3600000"}))
    tried.promote(tmp_path)
    assert tried.world.did == ["promote", "set recovery_min_apply_delay", "reload", "resume", "promote"]
    assert tried.noted == ["promotion-failed", "removed", "removed", "promotion-repeated"]


def test_a_second_failure_ends_with_the_way_out_and_nothing_is_tried_a_third_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promoting, "MOVES_S", 0.2)
    tried = Tried(World(always=True))
    with pytest.raises(TargetFailed, match="pg2 could not be promoted, twice") as raised:
        tried.promote(tmp_path)
    assert raised.value.hint == WAY_OUT
    assert tried.world.did.count("promote") == 2
    assert tried.noted[-1] == "promotion-failed-again"


def test_a_host_that_is_gone_is_no_promotion_that_failed(tmp_path: Path) -> None:
    tried = Tried(World(lost=True))
    with pytest.raises(Unreachable):
        tried.promote(tmp_path)
    assert tried.noted == []


def test_a_setting_that_nobody_tells_is_no_hindrance() -> None:
    read = promotion.read_configured("summarize_wal setting=unknown\nmax_connections control=100\nstandby_signal=no\n")
    assert read.in_the_way == {}
    assert read.needed == {"max_connections": 100}
    assert str(read) == "its control file says 'unknown' on timeline 0, standby.signal is gone"
