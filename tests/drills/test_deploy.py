"""Deploys on real hosts: the second run changes nothing, and drift shows whatever was changed behind its back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploys.run import Changes, deploy, drift
from runbooks.engine.verify import EVERYTHING, verify
from runbooks.hosts import Estate, Host
from runbooks.look import drift as beyond
from runbooks.look.drift import Difference
from tests.drills import estate as seen

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
HBA = "/etc/postgresql/17/main/pg_hba.conf"


@pytest.fixture
def broken_behind_its_back(estate_lab: Estate) -> Iterator[Estate]:
    """Damage of every kind that drift promises to show; taken back whatever the test does."""
    (pg1, pg2), backup = hosts_by_role(estate_lab), estate_lab.backup
    pg2.run("echo 'host all all 0.0.0.0/0 trust' >> %s", HBA)
    pg1.execute("ALTER SYSTEM SET log_lock_waits = off; ALTER SYSTEM SET work_mem = '64MB'; SELECT pg_reload_conf();")
    pg2.execute("ALTER SYSTEM SET max_connections = 90; ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf();")
    summaries = "/var/lib/postgresql/17/main/pg_wal/summaries"
    pg2.run("until ls %s | grep -q .; do sleep 0.1; done", summaries)
    pg1.execute("ALTER TABLE data_sources ADD COLUMN by_hand text;", "quant_research")
    backup.run("systemctl stop cron")
    yield estate_lab
    pg1.execute("ALTER SYSTEM RESET work_mem; SELECT pg_reload_conf();")
    pg1.execute("ALTER TABLE data_sources DROP COLUMN IF EXISTS by_hand;", "quant_research")
    deploy("lab")


def hosts_by_role(estate: Estate) -> tuple[Host, Host]:
    """Primary and standby: other tests exchange them."""
    primary, standby = seen.roles(estate)
    return estate.host(primary), estate.host(standby)


def told(found: tuple[Difference, ...]) -> set[tuple[str, str]]:
    return {(one.what, one.host) for one in found}


def test_second_run_changes_nothing_on_any_host(estate_lab: Estate, tmp_path: Path) -> None:
    log = tmp_path / "pyinfra.log"
    heard: list[str] = []
    changes = deploy("lab", log=log, say=heard.append)
    assert changes.by_operation == {}
    assert changes.operations > 50
    assert len(heard) >= changes.operations
    assert "No changes" in log.read_text() or "No change" in log.read_text()


def test_run_limited_to_one_host_changes_nothing_either(estate_lab: Estate) -> None:
    """A host's files name the others, so a limit must not make it forget them."""
    changes = deploy("lab", ["pg2"])
    assert changes.by_operation == {}
    assert changes.operations > 20


def test_nothing_differs_after_a_deploy(estate_lab: Estate) -> None:
    changes = drift("lab")
    assert changes.by_operation == {}
    assert changes.operations > 50
    assert beyond.silent(estate_lab) == ()
    assert beyond.look(estate_lab) == ()


def test_drift_shows_what_was_changed_and_a_deploy_takes_it_back(broken_behind_its_back: Estate) -> None:
    primary, standby = seen.roles(broken_behind_its_back)
    changes: Changes = drift("lab")
    assert changes.by_operation["who may connect"] == (standby,)
    assert changes.by_operation["cron runs"] == ("backup1",)
    assert set(changes.by_operation["no setting is overridden"]) == {"pg1", "pg2"}
    assert changes.by_operation["nothing summarizes WAL"] == (standby,)

    found = beyond.look(broken_behind_its_back)
    assert told(found) == {
        ("settings are in force", standby), ("settings are the file's", primary), ("settings are the file's", standby),
        ("schema is the catalogue's", primary),
    }  # fmt: skip
    details = " ".join(one.detail for one in found)
    assert "data_sources.by_hand is not in the catalogue" in details
    assert "work_mem" in details
    assert "max_connections" in details
    assert "summarize_wal" in details

    repaired = deploy("lab")
    assert set(repaired.by_operation) >= {
        "who may connect", "cron runs", "no setting is overridden", "nothing summarizes WAL",
    }  # fmt: skip
    assert drift("lab").by_operation == {}
    # What nobody declared is shown, and never altered or dropped unasked.
    assert {one.detail for one in beyond.look(broken_behind_its_back)} == {
        f"{primary}: ALTER SYSTEM set work_mem to '64MB'.", f"{primary}: data_sources.by_hand is not in the catalogue.",
    }  # fmt: skip


def test_stopped_server_is_drift_and_a_deploy_starts_it(estate_lab: Estate) -> None:
    _, pg2 = hosts_by_role(estate_lab)
    pg2.run("systemctl stop postgresql@17-main")
    try:
        assert beyond.look(estate_lab) == (
            Difference("PostgreSQL runs", pg2.name, f"PostgreSQL is down on {pg2}, which is not fenced."),
        )
        assert drift("lab").by_operation == {"standby": (pg2.name,)}
    finally:
        assert deploy("lab").by_operation == {"standby": (pg2.name,)}
    assert beyond.look(estate_lab) == ()


def test_deployed_estate_is_as_specified(estate_lab: Estate, tmp_path: Path) -> None:
    result = verify(EVERYTHING, run_dir=tmp_path, budget="verify")
    assert result.failures == ()
    assert result.passed > 100
    assert result.skipped == 0
