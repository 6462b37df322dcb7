"""The declared settings of every PostgreSQL node."""

from __future__ import annotations

from pyinfra import host

from deploys import estate
from deploys.postgresql.restore_command import restore_command
from inventories.catalog.load import load_tables
from inventories.catalog.postgresql.locks import per_transaction

# What only runbooks switch, or nobody: a standby that is promoted with them takes no write.
NEVER_ALTERED = ("default_transaction_read_only", "synchronous_standby_names")
CERTIFICATES = "/etc/postgresql/mystocks"


def settings(version: int) -> dict[str, str]:
    """The declared settings of every node, name -> value."""
    data = host.data
    nodes = estate.nodes(*estate.POSTGRES_GROUPS)
    stanza = data.get("stanza")
    return {
        # A promotion waits for the summarizer, and ends the server where that lacks WAL.
        **({"summarize_wal": "off"} if version >= 17 else {}),
        "data_directory": f"/var/lib/postgresql/{version}/main",
        "hba_file": f"/etc/postgresql/{version}/main/pg_hba.conf",
        "ident_file": f"/etc/postgresql/{version}/main/pg_ident.conf",
        "external_pid_file": f"/var/run/postgresql/{version}-main.pid",
        "unix_socket_directories": "/var/run/postgresql",
        "cluster_name": f"{version}/main",
        "listen_addresses": "*",
        "port": "5432",
        "max_connections": str(data.get("max_connections")),
        "max_locks_per_transaction": str(
            max(
                per_transaction(load_tables(), int(data.get("max_connections"))),
                int(data.get("max_locks_per_transaction")),
            )
        ),
        "shared_buffers": f"{data.get('shared_buffers_mb')}MB",
        "shared_preload_libraries": "timescaledb",
        "timescaledb.telemetry_level": "off",
        "jit": "off",
        "ssl": "on",
        "ssl_ca_file": estate.CA,
        "ssl_cert_file": f"{CERTIFICATES}/host.crt",
        "ssl_key_file": f"{CERTIFICATES}/host.key",
        "ssl_min_protocol_version": "TLSv1.2",
        "password_encryption": "scram-sha-256",
        "wal_level": "replica",
        "wal_log_hints": "on",
        "wal_compression": "on",
        "full_page_writes": "on",
        "fsync": "on",
        "synchronous_commit": "on",
        "max_wal_size": f"{data.get('max_wal_size_mb')}MB",
        "max_wal_senders": "10",
        "max_replication_slots": "10",
        "max_slot_wal_keep_size": f"{data.get('max_slot_wal_keep_mb')}MB",
        "wal_keep_size": "256MB",
        "wal_sender_timeout": "10s",
        "wal_receiver_timeout": "10s",
        # After a failover the standby finds its new primary by asking again; the default of 5 s is most of an RTO.
        "wal_retrieve_retry_interval": "500ms",
        "hot_standby": "on",
        # A promotion replays first what was put off, so only those have one that are never promoted.
        "recovery_min_apply_delay": str(data.get("apply_delay") or "0"),
        "archive_mode": "on",
        "archive_command": f"pgbackrest --stanza={stanza} archive-push %p",
        "archive_timeout": f"{data.get('archive_timeout_s')}s",
        "restore_command": restore_command(estate.nodes("backup")[0].address, str(stanza)),
        "recovery_target_timeline": "latest",
        "primary_conninfo": (
            f"host={','.join(n.name for n in nodes)} hostaddr={','.join(estate.addresses(nodes))} port=5432 "
            f"user=replicator dbname=postgres application_name={host.name} sslmode=verify-full sslrootcert={estate.CA} "
            f"passfile={estate.PG_PASSFILE} connect_timeout=2 target_session_attrs=read-write "
            f"keepalives_idle=5 keepalives_interval=2 keepalives_count=3 tcp_user_timeout={_lets_go_ms(len(nodes))}"
        ),
        "primary_slot_name": "".join(c if c.isalnum() else "_" for c in host.name.lower()),
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "10s",
        "log_checkpoints": "on",
        "log_connections": "off",
        "log_lock_waits": "on",
        "log_min_duration_statement": "2s",
        # pg_rewind's statements carry thousands of values; secrets have no business in a log either.
        "log_parameter_max_length": "256",
        "log_line_prefix": "%m [%p] %q%u@%d %a ",
        "timezone": "Etc/UTC",
        "log_timezone": "Etc/UTC",
    }


def _lets_go_ms(nodes: int) -> int:
    """For so long a standby waits for each node that says nothing, before it asks the next one.

    Its receiver knows no connect_timeout. Of two nodes there is no next one; of more the others have to find the new
    primary behind one that is dead, and every new row exists once meanwhile.
    """
    return 10_000 if nodes <= 2 else 3_000
