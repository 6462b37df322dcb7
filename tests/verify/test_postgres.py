"""PostgreSQL: one primary in the estate, standbys that stream from it, and settings that keep what was acknowledged."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from cryptography import x509

from inventories import quorum
from inventories.addresses import same
from inventories.catalog import load_recovery
from runbooks.expect import Expected
from runbooks.probes.postgresql import promotion
from runbooks.probes.postgresql.server import FENCED
from tests.verify.subject import Seen, Subject

SETTINGS = {
    "data_checksums": "on",
    "ssl": "on",
    "password_encryption": "scram-sha-256",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "wal_log_hints": "on",
    "archive_mode": "on",
    "hot_standby": "on",
    "log_timezone": "Etc/UTC",
}
# A standby with less of these than its primary stops replaying, or does not start.
AT_LEAST_THE_PRIMARYS = (
    "max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions",
    "max_locks_per_transaction",
)  # fmt: skip
ROLES = ("replicator", "rewind", "backup", "writer", "reader", "monitor")
CERTIFICATES = "/etc/postgresql/mystocks"
PATIENCE_S = 10.0


@pytest.fixture(scope="module")
def layout(whole: Seen) -> dict[str, str]:
    version = whole.estate.data["postgres_version"]
    return {
        "etc": f"/etc/postgresql/{version}/main",
        "data": f"/var/lib/postgresql/{version}/main",
        "unit": f"postgresql@{version}-main.service",
    }


@pytest.fixture(scope="module")
def settings(database: Subject) -> dict[str, str]:
    rows = database.host.query("select name, setting from pg_settings")
    return {row["name"]: row["setting"] for row in rows}


# ---- the estate


def test_exactly_one_host_takes_writes(whole: Seen, expected: Expected) -> None:
    names = [node.name for node in whole.nodes.values() if node.is_primary]
    assert len(names) == 1, f"these take writes: {names or 'nobody'}"
    assert names == [expected.primary or names[0]]


def test_every_server_is_on_the_primarys_timeline(whole: Seen) -> None:
    """A delayed standby replays the end of the old one later: what it is to follow is held below."""
    keep_up = [host for host in whole.databases if not host.entry.delay_s]
    timelines = {host.name: whole.nodes[host.name].timeline for host in keep_up}
    assert timelines
    assert len(set(timelines.values())) == 1, timelines
    assert None not in timelines.values()


# ---- every server that should run


def test_server_answers(database: Subject) -> None:
    node = database.node
    assert node.ssh, node.why
    assert node.online, f"PostgreSQL is down{f'; fenced: {node.fenced}' if node.fenced else ''}"


def test_nothing_fences_it(database: Subject, layout: dict[str, str]) -> None:
    assert not database.machine.file(FENCED).exists
    assert database.machine.run("systemctl is-enabled %s", layout["unit"]).stdout.strip() != "masked"


def test_settings_keep_what_was_acknowledged(settings: dict[str, str]) -> None:
    assert {name: settings.get(name) for name in SETTINGS} == SETTINGS


def test_nothing_summarizes_wal(settings: dict[str, str], database: Subject, layout: dict[str, str]) -> None:
    """A promotion would wait for the summarizer, and end the server where that lacks WAL."""
    assert settings.get("summarize_wal", "off") == "off"
    folder = f"{layout['data']}/pg_wal/summaries"
    left = database.machine.run("find %s -type f 2>/dev/null | head -3", folder).stdout.split()
    assert left == [], "the summarizer's files are nobody's any more: ./dr deploy removes them"


def test_no_setting_waits_for_a_restart(database: Subject) -> None:
    assert database.node.pending_restart == ()


def test_no_setting_is_overridden_by_alter_system(database: Subject) -> None:
    """They belong into the one declared file; what a restore or a hand left behind would win over it."""
    rows = database.host.query(
        "select name from pg_file_settings where sourcefile like '%postgresql.auto.conf' and applied"
    )
    assert rows == []


def test_nobody_connects_unencrypted_or_without_a_password(database: Subject) -> None:
    rules = database.host.query("select line_number, type, auth_method, error from pg_hba_file_rules")
    assert rules
    assert [rule for rule in rules if rule["error"]] == []
    remote = [rule for rule in rules if rule["type"] != "local"]
    assert remote
    assert {rule["type"] for rule in remote} == {"hostssl"}
    assert {rule["auth_method"] for rule in remote} <= {"scram-sha-256", "cert"}
    assert {rule["auth_method"] for rule in rules if rule["type"] == "local"} <= {"peer", "scram-sha-256"}


def test_password_is_asked_for_by_scram_in_the_file_itself(database: Subject, layout: dict[str, str]) -> None:
    """What is in the file after the last reload may be worse than what the server still has in memory."""
    text = database.machine.file(f"{layout['etc']}/pg_hba.conf").content_string
    rules = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert rules
    assert not [rule for rule in rules if "trust" in rule or rule[0] in ("host", "hostnossl", "hostgssenc")]


def test_never_starts_by_itself(database: Subject, layout: dict[str, str]) -> None:
    text = database.machine.file(f"{layout['etc']}/start.conf").content_string
    assert [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")] == ["manual"]


def test_start_guard_stands_before_every_start(database: Subject, layout: dict[str, str]) -> None:
    """Asked of systemd, since a drop-in that it has not read guards nothing."""
    shown = database.machine.check_output("systemctl show -p ExecStartPre -p NeedDaemonReload %s", layout["unit"])
    assert "/opt/mystocks-dr/start_guard.py" in shown
    assert "NeedDaemonReload=no" in shown
    assert database.machine.file("/opt/mystocks-dr/start_guard.py").exists


def test_start_guard_knows_the_other_nodes(database: Subject, whole: Seen) -> None:
    guard = json.loads(database.machine.file("/etc/mystocks-dr/guard.json").content_string)
    others = {(host.name, host.address) for host in whole.estate.postgres if host.name != database.name}
    assert {(peer["name"], peer["address"]) for peer in guard["peers"]} == others
    assert guard["fenced"] == FENCED


@pytest.mark.parametrize(
    ("path", "mode"),
    [(f"{CERTIFICATES}/host.key", 0o600), ("/var/lib/postgresql/.mystocks.pgpass", 0o600), ("", 0o700)],
    ids=["key", "passwords", "data"],
)
def test_what_is_secret_is_closed_to_others(database: Subject, layout: dict[str, str], path: str, mode: int) -> None:
    found = database.machine.file(path or layout["data"])
    assert (found.user, oct(found.mode)) == ("postgres", oct(mode))


def test_certificate_names_the_host_and_lasts(database: Subject) -> None:
    certificate = x509.load_pem_x509_certificate(database.machine.file(f"{CERTIFICATES}/host.crt").content)
    ca = x509.load_pem_x509_certificate(database.machine.file("/etc/mystocks-dr/ca.crt").content)
    certificate.verify_directly_issued_by(ca)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert database.name in names.get_values_for_type(x509.DNSName)
    assert certificate.not_valid_after_utc - dt.datetime.now(dt.timezone.utc) > dt.timedelta(days=30)


# ---- the primary


def test_primary_takes_writes(primary: Subject) -> None:
    row = primary.host.query(
        "select pg_is_in_recovery() as recovering, current_setting('transaction_read_only') as read_only, "
        "current_setting('default_transaction_read_only') as by_default"
    )[0]
    assert row == {"recovering": False, "read_only": "off", "by_default": "off"}


@pytest.mark.parametrize("role", ROLES)
def test_role_has_one_purpose_and_a_scram_password(primary: Subject, role: str) -> None:
    rows = primary.host.query(
        "select rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolcanlogin, rolreplication, "
        f"rolpassword like 'SCRAM-SHA-256$%' as scram from pg_authid where rolname = '{role}'"
    )
    assert len(rows) == 1
    assert rows[0] == {
        "rolsuper": False, "rolcreaterole": False, "rolcreatedb": False, "rolbypassrls": False, "rolcanlogin": True,
        "rolreplication": role == "replicator", "scram": True,
    }  # fmt: skip


def test_only_postgres_is_superuser(primary: Subject) -> None:
    assert primary.host.query("select rolname from pg_roles where rolsuper") == [{"rolname": "postgres"}]


def test_primary_holds_wal_for_every_other_node(primary: Subject, whole: Seen) -> None:
    """Also for one that is off: without its slot it could not come back without a new copy."""
    rows = primary.host.query("select slot_name, wal_status from pg_replication_slots where slot_type = 'physical'")
    status = {row["slot_name"]: row["wal_status"] for row in rows}
    others = [host.name for host in whole.estate.postgres if host.name != primary.name]
    assert others
    for name in others:
        slot = "".join(letter if letter.isalnum() else "_" for letter in name.lower())
        assert slot in status, f"there is no slot for {name}"
        assert status[slot] != "lost", f"the slot of {name} has lost WAL: ./dr rejoin {name}"


def test_commits_wait_for_a_standby_unless_degraded(primary: Subject, expected: Expected, whole: Seen) -> None:
    ours = ", ".join(f"'{host.name}'" for host in whole.estate.postgres)  # a backup streams too, and is no standby
    row = primary.host.query(
        "select current_setting('synchronous_standby_names') as names, "
        f"(select count(*) from pg_stat_replication where state = 'streaming' and application_name in ({ours})) "
        "as streaming, "
        "(select count(*) from pg_stat_replication "
        "where state = 'streaming' and sync_state in ('sync', 'quorum')) as sync"
    )[0]
    if expected.degraded:
        assert row["names"] == "", "commits would hang: nobody is there to wait for"
        assert row["streaming"] == 0 or not whole.estate.least, "a standby streams: ./dr deploy makes it synchronous"
    elif not whole.estate.least:
        assert row["names"] == "", "commits wait for a standby, and by the inventory for nobody: ./dr deploy"
        assert row["streaming"] > 0, "no standby streams"
    else:
        assert row["names"] != "", "synchronous replication is off"
        waits = quorum.parsed(row["names"])
        assert waits is not None, f"commits wait for whoever comes: {row['names']}"
        assert row["sync"] >= waits.least, "too few standbys are synchronous: commits hang"
        there = {host.name for host in whole.estate.candidates if host in whole.databases}
        named = set(waits.others(primary.name))
        assert named >= there - {primary.name}, "a standby is not waited for: ./dr deploy lets it in"
        assert named <= {host.name for host in whole.estate.candidates}, "somebody is waited for who has no right to it"


# ---- standbys


def test_standby_streams_from_the_primary(standby: Subject, whole: Seen) -> None:
    node = standby.node
    assert node.is_standby, "this host should be a standby"
    assert node.standby_signal
    primary = whole.primaries[0]
    assert node.receiving_from == primary.name or same(node.receiving_from, primary.address)
    assert node.timeline == whole.nodes[primary.name].timeline


def test_primary_sees_it_streaming(standby: Subject, whole: Seen) -> None:
    seen = {one.name: one for one in whole.nodes[whole.primaries[0].name].standbys}
    assert standby.name in seen
    assert seen[standby.name].streams


def test_standby_keeps_up(standby: Subject, whole: Seen) -> None:
    primary = whole.primaries[0]
    flushed = standby.host.query("select (pg_last_wal_replay_lsn() - '0/0')::bigint as at")[0]["at"]
    written = primary.query("select (pg_current_wal_lsn() - '0/0')::bigint as at")[0]["at"]
    assert written - flushed <= load_recovery().limits.max_replication_lag_bytes


def test_nothing_but_replay_delays_a_promotion(standby: Subject, whole: Seen) -> None:
    data, limit = whole.estate.data, load_recovery().limits.max_promotion_delay_s
    outlook = promotion.look(standby.host, data["postgres_version"], data["database"], limit, PATIENCE_S)
    assert outlook.standby
    assert [(one.kind, one.measured, one.hint) for one in outlook.hindrances] == []


def test_primary_leaves_nothing_in_the_way_of_its_successor(primary: Subject, whole: Seen) -> None:
    data, limit = whole.estate.data, load_recovery().limits.max_promotion_delay_s
    outlook = promotion.look(primary.host, data["postgres_version"], data["database"], limit, PATIENCE_S)
    assert [(one.kind, one.measured, one.hint) for one in outlook.hindrances] == []


def test_standby_refuses_writes(standby: Subject) -> None:
    assert standby.host.query("select current_setting('transaction_read_only') as it")[0]["it"] == "on"


def test_standby_is_no_smaller_than_the_primary(standby: Subject, whole: Seen) -> None:
    names = ", ".join(f"'{name}'" for name in AT_LEAST_THE_PRIMARYS)
    sql = f"select name, setting::int as size from pg_settings where name in ({names})"
    needed = {row["name"]: row["size"] for row in whole.primaries[0].query(sql)}
    sizes = {row["name"]: row["size"] for row in standby.host.query(sql)}
    assert len(needed) == len(AT_LEAST_THE_PRIMARYS)
    assert {name: size for name, size in sizes.items() if size < needed[name]} == {}


# ---- delayed standbys


def test_delayed_standby_follows_its_primary(delayed: Subject, whole: Seen) -> None:
    node = delayed.node
    assert node.is_standby
    assert node.standby_signal
    assert not node.replay_paused, "./dr status says what lets it go on"
    assert node.follows_on(whole.nodes[whole.primaries[0].name].timeline or 0)


def test_delayed_standby_is_behind_as_declared(delayed: Subject) -> None:
    """And a transaction that it holds back holds no row back from vacuum on the primary."""
    row = delayed.host.query(
        "select current_setting('hot_standby_feedback') as feedback, (select setting::bigint / 1000 from pg_settings "
        "where name = 'recovery_min_apply_delay') as seconds"
    )[0]
    assert (row["seconds"], row["feedback"]) == (delayed.host.entry.delay_s, "off")


def test_nobody_waits_for_a_delayed_standby(delayed: Subject, primary: Subject) -> None:
    waits = quorum.parsed(primary.host.query("select current_setting('synchronous_standby_names') as it")[0]["it"])
    assert waits is None or delayed.name not in waits.names


def test_delayed_standby_refuses_writes(delayed: Subject) -> None:
    assert delayed.host.query("select current_setting('transaction_read_only') as it")[0]["it"] == "on"
