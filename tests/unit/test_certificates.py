"""Certificates: their end is told a month before, and a renewed one that no server has loaded is told at once."""

from __future__ import annotations

import pytest

from runbooks.judge import certificates as judge
from runbooks.probes.certificates import Certificate, parse

NOW, DAY = 1_790_000_000.0, 86400.0


def found(file_days: float | None, served_days: float | None) -> list[tuple[str, str, str]]:
    ends = [None if days is None else NOW + days * DAY for days in (file_days, served_days)]
    seen = {"pg1": (Certificate("PostgreSQL", *ends),)}
    return [(one.objective, one.measured, one.hint) for one in judge.findings(seen, NOW, 30)]


def test_certificate_that_lasts_and_is_shown_is_no_finding() -> None:
    assert found(31, 31) == []


def test_server_that_is_down_is_judged_by_its_file() -> None:
    assert found(31, None) == []


@pytest.mark.parametrize(
    ("days", "told"),
    [(29, "ends in 29 days"), (1, "ends in 1 day"), (-1, "ended 1 day ago"), (-3, "ended 3 days ago")],
)
def test_end_within_a_month_is_told_with_what_renews_it(days: float, told: str) -> None:
    assert found(days, days) == [
        ("certificate of PostgreSQL on pg1", told, "./dr deploy --limit pg1 renews it")
    ]


def test_renewed_certificate_that_nobody_has_loaded_is_told() -> None:
    [(objective, measured, hint)] = found(800, 20)
    assert objective == "certificate of PostgreSQL on pg1, as clients are shown it"
    assert measured == "ends in 20 days; the file's is another"
    assert "pg_reload_conf" in hint


def test_file_that_cannot_be_read_is_told() -> None:
    assert found(None, 800)[0][1] == "cannot be read"


def test_what_a_host_said_is_read() -> None:
    assert parse("PostgreSQL 1800000000 -\npgBackRest 1800000000 1800000001\n") == (
        Certificate("PostgreSQL", 1_800_000_000, None), Certificate("pgBackRest", 1_800_000_000, 1_800_000_001),
    )  # fmt: skip
