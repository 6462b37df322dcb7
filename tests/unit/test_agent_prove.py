"""Which backup is proven next, what its rows are held to, and what a record tells."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from agents.jobs import proofs
from agents.jobs.proofs import Check, Proof
from agents.postgresql import manifest, prove, rows
from agents.postgresql.pgbackrest import Backup, Missing
from agents.postgresql.rows import Counted
from inventories.catalog import load_tables
from inventories.catalog.export import tables_json
from runbooks.probes.postgresql import proofs as probe


def backup(label: str) -> Backup:
    return Backup(label, "full", 1, 2, "0/1", "0/2", "0" * 24, "0" * 24, 1, False, 17, "")


A, B, C = backup("1F"), backup("2F"), backup("3F")


def test_the_newest_that_was_never_tried_comes_first() -> None:
    assert prove.choose((A, B, C), ()) == C
    assert prove.choose((A, B, C), (Proof("3F", 10, True),)) == B


def test_then_the_one_tried_longest_ago_and_a_failed_trial_is_one() -> None:
    tried = (Proof("1F", 30, True), Proof("2F", 20, False), Proof("3F", 25, True), Proof("2F", 40, True))
    assert prove.choose((A, B, C), tried) == C


def test_no_backup_at_all_is_no_proof() -> None:
    with pytest.raises(Missing):
        prove.choose((), ())


def test_rows_lie_between_the_counts_around_the_backup() -> None:
    before, after = {"t": Counted(5, "a", "c")}, {"t": Counted(9, "a", "e")}
    assert rows.differences(before, after, {"t": Counted(7, "a", "d")}) == (1, [])
    assert rows.differences(before, after, {"t": Counted(4, "a", "c")})[1]
    assert rows.differences(before, after, {"t": Counted(10, "a", "e")})[1]
    assert rows.differences(before, after, {"t": Counted(7, "a", "b")})[1]
    assert rows.differences(before, after, {"t": Counted(7, "a", None)})[1]
    assert rows.differences(before, after, {})[1] == ["t is not there"]


def test_retention_during_the_backup_makes_no_difference() -> None:
    assert rows.differences({"t": Counted(9)}, {"t": Counted(5)}, {"t": Counted(7)}) == (1, [])


def test_nothing_to_compare_with_compares_nothing() -> None:
    assert rows.differences({}, {}, {"t": Counted(7)}) == (0, [])
    assert rows.parse("torn {") == {} == rows.parse("")


def test_counts_survive_their_annotation() -> None:
    counted = {"t": Counted(5, "2026-11-21 06:00:00+00", "2026-11-21 07:00:00+00"), "u": Counted(0)}
    assert rows.parse(rows.compact(counted)) == counted
    assert "=" not in rows.compact(counted)


def test_every_table_of_the_catalogue_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "tables.json"
    path.write_text(tables_json(load_tables()))
    asked = {one.name: one for one in rows.asked(path)}
    assert asked["order_records"].time_column
    assert f'max("{asked["order_records"].time_column}")' in rows.query(asked["order_records"])
    assert "max" not in rows.query(asked["system_config"])


def test_the_key_is_told_by_its_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_text("[global]\nrepo1-cipher-pass=secret\n")
    assert manifest.key_id(path) == hashlib.sha256(b"secret").hexdigest()[:12]
    assert manifest.key_id(tmp_path / "none") == ""


def test_a_record_is_read_by_retention_and_by_the_operator(tmp_path: Path) -> None:
    path = tmp_path / "proofs.jsonl"
    for outcome in ("passed", "failed"):
        made = prove.Proof(
            "1F", "full", 1, 5.0, outcome, 2.0, 100, 1.0, 16, 0.5, (Check("rows", True, "5 rows"),), ("base/1",), "s"
        )
        prove.record(made, path)
    path.write_text(path.read_text() + '{"label": "torn')
    assert [one.passed for one in proofs.read(path)] == [True, False]
    told = probe.parse(path.read_text())
    assert [one.passed for one in told] == [True, False]
    assert told[0].checks == (probe.Check("rows", True, "5 rows"),)
    assert told[0].damaged == ("base/1",)
    assert json.loads(path.read_text().splitlines()[0])["outcome"] == "passed"
