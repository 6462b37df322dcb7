"""What a record says: one drill, a run of rounds as a whole, or a runbook's run that counts as a drill."""

from __future__ import annotations

import getpass
import hashlib
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from drills.evidence import basis, chain
from drills.evidence.basis import Basis
from drills.evidence.files import Files, files
from drills.judging.result import DrillResult, Outcome, write_whole
from drills.rounds.result import RoundsResult
from inventories.catalog.recovery import LAB
from inventories.errors import DrError

RESULT = "result.json"


class Kind(StrEnum):
    DRILL = "drill"
    ROUNDS = "rounds"
    RUN = "run"  # of a runbook, where nothing is broken on purpose


class Told(BaseModel):
    """`run`: its folder, below that of all runs; `file` in it has the digest `sha256`. `promise` names the entry of
    recovery.yaml, `scenario` what was broken, or the runbook. `basis` is the name of what it rests on. `scenarios`:
    what a run of rounds disproves although each round passed. Seconds and rows are None where they were not measured.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Kind
    run: str
    file: str
    sha256: str
    estate: str
    place: str
    promise: str
    scenario: str
    started_at: datetime
    duration_s: float
    outcome: Outcome
    reason: str = ""
    twin: str = ""
    held: bool | None = None
    rto_s: float | None = None
    promised_rto_s: float | None = None
    detection_s: float | None = None
    acked: int | None = None
    lost: int | None = None
    duplicated: int | None = None
    checks_passed: int = 0
    checks_failed: int = 0
    versions: Mapping[str, str] = {}
    machine: str = ""
    basis: str = ""
    by: str = ""  # who started it
    acted: str = ""  # who ran the failover
    consent: str = ""
    scenarios: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASSED

    @property
    def decides(self) -> bool:
        """Whether it says anything of the promise: what was refused or interrupted does not."""
        return self.outcome in (Outcome.PASSED, Outcome.FAILED)


def record_drill(result: DrillResult, folder: Path, began: Mapping[str, str], acted: str) -> None:
    """Add a drill whose evidence lies in `folder`. `began`: what the code was before it (`basis.before`); `acted`: who
    ran the failover, the operator or the watch.

    Raises DrError or OSError where it cannot be kept.
    """
    where = files()
    procedures = {step.procedure for step in result.steps}
    stores = {store.store.lower() for store in result.stores}
    rests_on = basis.take(procedures, result.promise or result.scenario, stores, began)
    twin = result.negative_twin
    told = Told(
        kind=Kind.DRILL, run=_below(where, folder), file=RESULT, sha256=sha256_of(folder / RESULT),
        estate=f"{LAB}-{result.lab}", place=LAB, promise=result.promise or result.scenario, scenario=result.scenario,
        started_at=result.started_at, duration_s=result.duration_s, outcome=result.outcome,
        reason="".join(result.reasons[:1]), twin=twin.name if twin else "", held=twin.held if twin else None,
        rto_s=result.rto_s, promised_rto_s=result.objectives.rto_s, detection_s=result.detection_s, acked=result.acked,
        lost=result.lost, duplicated=result.duplicated, checks_passed=result.verify.passed,
        checks_failed=result.verify.failed, versions=result.versions, machine=_machine(result),
        basis=keep(where, rests_on), by=who(), acted=acted,
    )  # fmt: skip
    add(told, where)


def record_rounds(result: RoundsResult, folder: Path) -> None:
    """Add the run of rounds as a whole: each round has its own record already. Raises DrError or OSError."""
    where, twin = files(), result.negative_twin
    disproves = result.outcome is Outcome.FAILED and result.passed == len(result.rounds) == result.wanted
    told = Told(
        kind=Kind.ROUNDS, run=_below(where, folder), file=RESULT, sha256=sha256_of(folder / RESULT),
        estate=f"{LAB}-{result.lab}", place=LAB, promise="", scenario="", started_at=result.started_at,
        duration_s=result.duration_s, outcome=result.outcome, reason="".join(result.reasons[:1]),
        twin=twin.name if twin else "", held=twin.held if twin else None, rto_s=result.rto_s, acked=result.acked,
        lost=result.lost, duplicated=result.duplicated, checks_passed=result.verify.passed,
        checks_failed=result.verify.failed, versions=result.versions, by=who(),
        scenarios=tuple(sorted({one.scenario for one in result.rounds})) if disproves and not twin else (),
    )  # fmt: skip
    add(told, where)


def kept(record: Callable[[], None], say: Callable[[str], None]) -> None:
    """A drill is judged by what it found; that nobody can be shown it later is said."""
    try:
        record()
    except (DrError, OSError, SyntaxError) as error:  # the last: of code that is being edited
        say(f"WARNING: this is not in the history, and proves nothing to ./dr drills.due: {error}")


def add(told: Told, where: Files) -> chain.Record:
    """Raises DrError or OSError where it cannot be kept."""
    return chain.append(where, told.model_dump(mode="json"))


def read(record: chain.Record) -> Told | None:
    """None for a record of another kind than this version knows."""
    with suppress(ValueError):
        return Told.model_validate(dict(record.told))
    return None


def who() -> str:
    """The operator as the machine knows them."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "somebody"
    return f"{name}@{socket.gethostname()}"


def keep(where: Files, rests_on: Basis) -> str:
    """Once for all results that rest on it. Returns its name."""
    path = where.basis(rests_on.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        write_whole(path, rests_on.model_dump_json())
    return rests_on.name


def _below(where: Files, folder: Path) -> str:
    """Its path below that of all runs; where it lies elsewhere, all of it."""
    whole, runs = folder.resolve(), where.runs.resolve()
    return whole.relative_to(runs).as_posix() if whole.is_relative_to(runs) else str(whole)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _machine(result: DrillResult) -> str:
    found = result.fingerprint
    if found is None:
        return ""
    return f"{found.cores} cores, {found.memory_gib:g} GiB, Linux {found.kernel}, {found.container_engine}"
