"""What stands twice because neither side may import the other is the same on both sides."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.guard import start_guard
from agents.jobs import leases as agents_leases
from agents.jobs import proofs as agents_proofs
from agents.postgresql.directory import change as directory_change
from agents.postgresql.directory import facts as directory_facts
from agents.postgresql.wal import archive_map
from agents.tdengine.backup import settings as td_settings
from deploys import facts
from deploys.postgresql import operations
from runbooks import layout
from runbooks.actions.postgresql import directory
from runbooks.probes.postgresql import server, stopped
from runbooks.probes.tdengine import backups

ROOT = Path(__file__).resolve().parents[2]


def test_an_unused_cluster_is_told_the_same_way_everywhere() -> None:
    """By its control file: in the program that empties directories, the guard, the runbooks and the deploy."""
    assert start_guard.FIRST_NORMAL_OID == directory_facts.FIRST_NORMAL_OID == stopped.FIRST_NORMAL_OID
    assert f"oid < {directory_facts.FIRST_NORMAL_OID})" in facts.PgCluster().command(17).get_raw_value()


def test_the_guard_notes_a_start_where_the_claim_lies() -> None:
    place = directory_change.Place(Path("/var/lib/postgresql/17/main"), Path("/bin"))
    assert str(place.claim) == f"/{start_guard.CLAIM}"
    assert str(place.record) == f"/{start_guard.RECORD}"


def test_what_runs_the_program_of_the_data_directory_names_it_alike() -> None:
    for path in ("runbooks/probes/postgresql/ground.py", "deploys/postgresql/operations.py"):
        assert f"agents.{directory.PROGRAM}" in (ROOT / path).read_text()


def test_a_fenced_host_has_one_mark() -> None:
    assert facts.FENCED == layout.FENCED


@pytest.mark.parametrize("host", ["pg1", "pg-2.example.com", "PG3"])
def test_a_replication_slot_has_one_name(host: str) -> None:
    assert operations._slot(host) == layout.slot(host)


def test_the_records_of_proofs_lie_where_they_are_looked_for() -> None:
    assert str(agents_proofs.PATH) == layout.PROOFS
    assert str(agents_leases.FOLDER.parent) == str(agents_proofs.PATH.parent)
    assert Path(backups.PROOFS).parent == agents_proofs.PATH.parent
    assert str(td_settings.PATH) == backups.SETTINGS


def test_a_segment_of_wal_is_as_long_on_the_host_as_at_the_operators() -> None:
    assert server.SEGMENT_BYTES == archive_map.SEGMENT_BYTES
    timeline, number = archive_map.number("00000002000000010000000A")
    assert server.begins("00000002000000010000000A") == number * archive_map.SEGMENT_BYTES
    assert server.segment(timeline, server.begins("00000002000000010000000A")) == "00000002000000010000000A"
