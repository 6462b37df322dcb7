"""Rounds of drills on one standing estate as data: the result.json of all of them together, and their verdict."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, computed_field

from drills.judging import verdict
from drills.judging.result import DrillResult, NegativeTwin, Outcome, Verify, write_whole
from drills.measuring.fingerprint import Fingerprint
from drills.measuring.measure import Phase
from drills.measuring.pressure import Pressure, stood_still
from drills.rounds.witness import Witnessed
from inventories.errors import BadInput

TREND_FROM = 6  # rounds: fewer say nothing of a trend


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Round(_Frozen):
    """One drill of them, its evidence in `folder` below this one's. `promised_s` is its RTO's objective."""

    nr: int
    scenario: str
    outcome: Outcome
    folder: str
    run_id: str
    primary: str
    killed: bool = False  # the operator's process, in the middle of each runbook
    darkens: bool = False  # takes the power of the host from which the witness looks
    rejoin: str = ""  # how a lost host was to come back
    rejoined: str = ""  # how it did
    reasons: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()  # objectives, each as a sentence
    slow: tuple[str, ...] = ()  # those of them that a busy machine misses, whatever is drilled
    duration_s: float = 0.0
    rto_s: float | None = None
    promised_s: float | None = None
    rto_from_failover_s: float | None = None
    max_ack_gap_s: float | None = None
    acked: int | None = None
    lost: int | None = None
    duplicated: int | None = None
    replayed: int | None = None
    verify: Verify = Verify()
    pressure: Pressure | None = None
    phases: Mapping[str, float] = {}  # seconds by name; one that came twice is summed

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASSED

    @property
    def only_slow(self) -> bool:
        """Whether it failed, and for nothing but the time that it took."""
        return self.outcome is Outcome.FAILED and bool(self.slow) and set(self.reasons) <= set(self.slow)

    @property
    def stood_still(self) -> str:
        return stood_still(self.pressure)

    @property
    def otherwise(self) -> bool:
        """Whether a rewind was asked for and could not be done."""
        return self.rejoin == "rewind" and "re-clone" in self.rejoined

    @property
    def used(self) -> float | None:
        """How much of the promised time it took; None when that is not known."""
        return None if self.rto_s is None or not self.promised_s else self.rto_s / self.promised_s


class Gone(_Frozen):
    """Rows that round `nr` had acknowledged and that are not there any more."""

    nr: int
    table: str
    rows: int
    numbers: str
    hosts: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        rows = f"{self.rows:,} {'row' if self.rows == 1 else 'rows'} of {self.table} acknowledged in round {self.nr}"
        gone = "is gone" if self.rows == 1 else "are gone"
        return f"{rows} {gone} from {' and '.join(self.hosts)} after the last round (number {self.numbers})."


class Looked(_Frozen):
    """One copy, looked at after the last round. `overwritten`: a later round's row of the same key is there instead."""

    host: str
    role: str
    rounds: int
    acked: int
    overwritten: int
    lost: int
    duplicated: int


class LastCheck(_Frozen):
    looked: tuple[Looked, ...] = ()
    gone: tuple[Gone, ...] = ()

    def reasons(self) -> Iterator[str]:
        yield from (one.sentence for one in self.gone)
        for copy in self.looked:
            if copy.duplicated:
                rows = "row is" if copy.duplicated == 1 else "rows are"
                yield f"{copy.duplicated:,} acknowledged {rows} on {copy.host} more than once after the last round."
        if not self.looked:
            yield "No copy was looked at after the last round."


class Kind(_Frozen):
    """What all rounds of one scenario came to."""

    scenario: str
    rounds: int
    passed: int
    promised_s: float | None
    rto_median_s: float | None
    rto_worst_s: float | None
    wait_worst_s: float | None
    duration_median_s: float


class RoundsResult(_Frozen):
    """Begin with who and when, add rounds with `with_round`, then `judge` it. What has not ended is INTERRUPTED."""

    kind: Literal["rounds"] = "rounds"
    name: str
    run_id: str  # the seed: it repeats scenarios, moments and ways to rejoin
    lab: str
    host: str
    started_at: datetime
    wanted: int
    pool: tuple[str, ...]
    outcome: Outcome = Outcome.INTERRUPTED
    reasons: tuple[str, ...] = ()
    hint: str = ""
    duration_s: float = 0.0
    rounds: tuple[Round, ...] = ()
    last_check: LastCheck | None = None
    witnessed: Witnessed | None = None
    stopped: str = ""  # why not all rounds were run
    versions: dict[str, str] = {}
    fingerprint: Fingerprint | None = None
    negative_twin: NegativeTwin | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def rto_s(self) -> float | None:
        """The longest of all; None when one of them was not measured."""
        return _worst([one.rto_s for one in self.rounds])

    @computed_field  # type: ignore[prop-decorator]
    @property
    def rto_median_s(self) -> float | None:
        return _median([one.rto_s for one in self.rounds])

    @computed_field  # type: ignore[prop-decorator]
    @property
    def acked(self) -> int:
        return sum(one.acked or 0 for one in self.rounds)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def lost(self) -> int | None:
        """By the rounds themselves or, when that is more, in the end; None when one of them did not compare."""
        found = _sum([one.lost for one in self.rounds])
        gone = max((copy.lost for copy in self.last_check.looked), default=0) if self.last_check else 0
        return gone or None if found is None else max(found, gone)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def rpo_rows(self) -> int | None:
        return self.lost

    @computed_field  # type: ignore[prop-decorator]
    @property
    def duplicated(self) -> int | None:
        return _sum([one.duplicated for one in self.rounds])

    @computed_field  # type: ignore[prop-decorator]
    @property
    def replayed(self) -> int:
        return sum(one.replayed or 0 for one in self.rounds)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def objectives(self) -> dict[str, float | None]:
        """The promised RTO by scenario; no acknowledged row may be lost in any."""
        return {one.scenario: one.promised_s for one in self.rounds}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verify(self) -> Verify:
        every = [one.verify for one in self.rounds]
        return Verify(
            passed=sum(one.passed for one in every),
            failed=sum(one.failed for one in every),
            skipped=sum(one.skipped for one in every),
        )

    @computed_field  # type: ignore[prop-decorator]
    @property
    def phases(self) -> tuple[Phase, ...]:
        """The rounds, one after another."""
        starts = [sum(one.duration_s for one in self.rounds[:at]) for at in range(len(self.rounds))]
        return tuple(
            Phase(f"{one.nr} {one.scenario}", one.duration_s, start)
            for one, start in zip(self.rounds, starts, strict=True)
        )

    @property
    def passed(self) -> int:
        return sum(one.passed for one in self.rounds)

    @property
    def missed(self) -> tuple[Round, ...]:
        """Rounds that missed an objective."""
        return tuple(one for one in self.rounds if one.missed)

    def worst_first(self) -> tuple[Round, ...]:
        """What did not pass, then what came closest to its limit."""
        return tuple(sorted(self.rounds, key=lambda one: (one.passed, one.used is not None, -(one.used or 0), one.nr)))

    def kinds(self) -> tuple[Kind, ...]:
        """By scenario, in the order of the pool."""
        found = {name: [one for one in self.rounds if one.scenario == name] for name in self.pool}
        return tuple(_kind(name, rounds) for name, rounds in found.items() if rounds)

    def seconds_by_phase(self) -> tuple[tuple[str, float], ...]:
        """What a round spends its time on: the mean over all rounds, longest first."""
        sums: dict[str, float] = {}
        for one in self.rounds:
            for name, seconds in one.phases.items():
                sums[name] = sums.get(name, 0.0) + seconds
        means = ((name, total / len(self.rounds)) for name, total in sums.items())
        return tuple(sorted(means, key=lambda mean: -mean[1]))

    def trend(self) -> tuple[float, float] | None:
        """RTO of the first and of the last third, each round as a multiple of its own scenario's median.

        None with fewer than six rounds that were measured.
        """
        medians = {kind.scenario: kind.rto_median_s for kind in self.kinds()}
        scaled = [one.rto_s / base for one in self.rounds if one.rto_s and (base := medians[one.scenario])]
        if len(scaled) < TREND_FROM:
            return None
        third = len(scaled) // 3
        return statistics.median(scaled[:third]), statistics.median(scaled[-third:])

    def with_round(self, one: Round) -> RoundsResult:
        return self.model_copy(update={"rounds": (*self.rounds, one)})


def round_of(
    nr: int, result: DrillResult, folder: str, rejoin: str, rejoined: str, *,
    killed: bool = False, darkens: bool = False,
) -> Round:  # fmt: skip
    """One drill as a line of the whole."""
    phases: dict[str, float] = {}
    for phase in result.phases:
        phases[phase.name] = round(phases.get(phase.name, 0.0) + phase.seconds, 3)
    missed = tuple(promise.failure for promise in verdict.objectives(result) if not promise.met)
    return Round(
        nr=nr, scenario=result.scenario, outcome=result.outcome, folder=folder, run_id=result.run_id,
        primary=result.host, killed=killed, darkens=darkens, rejoin=rejoin, rejoined=rejoined,
        reasons=result.reasons, missed=missed, slow=tuple(sorted(verdict.slow(result))),
        duration_s=result.duration_s, rto_s=result.rto_s, promised_s=result.objectives.rto_s,
        rto_from_failover_s=result.rto_from_failover_s, max_ack_gap_s=result.max_ack_gap_s, acked=result.acked,
        lost=result.lost, duplicated=result.duplicated, replayed=result.replayed, verify=result.verify,
        pressure=result.pressure, phases=phases,
    )  # fmt: skip


def judge(result: RoundsResult, *, interrupted: bool = False) -> RoundsResult:
    """Passed only when every round that was wanted was run and passed, and no row of any is gone in the end."""
    reasons = tuple(_reasons(result))
    outcome = Outcome.INTERRUPTED if interrupted else Outcome.FAILED if reasons else Outcome.PASSED
    return result.model_copy(update={"outcome": outcome, "reasons": reasons})


def besides_slowness(result: RoundsResult) -> tuple[str, ...]:
    """Its reasons, without the rounds that only took longer than promised."""
    return tuple(_reasons(result, but=lambda one: one.only_slow))


def _reasons(result: RoundsResult, but: Callable[[Round], bool] = lambda one: False) -> Iterator[str]:
    for one in result.rounds:
        if not one.passed and not but(one):
            why = " ".join(one.reasons) or "No reason was recorded."
            yield f"Round {one.nr} ({one.scenario}) {_ended(one.outcome)}: {why}"
    if result.stopped:
        yield result.stopped
    missing = result.wanted - len(result.rounds)
    if missing > 0:
        first = len(result.rounds) + 1
        which = f"Round {first} was" if missing == 1 else f"Rounds {first} to {result.wanted} were"
        yield f"{which} not run."
    if result.witnessed is not None:
        yield from result.witnessed.reasons(sum(one.darkens for one in result.rounds))
    else:
        yield "Nobody watched whether two hosts took writes."
    if result.last_check is None:
        yield "Rows of earlier rounds were not looked for again after the last round."
    else:
        yield from result.last_check.reasons()


def _ended(outcome: Outcome) -> str:
    return "failed" if outcome is Outcome.FAILED else f"was {outcome.value}"


def write_rounds(result: RoundsResult, folder: Path) -> Path:
    """Write folder/result.json whole or not at all."""
    return write_whole(folder / "result.json", result.model_dump_json(indent=2) + "\n")


def is_rounds(path: Path) -> bool:
    """Whether a result.json says that it is one of rounds; one that cannot be read is not."""
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and said.get("kind") == "rounds"


def read_rounds(path: Path) -> RoundsResult:
    """BadInput, with the path, when the file is missing or damaged."""
    try:
        return RoundsResult.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(f"{path} is damaged: {where}: {first['msg']}.") from None


def _kind(name: str, rounds: list[Round]) -> Kind:
    return Kind(
        scenario=name,
        rounds=len(rounds),
        passed=sum(one.passed for one in rounds),
        promised_s=rounds[0].promised_s,
        rto_median_s=_median([one.rto_s for one in rounds]),
        rto_worst_s=_worst([one.rto_s for one in rounds]),
        wait_worst_s=_worst([one.max_ack_gap_s for one in rounds]),
        duration_median_s=statistics.median(one.duration_s for one in rounds),
    )


def _known(values: list[float | None]) -> list[float] | None:
    """All of them; None when there is none, or one is missing: it might have been the worst."""
    found = [value for value in values if value is not None]
    return found if found and len(found) == len(values) else None


def _worst(values: list[float | None]) -> float | None:
    found = _known(values)
    return None if found is None else max(found)


def _median(values: list[float | None]) -> float | None:
    found = _known(values)
    return None if found is None else statistics.median(found)


def _sum(values: list[int | None]) -> int | None:
    found = [value for value in values if value is not None]
    return sum(found) if found and len(found) == len(values) else None
