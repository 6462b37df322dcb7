"""Which promised recovery can be kept with today's sizes, from what was measured: pure arithmetic, nothing is guessed.

A restore takes bytes by a measured rate, and so does the replay of WAL; what takes no longer with more data (finding
out, promoting, the first write) is what it took in earlier runs. Where a measurement is missing the answer is that
nobody knows, which counts as no.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

ENOUGH = 0.25  # a rate measured with less than this share of the amount says nothing about the amount
MIB = 2**20
ROWS = (1, "rows")


class Verdict(StrEnum):
    FITS = "fits"
    TOO_SLOW = "too slow"
    UNKNOWN = "unknown"


class Way(StrEnum):
    """How a scenario is recovered, which decides what its time is made of."""

    PROVISIONED = "fail over or go on"  # no data is moved: the drills have measured it as a whole
    SIDE = "restore beside, then copy or swap"
    DELAYED = "open the delayed standby, then copy"
    CLUSTER = "restore both hosts"
    OFFSITE = "fetch the repository, restore both hosts"
    ROWS = "restore TDengine's rows"
    BLANK = "a blank TDengine host, then its rows"
    FILE = "a blank application host, then its SQLite databases"


WAYS: Mapping[str, Way] = {
    "dropped-table": Way.SIDE,
    "bad-update": Way.SIDE,
    "dropped-table-delayed": Way.DELAYED,
    "bad-update-delayed": Way.DELAYED,
    "cluster-loss": Way.CLUSTER,
    "offsite-only": Way.OFFSITE,
    "tdengine-dropped-supertable": Way.ROWS,
    "tdengine-late-rows": Way.ROWS,
    "tdengine-host-loss": Way.BLANK,
    "sqlite-host-loss": Way.FILE,
}
RUNBOOKS: Mapping[str, str] = {
    "dropped-table": "restore-table",
    "bad-update": "restore-pitr",
    "dropped-table-delayed": "restore-table",
    "bad-update-delayed": "restore-table",
    "cluster-loss": "restore-cluster",
    "offsite-only": "restore-cluster",
    "tdengine-dropped-supertable": "tdengine-restore",
    "tdengine-late-rows": "tdengine-restore",
    "tdengine-host-loss": "tdengine-rebuild",
    "sqlite-host-loss": "sqlite-restore",
}


@dataclass(frozen=True)
class Sample:
    """One measurement: bytes (or rows) moved in seconds, and where that was seen."""

    bytes: float
    seconds: float
    seen: str

    @property
    def rate(self) -> float:
        return self.bytes / self.seconds


@dataclass(frozen=True)
class Sizes:
    """Today's amounts in bytes. `wal`: the most WAL that lay between two backups, or lies behind the newest one now;
    `wal_every_s`: the seconds in which that was written. `ticks`: rows of TDengine's newest backup. `behind_s`: by how
    much the delayed standby is behind, 0 without one. `files`: bytes of SQLite databases, `changes`: the most
    transactions of them that lay between two snapshots; None where nobody knows.
    """

    restore: int
    wal: int
    wal_every_s: float
    repository: int
    ticks: int = 0
    behind_s: int = 0
    files: int | None = 0
    changes: int | None = 0

    @property
    def behind(self) -> int:
        """Bytes of WAL that a delayed standby has before it, at the rate of that interval."""
        return int(self.wal * self.behind_s / max(self.wal_every_s, 1.0))


@dataclass(frozen=True)
class Measured:
    """Samples of each kind, newest first; those of `ticks`, TDengine's restores, in rows, those of `changes`, SQLite's,
    in transactions. `fixed`: runbook -> seconds of what does not grow with the data, of each run; `drills`: scenario ->
    RTO of each drill that passed.
    """

    restore: Sequence[Sample] = ()
    replay: Sequence[Sample] = ()
    fetch: Sequence[Sample] = ()
    provision: Sequence[float] = ()
    ticks: Sequence[Sample] = ()
    files: Sequence[Sample] = ()
    changes: Sequence[Sample] = ()
    fixed: Mapping[str, Sequence[float]] = field(default_factory=dict)
    drills: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One piece of a recovery. `seconds` is None where nothing was measured; `says` tells from what it comes."""

    name: str
    seconds: float | None
    says: str


@dataclass(frozen=True)
class Answer:
    """One scenario: `total_s` is None when a part is unknown; `lever`: what would help, empty when it fits."""

    scenario: str
    rto_s: float
    way: Way
    parts: tuple[Part, ...]
    verdict: Verdict
    lever: str

    @property
    def total_s(self) -> float | None:
        known = [part.seconds for part in self.parts if part.seconds is not None]
        return sum(known) if known and len(known) == len(self.parts) else None


def answers(promised: Mapping[str, float], sizes: Sizes, measured: Measured) -> tuple[Answer, ...]:
    """One answer for each scenario of `promised` (scenario -> RTO in seconds), in its order."""
    return tuple(_answer(scenario, rto, sizes, measured) for scenario, rto in promised.items())


def _answer(scenario: str, rto: float, sizes: Sizes, measured: Measured) -> Answer:
    way = WAYS.get(scenario, Way.PROVISIONED)
    parts = _parts(scenario, way, sizes, measured)
    unknown = [part for part in parts if part.seconds is None]
    if unknown:
        how = _measured_by(scenario, way)
        return Answer(scenario, rto, way, parts, Verdict.UNKNOWN, f"{unknown[0].name}: {unknown[0].says}; {how}")
    total = sum(part.seconds or 0.0 for part in parts)
    if total <= rto:
        return Answer(scenario, rto, way, parts, Verdict.FITS, "")
    return Answer(scenario, rto, way, parts, Verdict.TOO_SLOW, _lever(parts, total - rto, sizes))


def _measured_by(scenario: str, way: Way) -> str:
    besides = " or, of what grows, ./dr sqlite-restore without --yes," if way is Way.FILE else ""
    return f"./dr drill --scenario {scenario}{besides} measures it"


def _parts(scenario: str, way: Way, sizes: Sizes, measured: Measured) -> tuple[Part, ...]:
    if way is Way.PROVISIONED:
        return (_worst("recovery", measured.drills.get(scenario, ()), "drills"),)
    if way in (Way.ROWS, Way.BLANK):
        fixed = _worst("fixed", measured.fixed.get(RUNBOOKS[scenario], ()), f"runs of {RUNBOOKS[scenario]}")
        return (_moving("rows", sizes.ticks, measured.ticks, unit=ROWS), fixed)
    if way is Way.DELAYED:
        fixed = _worst("fixed", measured.fixed.get(RUNBOOKS[scenario], ()), f"runs of {RUNBOOKS[scenario]}")
        return (_moving("catching up", sizes.behind, measured.replay, ", all that the delay holds back"), fixed)
    if way is Way.FILE:
        # The drills' own databases are small: what today's take besides is added to what those drills took.
        return (
            _worst("recovery", measured.drills.get(scenario, ()), "drills"),
            _moving("restore", sizes.files, measured.files, " of SQLite databases"),
            _moving("changes", sizes.changes, measured.changes, ", the most since a snapshot", (1, "transactions")),
        )
    moved = (
        _moving("restore", sizes.restore, measured.restore),
        _moving("replay", sizes.wal, measured.replay, ", the most between two backups"),
        _worst("fixed", measured.fixed.get(RUNBOOKS[scenario], ()), f"runs of {RUNBOOKS[scenario]}"),
    )
    if way is Way.SIDE:
        return moved
    blank = _worst("provision", measured.provision, "provisioned hosts")
    if way is Way.CLUSTER:
        return (blank, *moved)
    return (blank, _moving("fetch", sizes.repository, measured.fetch), *moved)


def _moving(
    name: str, amount: int | None, samples: Sequence[Sample], of_what: str = "", unit: tuple[int, str] = (MIB, "MiB")
) -> Part:
    """By the slowest rate among samples that were large enough to tell."""
    size, said = unit
    if amount is None:
        return Part(name, None, "how much there is of it is unknown")
    if not samples:
        return Part(name, None, "never measured here")
    telling = [sample for sample in samples if sample.bytes >= ENOUGH * amount]
    if not telling:
        most = max(sample.bytes for sample in samples)
        return Part(name, None, f"measured with {most / size:.0f} {said} only, not {amount / size:.0f} {said}{of_what}")
    slowest = min(telling, key=lambda sample: sample.rate)
    told = f"{amount / size:.0f} {said}{of_what} at {slowest.rate / size:.0f} {said}/s ({slowest.seen})"
    return Part(name, amount / slowest.rate, told)


def _worst(name: str, seconds: Sequence[float], what: str) -> Part:
    if not seconds:
        return Part(name, None, "never measured here")
    return Part(name, max(seconds), f"the slowest of {len(seconds)} {what}")


def _lever(parts: Sequence[Part], over: float, sizes: Sizes) -> str:
    """What to turn, by the longest part; with numbers where the arithmetic gives them."""
    longest = max(parts, key=lambda part: part.seconds or 0.0)
    seconds = longest.seconds or 0.0
    if longest.name == "replay":
        if over >= seconds:
            return "replay is the longest part, but without any it would be too slow: promise more, or keep a standby"
        share = 1 - over / seconds
        often = sizes.wal_every_s * share / 3600
        return (
            f"more frequent incrementals: at most {sizes.wal * share / MIB:.0f} MiB of WAL may lie behind a backup, "
            f"one every {often:.1f} h at today's rate (stores.postgresql.schedule in recovery.yaml)"
        )
    allowed = f"it may take {max(seconds - over, 0):.0f} s"
    return {
        "rows": f"{allowed}: more --jobs, faster disks, a shorter KEEP, or three nodes",
        "catching up": f"{allowed}: a shorter apply_delay of the delayed standby",
        "restore": f"{allowed}: more processes, a faster line to the repository, faster disks",
        "changes": f"{allowed}: snapshots more often than by the hour, or faster disks",
        "fetch": f"{allowed}: a faster line off-site, or a second backup host",
        "provision": "keep spare hosts provisioned (./dr deploy with them in the inventory)",
        "fixed": "look at the steps of the last run: ./dr runs and its journal tell which was slow",
    }.get(longest.name, "look at the report of the slowest drill: ./dr runs")
