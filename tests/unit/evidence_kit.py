"""A history in a folder of a test: results that were never run, recorded as drills record them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from drills.evidence import chain
from drills.evidence.files import Files
from drills.evidence.results import Kind, Told, add
from drills.judging.result import Outcome

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
VERSIONS: Mapping[str, str] = {"postgresql-17": "17.12-0+deb13u1", "pgbackrest": "2.55.1-1"}


def told(scenario: str = "primary-power-loss", days_ago: float = 1, **other: Any) -> Told:
    """A drill that passed in the lab, that long before NOW."""
    return Told.model_validate(
        {
            "kind": Kind.DRILL, "run": f"run-{scenario}-{days_ago:g}", "file": "result.json", "sha256": "0" * 64,
            "estate": "lab-lab", "place": "lab", "promise": scenario, "scenario": scenario,
            "started_at": NOW - timedelta(days=days_ago), "duration_s": 40.0, "outcome": Outcome.PASSED, "rto_s": 1.7,
            "promised_rto_s": 5.0, "acked": 1000, "lost": 0, "duplicated": 0, "checks_passed": 9,
            "versions": VERSIONS, "basis": "known", "by": "ops@control", "acted": "operator",
        }
        | other
    )  # fmt: skip


@dataclass(frozen=True)
class History:
    """Of this test alone."""

    files: Files

    def add(self, *results: Told) -> None:
        for one in results:
            add(one, self.files)

    @property
    def lines(self) -> list[bytes]:
        return self.files.history.read_bytes().splitlines(keepends=True)

    def write(self, lines: list[bytes]) -> None:
        self.files.history.write_bytes(b"".join(lines))

    @property
    def records(self) -> list[chain.Record]:
        return [record for line in self.lines if (record := chain.parse(line))]


def history(root: Path) -> History:
    return History(Files(root / "runs", root / "state", root / "runs" / "evidence"))
