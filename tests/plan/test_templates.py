from __future__ import annotations

from types import SimpleNamespace

import pytest
from pydantic import SecretStr
from pyinfra.api.util import get_template

from deploys.estate import TEMPLATES
from deploys.text import MANAGED, cidr
from inventories.catalog import load_recovery, load_tables

PG1, PG2 = SimpleNamespace(name="pg1", address="192.0.2.21"), SimpleNamespace(name="pg2", address="192.0.2.22")
BACKUP = SimpleNamespace(name="backup1", address="192.0.2.31")


def rendered(template: str, **values: object) -> str:
    """Rendered as pyinfra does it: an undefined name is an error."""
    return str(get_template(str(TEMPLATES / template)).render(managed=MANAGED, **values))


def rules(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def hba(clients: tuple[str, ...] = ("192.0.2.11/32",)) -> str:
    nodes = [cidr(node.address) for node in (PG1, PG2)]
    everyone = [*nodes, "192.0.2.31/32"]
    return rendered(
        "postgres/pg_hba.conf.j2", postgres=nodes, everyone=everyone, clients=clients, database="quant_research",
        repositories=["192.0.2.31/32"],
    )  # fmt: skip


def test_hba_trusts_nobody() -> None:
    assert rules(hba())
    assert {rule[-1] for rule in rules(hba()) if rule[0] != "local"} == {"scram-sha-256"}
    assert {rule[3] for rule in rules(hba()) if rule[0] == "local"} == {"peer"}
    assert "trust" not in hba()


def test_hba_takes_remote_connections_over_tls_only() -> None:
    assert {rule[0] for rule in rules(hba())} == {"local", "hostssl"}


def test_hba_lets_each_role_in_for_its_purpose_only() -> None:
    allowed = {(rule[1], rule[2], rule[3]) for rule in rules(hba()) if rule[0] == "hostssl"}
    assert ("replication", "replicator", "192.0.2.21/32") in allowed
    assert ("quant_research", "writer,reader", "192.0.2.11/32") in allowed
    # The backup host reads rows to count them and replicates to keep a copy; it writes nowhere.
    assert {entry[1] for entry in allowed if entry[2] == "192.0.2.31/32"} == {"monitor", "reader", "replicator"}
    assert not [entry for entry in allowed if entry[1] in ("all", "postgres", "backup")]
    assert {entry[2] for entry in allowed if entry[1] == "rewind"} == {"192.0.2.21/32", "192.0.2.22/32"}


def test_hba_has_a_line_for_every_client_network() -> None:
    text = hba(("192.0.2.11/32", "198.51.100.0/24", "2001:db8::/64"))
    clients = [rule[3] for rule in rules(text) if rule[2] == "writer,reader"]
    assert clients == ["192.0.2.11/32", "198.51.100.0/24", "2001:db8::/64"]


def test_settings_are_quoted() -> None:
    text = rendered("postgres/postgresql.conf.j2", settings={"log_line_prefix": "%m ''x'' ", "port": "5432"})
    assert "log_line_prefix = '%m ''x'' '\n" in text
    assert "port = '5432'\n" in text
    assert text.rstrip().endswith("include_dir = 'conf.d'")


def test_no_setting_decides_the_role() -> None:
    """A failover must edit no configuration, so the file may not know who is primary."""
    text = rendered("postgres/postgresql.conf.j2", settings={"port": "5432"})
    assert "synchronous_standby_names" not in text


def test_passwords_are_in_the_files_and_masked_elsewhere() -> None:
    secret = SecretStr("s3cret-of-rewind")
    text = rendered("postgres/pgpass.j2", passwords={"replicator": SecretStr("one"), "rewind": secret})
    assert text == "*:*:*:replicator:one\n*:*:*:rewind:s3cret-of-rewind\n"
    assert "s3cret" not in f"{secret} {secret!r}"


def pgbackrest(is_repository: bool, restores: bool = False) -> str:
    return rendered(
        "pgbackrest/pgbackrest.conf.j2", is_repository=is_repository, restores=restores, ca="/etc/mystocks-dr/ca.crt",
        stanza="main", repository=BACKUP, postgres=(PG1, PG2), allowed=(PG1, PG2) if is_repository else (BACKUP,),
        cipher=SecretStr("cipher-of-the-repository"), data_directory="/var/lib/postgresql/17/main", process_max=2,
    )  # fmt: skip


def test_only_the_repository_holds_the_cipher() -> None:
    assert "repo1-cipher-pass=cipher-of-the-repository" in pgbackrest(True).splitlines()
    assert "cipher" not in pgbackrest(False)


def test_repository_restores_without_asking_the_nodes() -> None:
    """pgBackRest restores only on the host of the cluster, so these settings say that it is here."""
    lines = pgbackrest(True, restores=True).splitlines()
    assert "repo1-cipher-pass=cipher-of-the-repository" in lines
    assert "pg1-path=/var/lib/postgresql/17/main" in lines
    assert not [line for line in lines if line.startswith("pg") and "-host" in line]


def test_repository_knows_both_nodes_and_lets_only_them_in() -> None:
    lines = pgbackrest(True).splitlines()
    assert {"pg1-host=pg1", "pg2-host=pg2", "pg1-host-type=tls", "pg2-host-type=tls"} <= set(lines)
    assert [line for line in lines if line.startswith("tls-server-auth")] == [
        "tls-server-auth=pg1=main", "tls-server-auth=pg2=main",
    ]  # fmt: skip
    assert "expire-auto=n" in lines
    assert not [line for line in lines if "retention" in line], "only agents/postgresql/expire.py says what expires"


def test_client_knows_the_repository_and_itself() -> None:
    lines = pgbackrest(False).splitlines()
    assert {"repo1-host=backup1", "repo1-host-type=tls", "pg1-path=/var/lib/postgresql/17/main"} <= set(lines)
    assert not [line for line in lines if line.startswith("pg1-host")]


def test_backup_schedule_is_the_catalogues() -> None:
    times = list(load_recovery().stores["postgresql"].schedule.items())
    text = rendered("jobs/cron.j2", times=times, catch_up="50 * * * *", wanted="", root="/opt/mystocks-dr")
    assert "runner wanted" not in text
    jobs = [line for line in text.splitlines() if "agents.jobs.runner run" in line]
    assert len(jobs) == len(times) > 5
    for line, (kind, time) in zip(jobs, times, strict=True):
        assert line.startswith(f"{time} postgres cd /opt/mystocks-dr && ")
        assert line.endswith(f" agents.jobs.runner run {kind} --scheduled")
    # What was missed while the host was off is run at boot, and every hour.
    again = [line for line in text.splitlines() if line.endswith("agents.jobs.runner catch-up")]
    assert [line.split(" postgres ")[0] for line in again] == ["50 * * * *", "@reboot"]
    assert {"TZ=UTC", "CRON_TZ=UTC"} <= set(text.splitlines())
    # What the alarm command did not take is tried again soon, and where nothing waits nothing is started.
    (tells,) = [line for line in text.splitlines() if line.endswith("agents.jobs.runner tell")]
    waits = "ls /var/lib/mystocks-dr/jobs/untold-[0-9a-f]* "
    assert tells.startswith(f"*/2 * * * * postgres cd /opt/mystocks-dr && {waits}")
    # In a crontab an unescaped percent sign ends the command; a failure must not be talked away.
    assert "%" not in text
    assert "|| true" not in text
    assert text.endswith("\n")


def test_a_backup_may_be_wanted_before_its_time_where_there_is_tdengine() -> None:
    text = rendered("jobs/cron.j2", times=[], catch_up="50 * * * *", wanted="*/10 * * * *", root="/opt/mystocks-dr")
    (line,) = [line for line in text.splitlines() if line.endswith("agents.jobs.runner wanted")]
    assert line.startswith("*/10 * * * * postgres cd /opt/mystocks-dr && ")


def test_offsite_account_is_for_sftp_alone() -> None:
    text = rendered("offsite/authorized_keys.j2", key="ssh-ed25519 AAAA mystocks-dr offsite")
    assert text.splitlines()[1] == 'restrict,command="internal-sftp" ssh-ed25519 AAAA mystocks-dr offsite'


def test_an_append_only_copy_is_served_over_tls_to_one_account_and_by_no_key() -> None:
    assert "ssh-ed25519" not in rendered("offsite/authorized_keys.j2", key="")
    unit = rendered(
        "offsite/mystocks-offsite.service.j2", account="offsite", program="/usr/bin/restic-rest-server", home="/home",
        folder="/etc/x", port=8443,
    )
    for words in ("--append-only", "--tls ", "--htpasswd-file /etc/x/htpasswd", "User=offsite", "Restart=always"):
        assert words in unit
    assert "--no-auth" not in unit
    assert rendered("offsite/htpasswd.j2", digest="abc=") == "backup:{SHA}abc=\n"
    node = SimpleNamespace(name="offsite1", address="192.0.2.41")
    address = rendered("offsite/repository.j2", password="word", node=node, port=8443)
    assert address == "rest:https://" + "backup:word" + "@offsite1:8443/\n"


def test_the_way_to_the_offsite_host_asks_nobody_and_trusts_one_key() -> None:
    node = SimpleNamespace(name="offsite1", address="192.0.2.41")
    text = rendered("offsite/ssh_config.j2", node=node, port=2222, account="offsite", folder="/etc/x")
    lines = [line.strip() for line in text.splitlines()]
    assert {"StrictHostKeyChecking yes", "BatchMode yes", "GlobalKnownHostsFile /dev/null", "Port 2222"} <= set(lines)
    assert "UserKnownHostsFile /etc/x/known_hosts" in lines


def test_retention_runs_for_every_expiring_table() -> None:
    tables = [table for table in load_tables().tables.values() if table.retention_days and table.hypertable]
    assert tables
    text = rendered("postgres/retention.cron.j2", tables=tables, database="quant_research")
    for table in tables:
        assert f"drop_chunks('public.{table.name}', older_than => interval '{table.retention_days} days')" in text
    assert "%" not in text


@pytest.mark.parametrize("unit", ["app/replayer.service.j2", "pgbackrest/pgbackrest-server.service.j2"])
def test_services_come_back(unit: str) -> None:
    text = rendered(unit, store="a store", config="agent.json")
    assert "Restart=always" in text
    assert "WantedBy=multi-user.target" in text


def test_guard_stands_before_the_start() -> None:
    assert "ExecStartPre=/usr/bin/python3 /opt/mystocks-dr/start_guard.py" in rendered("guard/guard.conf.j2")
