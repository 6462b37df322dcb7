"""A made-up run of rounds, for tests and for looking at its page.

python tests/unit/rounds_kit.py FOLDER     writes FOLDER/{passed,failed,interrupted}/report.html
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from drills.judging.result import NegativeTwin, Outcome, Verify
from drills.measuring.fingerprint import fingerprint
from drills.measuring.pressure import Pressure
from drills.rounds.report import write_junit, write_report
from drills.rounds.result import Gone, LastCheck, Looked, Round, RoundsResult, judge, write_rounds
from drills.rounds.witness import Witnessed
from tests.unit.sample_drill import STARTED

POOL = ("primary-power-loss", "primary-crash", "primary-partition", "planned-switchover")
_USUAL = {"primary-power-loss": 2.2, "primary-crash": 1.6, "primary-partition": 2.7, "planned-switchover": 0.8}
PHASES = {"normal": 3.1, "verify": 12.4, "backup": 4.2, "rebuild": 1.9, "start": 3.4, "compare": 0.9, "promote": 0.4}


def quiet(cpu: float = 0.3) -> Pressure:
    return Pressure(2.6, cpu, 0.1, 0.05, 0.0, 0.0, 0.0, 0.01)


def one_round(nr: int, scenario: str = "", **changes: object) -> Round:
    name = scenario or POOL[(nr - 1) % len(POOL)]
    rejoins = name != "planned-switchover"
    usual = {
        "nr": nr, "scenario": name, "outcome": Outcome.PASSED, "folder": f"20260302T06{nr:02d}07Z-drill-{name}",
        "run_id": str(nr), "primary": f"pg{2 - nr % 2}", "rejoin": ("rewind", "re-clone")[nr % 2] if rejoins else "",
        "rejoined": ("pg1, by pg_rewind", "pg1, by re-clone from the repository")[nr % 2] if rejoins else "",
        "duration_s": 31.4, "rto_s": round(_USUAL.get(name, 2.0) + random.Random(nr).gauss(0.2, 0.15), 3),
        "promised_s": 10.0 if name == "primary-partition" else 5.0, "max_ack_gap_s": 0.64, "acked": 121_500, "lost": 0,
        "duplicated": 0, "replayed": 9_300, "verify": Verify(passed=285), "pressure": quiet(0.2 + nr % 5 / 30),
        "phases": PHASES,
    }  # fmt: skip
    return Round.model_validate(usual | changes)


def looked(lost: int = 0) -> LastCheck:
    copies = (("pg1", "primary"), ("pg2", "standby"))
    gone = (Gone(nr=1, table="order_records", rows=lost, numbers="7", hosts=("pg1", "pg2")),) if lost else ()
    return LastCheck(
        looked=tuple(
            Looked(host=host, role=role, rounds=12, acked=1_458_000, overwritten=340_200, lost=lost, duplicated=0)
            for host, role in copies
        ),
        gone=gone,
    )


def begun(wanted: int = 12) -> RoundsResult:
    return RoundsResult(
        name="20260302T064107Z-rounds", run_id="1387961041", lab="lab", host="pg1", started_at=STARTED, wanted=wanted,
        pool=POOL, fingerprint=fingerprint("podman 4.3.1, runc"), versions={"postgresql-17": "17.12"}, duration_s=391.0,
    )  # fmt: skip


def witnessed(*two: str) -> Witnessed:
    return Witnessed(looks={"pg1": 3_910, "pg2": 3_902}, acks={"pg1": 1_950, "pg2": 1_840}, two=two, silent_s=1.2)


def passed(wanted: int = 12) -> RoundsResult:
    result = begun(wanted)
    for nr in range(1, wanted + 1):
        result = result.with_round(one_round(nr))
    return judge(result.model_copy(update={"last_check": looked(), "witnessed": witnessed()}))


def failed() -> RoundsResult:
    """Round 5 was slow on a machine that stood still, round 7 for no such reason, and a row of round 1 is gone."""
    result = begun()
    for nr in range(1, 13):
        slow = "Longest pause of the store (RTO) was 6.91 s; promised was at most 5 s"
        still = f"{slow}, on a machine that stood still: tasks waited for a processor 93 % of the time."
        missed = {5: still, 7: f"{slow}."}.get(nr)
        wrong = {"rto_s": 6.91, "missed": (missed,), "reasons": (missed,), "outcome": Outcome.FAILED} if missed else {}
        name = "primary-power-loss" if missed else ""
        result = result.with_round(one_round(nr, name, **wrong, pressure=quiet(0.93 if nr == 5 else 0.3)))
    twin = NegativeTwin(name="vanished-row", held=False, reason="more than the row that was taken out is wrong")
    return judge(result.model_copy(update={"last_check": looked(1), "witnessed": witnessed(), "negative_twin": twin}))


def interrupted() -> RoundsResult:
    stopped = one_round(2, outcome=Outcome.INTERRUPTED, rto_s=None, lost=None)
    result = begun().with_round(one_round(1)).with_round(stopped)
    return judge(result.model_copy(update={"stopped": "The rounds were interrupted."}), interrupted=True)


def write_samples(folder: Path) -> None:
    for name, result in {"passed": passed(50), "failed": failed(), "interrupted": interrupted()}.items():
        into = folder / name
        into.mkdir(parents=True, exist_ok=True)
        write_rounds(result, into)
        write_junit(result, into)
        write_report(result, into)


if __name__ == "__main__":
    write_samples(Path(sys.argv[1]))
