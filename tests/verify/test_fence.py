"""A host that is said to be fenced: its PostgreSQL is down, and neither a start by hand nor a reboot brings it back."""

from __future__ import annotations

from runbooks.probes.postgresql.server import FENCED
from tests.verify.subject import Seen, Subject


def test_nothing_of_postgresql_runs(fenced: Subject) -> None:
    assert fenced.machine.process.filter(comm="postgres") == []
    assert not fenced.listens(5432)


def test_unit_is_masked(fenced: Subject, whole: Seen) -> None:
    unit = f"postgresql@{whole.estate.data['postgres_version']}-main.service"
    assert fenced.machine.run("systemctl is-enabled %s", unit).stdout.strip() == "masked"
    assert fenced.machine.run("systemctl is-active %s", unit).stdout.strip() != "active"


def test_marker_says_why(fenced: Subject) -> None:
    marker = fenced.machine.file(FENCED)
    assert marker.exists
    assert marker.content_string.strip()


def test_no_other_start_is_configured(fenced: Subject, whole: Seen) -> None:
    text = fenced.machine.file(
        f"/etc/postgresql/{whole.estate.data['postgres_version']}/main/start.conf"
    ).content_string
    assert [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")] == ["manual"]
