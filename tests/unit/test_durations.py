"""How long moving the data will take: today's bytes by the rate that was measured, or by one that nobody is below."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inventories.errors import Unreachable
from runbooks.engine.step import Grows
from runbooks.probes import durations
from runbooks.probes.postgresql.pgbackrest import Backup, Repository
from runbooks.probes.postgresql.proofs import Proof

GIB = 2**30
PROOF = Proof(
    "20261121-183000F", "full", 1, 1e9, True, 60, 5 * GIB, 40, 0, 0, (), (),
)  # fmt: skip
FULL = Backup(
    "20261121-183000F", "full", stopped_at=1100, error=False, size_bytes=100 * GIB, repository_bytes=30 * GIB,
    wal_stop="000000010000000000000005", started_at=100,
)  # fmt: skip
INCR = replace(FULL, label="20261121-183000F_20261122-083000I", type="incr", started_at=2000, stopped_at=2010)


def repository(*backups: Backup) -> Repository:
    return Repository(0, "ok", "aes-256-cbc", 1, "17", backups, "17-1", "", False)


def test_a_restore_takes_its_bytes_by_the_rate_of_the_newest_proof_that_passed() -> None:
    slow = replace(PROOF, label="older", restore_s=400)
    failed = replace(PROOF, label="failed", passed=False)
    found = durations.restoring(1024 * GIB, (slow, PROOF, failed))
    assert found.seconds == pytest.approx(8192)
    assert str(found) == "about 2.3 h for 1024.0 GiB at 128 MiB/s (as the proof of 20261121-183000F did)"


def test_what_is_too_small_to_tell_is_no_measurement() -> None:
    found = durations.restoring(1024 * GIB, (replace(PROOF, restore_bytes=1 << 20, restore_s=0.1),))
    assert (found.rate, found.seen) == (durations.FLOOR, durations.UNMEASURED)


def test_where_nothing_was_measured_a_rate_is_taken_that_nobody_is_below() -> None:
    assert durations.restoring(durations.FLOOR * 60, ()).seconds == 60


def test_a_backup_may_read_all_of_the_cluster_at_the_rate_of_the_last_full_one() -> None:
    found = durations.backing_up(repository(FULL, INCR))
    assert found is not None
    assert (found.bytes, found.rate) == (100 * GIB, 100 * GIB / 1000)
    assert durations.backing_up(repository()) is None


def test_a_repository_that_cannot_be_asked_keeps_nobody_waiting_and_tells_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: object) -> Repository:
        raise Unreachable("backup1 cannot be reached")

    class Estate:
        backup = None
        data = {"stanza": "main"}  # noqa: RUF012 - a fake

    monkeypatch.setattr(durations.pgbackrest, "info", away)
    assert durations.restore(Estate()) == ""  # type: ignore[arg-type]
    assert durations.backup(Estate()) == ""  # type: ignore[arg-type]


def test_a_plan_asks_for_what_it_shows_and_nobody_where_the_backup_host_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Backup1:
        there = True

        def reachable(self) -> bool:
            return self.there

    class Estate:
        backup = Backup1()

    monkeypatch.setattr(durations, "restore", lambda _: "about 2 h")
    monkeypatch.setattr(durations, "backup", lambda _: "")
    kinds = {Grows.RESTORE, Grows.BACKUP, Grows.WAL}
    assert durations.expected(Estate(), kinds) == {Grows.RESTORE: "about 2 h"}  # type: ignore[arg-type]
    Estate.backup.there = False
    assert durations.expected(Estate(), kinds) == {}  # type: ignore[arg-type]
