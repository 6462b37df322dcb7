"""What a host says of a piece of long work: running, ended, died, never begun; or that nobody can tell."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from inventories.errors import TargetFailed
from runbooks.hosts import Ran
from runbooks.long_work.scripts import FOLDER, SILENT

TICKS_A_SECOND = 100.0  # USER_HZ, the same on every Linux


class Phase(StrEnum):
    ABSENT = "absent"  # never begun, or its outcome was heard
    RUNNING = "running"
    ENDED = "ended"  # its outcome waits to be heard
    DIED = "died"  # no process of it lives and none has said how it ended: the host was restarted
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Begun:
    """On whose behalf: the run's name, the person, what exactly was asked for, the command that goes on waiting, and
    the words for how fast.
    """

    run: str = ""
    owner: str = ""
    digest: str = ""
    way_on: str = ""
    pace: str = ""


@dataclass(frozen=True)
class End:
    """How it ended, in systemd's words. `seconds` it worked."""

    result: str
    how: str  # exited, killed, dumped
    status: str  # exit code, or the signal's name
    seconds: float

    @property
    def code(self) -> int | None:
        """The exit code; None where a signal ended it."""
        return int(self.status) if self.how == "exited" and self.status.isdigit() else None


@dataclass(frozen=True)
class Seen:
    """One look. `alive`: every unit that works on the same thing; `bytes` read and written, `cpu_s` used so far by the
    processes that live now, `last`: what was said last. `hint`: what makes one tell that is unknown, as a command.
    """

    unit: str
    phase: Phase
    alive: tuple[str, ...] = ()
    begun: Begun = Begun()
    end: End | None = None
    age_s: float = 0.0
    bytes: int = 0
    cpu_s: float = 0.0
    last: str = ""
    why: str = ""
    hint: str = ""

    @property
    def far(self) -> float:
        """One number that grows while it works. A second of a processor counts as much as 256 KiB."""
        return self.bytes / 2**20 + self.cpu_s / 4

    def __str__(self) -> str:
        said = f", it said last: {self.last}" if self.last else ""
        return f"{self.phase}{f' ({self.why})' if self.why else ''}{said}"


def parse(unit: str, ran: Ran) -> Seen:
    """Of what the script LOOK prints. Whatever it cannot be read for is unknown."""
    if ran.rc == SILENT:
        return Seen(unit, Phase.UNKNOWN, why="systemd does not answer there")
    told = dict(_pair(line) for line in ran.stdout.splitlines())
    if ran.rc or "alive" not in told:
        return Seen(unit, Phase.UNKNOWN, why=ran.stderr.strip()[-200:] or f"looking ended with {ran.rc}")
    try:
        return _seen(unit, told)
    except (ValueError, KeyError, TypeError) as error:
        alive = told["alive"]  # where nothing is, the folder is no witness of anything that works
        return Seen(
            unit, Phase.UNKNOWN, why=f"what it left cannot be read: {error}",
            hint=f"systemctl stop {alive}" if alive else f"rm -r {FOLDER}/{unit}",
        )  # fmt: skip


def parse_list(host: str, ran: Ran) -> dict[str, Begun]:
    """Of what the script LIST prints: what works, by unit. Raises TargetFailed when nobody can tell."""
    if ran.rc:
        why = "systemd does not answer" if ran.rc == SILENT else ran.stderr.strip()[-200:]
        raise TargetFailed(f"{host} does not say what works there: {why or f'looking ended with {ran.rc}'}")
    return {unit: _listed(host, unit, said) for unit, said in map(_pair, ran.stdout.splitlines())}


def _listed(host: str, unit: str, said: str) -> Begun:
    try:
        return _begun(said)
    except (ValueError, KeyError, TypeError) as error:
        raise TargetFailed(
            f"{host} does not say what works there: what {unit} left cannot be read: {error}",
            f"systemctl stop {unit} on {host} ends it, then repeat",
        ) from error


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(" ")
    return name, value.strip()


def _seen(unit: str, told: dict[str, str]) -> Seen:
    alive = tuple(told["alive"].split())
    end = _end(told) if told.get("ended") else None
    return Seen(
        unit, _phase(unit, alive, told, end), alive, _begun(told.get("begun", "")), end,
        age_s=float(told.get("age") or 0), bytes=int(told.get("bytes") or 0),
        cpu_s=float(told.get("ticks") or 0) / TICKS_A_SECOND, last=told.get("last", ""),
        why="" if told.get("boot") or not told.get("begun") else "the host was restarted since",
    )  # fmt: skip


def _phase(unit: str, alive: tuple[str, ...], told: dict[str, str], end: End | None) -> Phase:
    if alive:
        return Phase.RUNNING
    if "taken" in told or "begun" not in told:
        return Phase.ABSENT
    return Phase.ENDED if end else Phase.DIED


def _begun(text: str) -> Begun:
    if not text:
        return Begun()
    said: dict[str, Any] = {"pace": "", **json.loads(text)}  # what was begun by an earlier version has none
    return Begun(**{name: str(said[name]) for name in Begun.__dataclass_fields__})


def _end(told: dict[str, str]) -> End:
    result, how, status, seconds = told["ended"].split()
    return End(result, how, status, float(seconds))
