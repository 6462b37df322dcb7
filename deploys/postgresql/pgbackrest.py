"""pgBackRest: the repository on the backup host, WAL archiving from both nodes, TLS between them."""

from __future__ import annotations

from typing import Any

from pyinfra import host
from pyinfra.api.operation import OperationMeta
from pyinfra.operations import files, systemd
from pyinfra.operations.util import any_changed

from deploys import estate, jobs
from deploys.base import UPLOADS
from deploys.postgresql import server
from deploys.postgresql.operations import pgbackrest_first_backup, pgbackrest_stanza
from deploys.text import MANAGED

_MINE: dict[str, Any] = {"user": "postgres", "group": "postgres"}


def deploy() -> None:
    """Configuration, certificate and TLS server: the same on the repository and on its clients."""
    if "backup" in host.groups:
        # A backup is proven by restoring it here, which takes the server that it came from.
        server.install("restic", "python3-psycopg2")
    files.directory(name="pgBackRest directory", path="/etc/pgbackrest", mode="0750", **_MINE)
    mine = estate.certificate()
    certificate = files.put(
        name="pgBackRest certificate", src=str(mine.certificate), dest="/etc/pgbackrest/host.crt", mode="0644", **_MINE
    )
    key = files.put(
        name="pgBackRest key",
        src=str(mine.key),
        dest="/etc/pgbackrest/host.key",
        mode="0600",
        _temp_dir=UPLOADS,
        **_MINE,
    )
    configuration = _settings("pgBackRest settings", "/etc/pgbackrest.conf", restores=False)
    # The repository may not restore by its own settings, which say that the cluster is on other hosts.
    _settings("pgBackRest settings for side clusters", "/etc/pgbackrest/restore.conf", restores=True)
    unit = files.template(
        name="pgBackRest TLS server", src=estate.template("pgbackrest", "pgbackrest-server.service.j2"),
        dest="/etc/systemd/system/pgbackrest-server.service", mode="0644", user="root", group="root", managed=MANAGED,
    )  # fmt: skip
    systemd.daemon_reload(name="systemd reads the TLS server", _if=unit.did_change)
    systemd.service(name="pgBackRest TLS server runs", service="pgbackrest-server", running=True, enabled=True)
    systemd.service(
        name="pgBackRest TLS server reads its settings", service="pgbackrest-server", reloaded=True,
        _if=any_changed(certificate, key, configuration),
    )  # fmt: skip


def _settings(name: str, path: str, restores: bool) -> OperationMeta:
    repository, nodes = estate.nodes("backup")[0], estate.nodes(*estate.POSTGRES_GROUPS)
    is_repository = "backup" in host.groups
    return files.template(
        name=name, src=estate.template("pgbackrest", "pgbackrest.conf.j2"), dest=path, mode="0640",
        _temp_dir=UPLOADS, **_MINE, managed=MANAGED, is_repository=is_repository, restores=restores, ca=estate.CA,
        stanza=host.data.get("stanza"), repository=repository, postgres=nodes,
        allowed=nodes if is_repository else (repository,), cipher=estate.secret()["pgbackrest_cipher"],
        data_directory=f"/var/lib/postgresql/{host.data.get('postgres_version')}/main",
        process_max=host.data.get("backup_processes"),
    )  # fmt: skip


def stanza() -> None:
    pgbackrest_stanza(name="stanza", stanza=host.data.get("stanza"), _su_user="postgres")


def schedule() -> None:
    """The first full backup, then cron entries from the catalogue."""
    name = host.data.get("stanza")
    pgbackrest_first_backup(name="first full backup", stanza=name, root=jobs.AGENTS_ROOT)
    jobs.schedule()
