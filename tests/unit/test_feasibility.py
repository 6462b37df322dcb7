"""What `./dr plan` computes: only from measurements, and unknown wherever one is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from runbooks.judge.feasibility import MIB, Measured, Sample, Sizes, Verdict, answers
from runbooks.look import measurements
from runbooks.probes.postgresql.pgbackrest import Backup, Repository
from runbooks.probes.postgresql.proofs import Proof

GIB = 1024 * MIB
SIZES = Sizes(restore=5 * GIB, wal=1 * GIB, wal_every_s=36000, repository=2 * GIB, ticks=2_000_000)
MEASURED = Measured(
    restore=[Sample(5 * GIB, 10, "a run"), Sample(5 * GIB, 20, "a slower run")],
    replay=[Sample(1 * GIB, 30, "a run")],
    fetch=[Sample(2 * GIB, 8, "a run")],
    provision=[40, 35],
    ticks=[Sample(1_000_000, 50, "a proof"), Sample(1_000_000, 40, "a faster one")],
    fixed={
        "restore-cluster": [4, 5], "restore-pitr": [7], "restore-table": [6], "tdengine-restore": [3],
        "tdengine-rebuild": [8, 9],
    },
    drills={"primary-crash": [1.5, 2.5]},
)


def only(scenario: str, rto: float, measured: Measured = MEASURED, sizes: Sizes = SIZES):  # type: ignore[no-untyped-def]
    return answers({scenario: rto}, sizes, measured)[0]


@pytest.mark.parametrize(
    ("scenario", "total"),
    [
        ("primary-crash", 2.5),  # the slowest drill
        ("cluster-loss", 40 + 20 + 30 + 5),
        ("offsite-only", 40 + 8 + 20 + 30 + 5),
        ("bad-update", 20 + 30 + 7),
        ("dropped-table", 20 + 30 + 6),
        ("tdengine-late-rows", 100 + 3),
        ("tdengine-host-loss", 100 + 9),
    ],
)
def test_a_scenario_takes_the_sum_of_its_parts_at_the_slowest_rate(scenario: str, total: float) -> None:
    found = only(scenario, total)
    assert found.total_s == pytest.approx(total)
    assert (found.verdict, found.lever) == (Verdict.FITS, "")
    assert only(scenario, total - 0.5).verdict is Verdict.TOO_SLOW


@pytest.mark.parametrize(
    "measured",
    [
        Measured(),
        replace(MEASURED, restore=()),
        replace(MEASURED, replay=()),
        replace(MEASURED, provision=()),
        replace(MEASURED, fixed={}),
    ],
)
def test_without_a_measurement_nobody_knows(measured: Measured) -> None:
    found = only("cluster-loss", 1e6, measured)
    assert (found.verdict, found.total_s) == (Verdict.UNKNOWN, None)
    assert "never measured here" in found.lever
    assert "./dr drill --scenario cluster-loss" in found.lever


def test_a_rate_of_a_small_restore_says_nothing_about_a_large_one() -> None:
    found = only("bad-update", 1e6, replace(MEASURED, restore=[Sample(30 * MIB, 3, "a toy")]))
    assert found.verdict is Verdict.UNKNOWN
    assert "measured with 30 MiB only, not 5120 MiB" in found.lever


def test_rows_of_tdengine_are_counted_in_rows() -> None:
    few = replace(MEASURED, ticks=[Sample(10_000, 1, "a toy")])
    assert "measured with 10000 rows only, not 2000000 rows" in only("tdengine-host-loss", 1e6, few).lever
    slow = only("tdengine-host-loss", 50)
    assert slow.parts[0].says == "2000000 rows at 20000 rows/s (a proof)"
    assert "or three nodes" in slow.lever


FILES = replace(SIZES, files=2 * GIB, changes=400_000)
TRADING = replace(
    MEASURED, drills={"sqlite-host-loss": [40.0, 30.0]}, files=[Sample(1 * GIB, 10, "a proof")],
    changes=[Sample(100_000, 5, "a run")],
)  # fmt: skip


def test_a_lost_application_host_takes_what_its_databases_of_today_take_besides() -> None:
    found = only("sqlite-host-loss", 80, TRADING, FILES)
    assert (found.total_s, found.verdict) == (pytest.approx(40 + 20 + 20), Verdict.FITS)
    assert found.parts[2].says == "400000 transactions, the most since a snapshot at 20000 transactions/s (a run)"
    few, grown = replace(TRADING, changes=[Sample(500_000, 25, "a run")]), replace(FILES, changes=2_000_000)
    slow = only("sqlite-host-loss", 70, few, grown)
    assert "snapshots more often" in slow.lever


@pytest.mark.parametrize("changes", [{"files": None}, {"changes": None}])
def test_what_nobody_knows_to_be_kept_of_sqlite_is_unknown(changes: dict[str, None]) -> None:
    found = only("sqlite-host-loss", 1e6, TRADING, replace(FILES, **changes))
    assert (found.verdict, found.total_s) == (Verdict.UNKNOWN, None)
    assert "how much there is of it is unknown" in found.lever


def test_a_database_that_grew_beyond_what_was_restored_is_measured_without_a_restore() -> None:
    found = only("sqlite-host-loss", 1e6, replace(TRADING, changes=[Sample(50, 1, "a drill")]), FILES)
    assert found.verdict is Verdict.UNKNOWN
    assert "./dr sqlite-restore without --yes" in found.lever


def test_a_slow_replay_asks_for_more_frequent_incrementals_and_says_how_frequent() -> None:
    found = only("bad-update", 20 + 7 + 15)  # half of the WAL would fit
    assert "at most 512 MiB of WAL" in found.lever
    assert "one every 5.0 h" in found.lever


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"restore": [Sample(5 * GIB, 100, "slow")]}, "more processes"),
        ({"provision": [300]}, "spare hosts"),
        ({"fixed": {"restore-cluster": [200]}}, "steps of the last run"),
    ],
)
def test_the_lever_turns_the_longest_part(change: dict[str, object], words: str) -> None:
    assert words in only("cluster-loss", 100, replace(MEASURED, **change)).lever  # type: ignore[arg-type]


def backup(label: str, stopped_at: int, wal_stop: int) -> Backup:
    return Backup(label, "incr", stopped_at, False, 100, 50, f"00000001000000000000{wal_stop:04X}")


def repository(*backups: Backup, newest: int) -> Repository:
    return Repository(0, "ok", "aes", 1, "17", backups, "17-1", f"00000002000000000000{newest:04X}", False)


def test_the_worst_interval_counts_not_the_moment_after_a_backup() -> None:
    kept = repository(backup("a", 1000, 1), backup("b", 5000, 65), newest=66)
    assert measurements.most_wal(kept, 5100.0) == (65 * 16 * MIB, 4000.0)


def test_wal_since_the_newest_backup_counts_when_it_is_more() -> None:
    kept = repository(backup("a", 1000, 1), backup("b", 5000, 3), newest=0x13)
    assert measurements.most_wal(kept, 6000.0) == (17 * 16 * MIB, 1000.0)


def test_runs_and_proofs_become_samples(tmp_path: Path) -> None:
    own, drilled = tmp_path / "20261101T000001Z-restore-cluster", tmp_path / "20261101T000002Z-drill-cluster-loss"
    journal(own, [("assess", 1.0), ("provision", 40.0), ("restore", 10.0), ("replay", 5.0), ("promote", 0.5),
                  ("write-path", 0.5), ("standby", 99.0)])  # fmt: skip
    no_further = [("assess", 1.0), ("restore", 20.0)]
    journal(drilled / "runbooks/20261101T000002Z-restore-cluster", no_further)
    journal(tmp_path / "20261101T000003Z-restore-cluster-2", [("assess", 1.0), ("write-path", 1.0)], estate="another")
    past = measurements.ran("mine", tmp_path)
    assert len(past) == 2
    assert measurements._fixed(past) == [2.0]
    assert sorted(s.rate for s in measurements._samples(past, "restore", "bytes")) == [50.0, 100.0]
    proof = Proof("F", "full", 1, 1.0, True, 9.0, 10, 2.0, 6, 3.0, (), ())
    copied, replayed = measurements._proofs([proof, replace(proof, passed=False)])
    assert ([s.rate for s in copied], [s.rate for s in replayed]) == ([5.0], [2.0])


def test_of_a_year_of_runs_the_newest_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for nr in range(5):
        journal(tmp_path / f"2026110{nr}T000000Z-restore-cluster", [("assess", 1.0), ("write-path", 1.0)])
        journal(tmp_path / f"2026110{nr}T000000Z-failover", [("assess", 1.0)])
    monkeypatch.setattr(measurements, "_READ", 2)
    read: list[Path] = []
    real = measurements.read_history
    monkeypatch.setattr(measurements, "read_history", lambda path: read.append(path) or real(path))
    assert len(measurements.ran("mine", tmp_path)) == 2
    assert [path.name[:8] for path in read] == ["20261104", "20261103"]


def journal(folder: Path, steps: list[tuple[str, float]], estate: str = "mine") -> None:
    """A run of restore-cluster as its journal tells it."""
    folder.mkdir(parents=True)
    names = ["assess", "provision", "restore", "replay", "promote", "write-path", "standby"]
    opened = {"procedure": "restore-cluster", "estate": estate, "steps": names, "options": {}, "owner": "o", "pid": 1}
    records = [("opened", None, opened)]
    for name, seconds in steps:
        done = {"started": 0.0, "seconds": seconds, "says": "", "state": {"bytes": 1000, "wal_bytes": 100}}
        records.append(("step_done", name, done))
    lines = [
        json.dumps({"seq": nr, "at": f"2026-1-{folder.name}", "mono": 0.0, "event": event, "step": step, "data": data})
        for nr, (event, step, data) in enumerate(records, 1)
    ]
    (folder / "journal.jsonl").write_text("\n".join(lines) + "\n")
