"""Promises of the catalogue that no single value breaks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Literal

from agents.jobs import cron
from inventories.catalog import load_recovery
from inventories.catalog.recovery import BACKUPS


def test_no_two_scheduled_backups_are_further_apart_than_the_limit_on_their_age() -> None:
    """Otherwise `./dr status` fails every weekend, and people learn to look away."""
    recovery = load_recovery()
    stores: tuple[Literal["postgresql", "tdengine"], ...] = ("postgresql", "tdengine")
    for store in stores:
        assert _between_backups(store) < recovery.limits.max_backup_age_h


def test_the_shadow_of_tdengine_outlasts_a_backup_that_was_missed() -> None:
    """There is no WAL in an archive: what lies between two backups is on one node and in the shadow."""
    shadow = load_recovery().stores["tdengine"].shadow
    assert shadow is not None
    assert shadow.keep_h > 2 * _between_backups("tdengine")


def test_no_limit_on_the_age_of_a_proof_or_a_copy_is_shorter_than_its_schedule() -> None:
    recovery = load_recovery()
    schedule = recovery.stores["postgresql"].schedule
    for store in ("postgresql", "tdengine"):
        prove, kept = recovery.stores[store].schedule["prove"], recovery.stores[store].retention
        assert _widest([prove]) < recovery.limits.max_proof_age_h
        fulls = kept.days * 24 / _widest([recovery.stores[store].schedule["full"]], weeks=9) + kept.full_copies
        assert fulls * _widest([prove]) / 24 < recovery.limits.max_full_proof_age_d, "each comes round again in time"
    assert _widest([schedule["offsite"]]) < recovery.limits.max_offsite_age_h


def _between_backups(store: Literal["postgresql", "tdengine"]) -> float:
    schedule = load_recovery().stores[store].schedule
    return _widest([schedule[kind] for kind in BACKUPS if kind in schedule])


def _widest(expressions: Sequence[str], weeks: int = 3) -> float:
    """Hours between two runs that follow each other, over some weeks."""
    start = datetime(2026, 1, 5, tzinfo=timezone.utc)
    minutes = [(start + timedelta(minutes=n)).timestamp() for n in range(weeks * 7 * 24 * 60)]
    parsed = [cron.parse(expression) for expression in expressions]
    times = sorted({at for one in parsed for minute in minutes[::30] if (at := one.previous(minute)) is not None})
    assert len(times) > 5
    return max(later - earlier for earlier, later in pairwise(times)) / 3600
