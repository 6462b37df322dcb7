"""What stands twice because neither side may import the other is the same on both sides."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.jobs import leases as agents_leases
from agents.jobs import proofs as agents_proofs
from agents.postgresql.wal import archive_map
from agents.tdengine.backup import settings as td_settings
from deploys import facts
from deploys.postgresql import operations
from runbooks import layout
from runbooks.probes.postgresql import server
from runbooks.probes.tdengine import backups

ROOT = Path(__file__).resolve().parents[2]


def test_a_blank_data_directory_has_one_mark() -> None:
    """The deploy lays it, the guard of a start and the runbooks read it."""
    assert facts.BLANK == layout.BLANK
    assert f'"{layout.BLANK}"' in (ROOT / "agents/guard/start_guard.py").read_text()


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
