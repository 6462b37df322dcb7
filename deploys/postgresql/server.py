"""PostgreSQL on every node: the same files everywhere, one primary, the others its standbys."""

from __future__ import annotations

from typing import Any

from pyinfra import host
from pyinfra.api.operation import OperationMeta
from pyinfra.operations import files, server, systemd
from pyinfra.operations.util import any_changed

from deploys import estate
from deploys.base import UPLOADS
from deploys.facts import FENCED
from deploys.postgresql import repositories, roles
from deploys.postgresql.operations import (
    packages,
    pg_cluster,
    pg_database,
    pg_no_summaries,
    pg_primary,
    pg_reset_overrides,
    pg_roles,
    pg_slots,
    pg_sql,
    pg_standby,
    pg_streams,
    pg_synchronous,
)
from deploys.postgresql.settings import CERTIFICATES, NEVER_ALTERED, settings
from deploys.text import MANAGED, as_file, cidr, network
from inventories.quorum import least_of

_MINE: dict[str, Any] = {"user": "postgres", "group": "postgres"}


def cluster() -> None:
    """Packages, an empty cluster, the configuration and the start guard; nothing is started yet."""
    version = host.data.get("postgres_version")
    install("python3-psycopg2")  # for the eyes of a watch
    pg_cluster(name="cluster", version=version)
    certificates = _certificates()
    conf = _configuration(version)
    _guard(version)
    files.template(
        name="passwords of the nodes", src=estate.template("postgres", "pgpass.j2"), dest=estate.PG_PASSFILE,
        mode="0600", **_MINE, _temp_dir=UPLOADS,
        passwords={name: estate.secret()[name] for name in ("replicator", "rewind", "monitor")},
    )  # fmt: skip
    server.shell(
        name="reload PostgreSQL", _if=any_changed(*certificates, *conf),
        # A cluster that is down reads the files when it starts.
        commands=[f"! pg_lsclusters -h {version} main | grep -q online || pg_ctlcluster {version} main reload"],
    )  # fmt: skip


def install(*further: str) -> None:
    """The server, TimescaleDB and pgBackRest without a cluster, and what else this host needs beside them."""
    timescaledb = repositories.deploy()
    files.directory(name="postgresql-common settings", path="/etc/postgresql-common", mode="0755")
    files.line(
        name="Debian makes no cluster of its own", path="/etc/postgresql-common/createcluster.conf",
        line="create_main_cluster = false", replace="create_main_cluster = false",
    )  # fmt: skip
    server_package = f"postgresql-{host.data.get('postgres_version')}"
    packages(name="PostgreSQL packages", names=[server_package, timescaledb, "pgbackrest", *further])


def primary() -> None:
    """Start the primary where there is none, then its roles and its database."""
    version, database = host.data.get("postgres_version"), host.data.get("database")
    pg_primary(
        name="primary", version=version, first="pg_primary" in host.groups, peers=_peers(), ca=estate.CA,
        passfile=estate.PG_PASSFILE, stanza=host.data.get("stanza"),
        copies={node.name: estate.SNAPSHOTS for node in estate.nodes("offsite")},
    )  # fmt: skip
    pg_roles(name="roles", version=version, roles=roles.verifiers(), _su_user="postgres")
    pg_sql(
        name="grants", version=version, database="postgres", missing=roles.not_granted(version),
        statements=roles.grants(version),
        _su_user="postgres",
    )  # fmt: skip
    pg_database(name="database", version=version, database=database, _su_user="postgres")
    pg_slots(
        name="replication slots", version=version, names=[n.name for n in estate.others(*estate.POSTGRES_GROUPS)],
        _su_user="postgres",
    )  # fmt: skip


def standby() -> None:
    """Clone what is blank, start what is down, then make replication synchronous."""
    version = host.data.get("postgres_version")
    pg_standby(
        name="standby", version=version, node=host.name, peers=_peers(), ca=estate.CA, passfile=estate.PG_PASSFILE
    )
    if len(_peers()) > 1:  # whom commits wait for is decided next, once for all that stream
        pg_streams(name="standby streams before commits wait", version=version, _su_user="postgres")


def synchronous() -> None:
    version = host.data.get("postgres_version")
    pg_synchronous(
        name="synchronous replication", version=version, path=f"{_etc(version)}/conf.d/90-synchronous.conf",
        names=[node.name for node in estate.candidates()], least=least_of(host.data.get("synchronous_standbys")),
        _su_user="postgres",
    )  # fmt: skip
    pg_reset_overrides(
        name="no setting is overridden", version=version, settings=[*settings(version), *NEVER_ALTERED],
        _su_user="postgres",
    )  # fmt: skip
    pg_no_summaries(name="nothing summarizes WAL", version=version, _su_user="postgres")


def _configuration(version: int) -> list[OperationMeta]:
    directory = _etc(version)
    files.directory(name="room for the runbooks' own settings", path=f"{directory}/conf.d", mode="0755", **_MINE)
    return [
        files.template(
            name="settings", src=estate.template("postgres", "postgresql.conf.j2"),
            dest=f"{directory}/postgresql.conf", mode="0644", **_MINE,
            managed=MANAGED, settings={name: value.replace("'", "''") for name, value in settings(version).items()},
        ),
        files.template(
            name="who may connect", src=estate.template("postgres", "pg_hba.conf.j2"),
            dest=f"{directory}/pg_hba.conf", mode="0640", **_MINE,
            managed=MANAGED, database=host.data.get("database"),
            postgres=[cidr(node.address) for node in estate.nodes(*estate.POSTGRES_GROUPS)],
            everyone=[cidr(node.address) for node in estate.nodes()],
            # The backup host counts rows around a backup, so that its restore can be held to them, and takes
            # pg_basebackup's as well.
            repositories=[cidr(node.address) for node in estate.nodes("backup")],
            clients=[
                *(cidr(n.address) for n in estate.nodes("app")), *map(network, host.data.get("client_networks")),
            ],
        ),
        files.template(
            name="peer names", src=estate.template("postgres", "pg_ident.conf.j2"),
            dest=f"{directory}/pg_ident.conf", mode="0640", **_MINE, managed=MANAGED,
        ),
    ]  # fmt: skip


def _certificates() -> list[OperationMeta]:
    files.directory(name="certificates", path=CERTIFICATES, mode="0750", **_MINE)
    mine = estate.certificate()
    return [
        files.put(name="certificate", src=str(mine.certificate), dest=f"{CERTIFICATES}/host.crt", mode="0644", **_MINE),
        files.put(
            name="key", src=str(mine.key), dest=f"{CERTIFICATES}/host.key", mode="0600", _temp_dir=UPLOADS, **_MINE
        ),
    ]


def _guard(version: int) -> None:
    files.put(
        name="start guard", src=str(estate.AGENTS / "guard" / "start_guard.py"), dest="/opt/mystocks-dr/start_guard.py",
        mode="0755", user="root", group="root",
    )  # fmt: skip
    peers = [{"name": n.name, "address": n.address} for n in estate.others(*estate.POSTGRES_GROUPS)]
    files.put(
        name="what the guard asks", dest="/etc/mystocks-dr/guard.json", mode="0644", user="root", group="root",
        src=as_file({
            "name": host.name, "version": version, "stanza": host.data.get("stanza"), "peers": peers, "fenced": FENCED,
            "ca": estate.CA, "passfile": estate.PG_PASSFILE,
        }),
    )  # fmt: skip
    unit = files.template(
        name="guard before every start", src=estate.template("guard", "guard.conf.j2"),
        dest=f"/etc/systemd/system/postgresql@{version}-main.service.d/10-mystocks-guard.conf",
        mode="0644", user="root", group="root", managed=MANAGED,
    )  # fmt: skip
    systemd.daemon_reload(name="systemd reads the guard", _if=unit.did_change)


def _peers() -> tuple[str, ...]:
    return estate.addresses(estate.others(*estate.POSTGRES_GROUPS))


def _etc(version: int) -> str:
    return f"/etc/postgresql/{version}/main"
