"""The configuration of a side cluster: what recovery needs, and nothing that acts on the world."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from agents.base.errors import AgentError
from agents.postgresql.side.place import PORT, Place

# What a standby or a recovery must have at least as large as the primary had, as pg_controldata calls it.
_AT_LEAST = {
    "max_connections": "max_connections setting",
    "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting",
    "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
}
MAX_WAL = 2 << 30
# What this host shows for pgBackRest, and whom it believes.
CA, CERTIFICATE, KEY = "/etc/mystocks-dr/ca.crt", "/etc/pgbackrest/host.crt", "/etc/pgbackrest/host.key"
# Room for the chunks of many years, and the indexes of each, whatever production was set to when the backup was taken.
LOCKS = 160_000

# A missing file is 1 to pgBackRest and to PostgreSQL. Anything else would be taken for the end of the archive as well,
# and recovery would end early without a word: so it is tried again, then said with a code that PostgreSQL stops at.
# What a standby has whole on its own disk needs no archive (`local`); where none answers, what it received so far
# (`begun`) may do.
_FETCH = """#!/bin/sh
grep -qsx "$1" {folder}/local && exit 1
for try in 1 2 3; do
  {command} archive-get "$1" "$2" 2>>{folder}/wal.err
  code=$?
  case $code in 0|1) break;; esac
  sleep 1
done
echo "$1 $code" >>{folder}/wal.log
case $code in 0|1) exit $code;; esac
grep -qsx "$1" {folder}/begun && exit 1
exit 126
"""


def controldata(place: Place) -> dict[str, str]:
    """pg_controldata's lines, name -> value. Raises AgentError."""
    done = subprocess.run(
        [place.program("pg_controldata"), place.data], capture_output=True, text=True, check=False,
        env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    if done.returncode:
        raise AgentError(f"{place.data} has no control file: {done.stderr.strip()}.", "Restore another backup.")
    pairs = (line.partition(":") for line in done.stdout.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


@dataclass(frozen=True)
class Served:
    """Who may read a side cluster from another host: `readers` are (name, address), `listen` an address of ours."""

    listen: str = ""
    readers: tuple[tuple[str, str], ...] = ()

    def settings(self) -> dict[str, str]:
        if not self.listen:
            return {"listen_addresses": ""}
        files = {"ssl_ca_file": CA, "ssl_cert_file": CERTIFICATE, "ssl_key_file": KEY}
        return {"listen_addresses": self.listen, "ssl": "on", "ssl_min_protocol_version": "TLSv1.2", **files}

    def lets_in(self) -> str:
        """pg_hba.conf: a reader shows its host's certificate, from its host's address."""
        lines = (f"hostssl all postgres {ip_network(address)} cert map=side\n" for _, address in self.readers)
        return "local all postgres peer\n" + "".join(lines if self.listen else ())

    def named(self) -> str:
        """pg_ident.conf: whose certificates are postgres."""
        return "".join(f'side "{name}" postgres\n' for name, _ in self.readers)


NOBODY = Served()


def write(
    place: Place, recovery: Mapping[str, str], fetch: list[str] | None, demanded: Mapping[str, int],
    served: Served = NOBODY,
) -> None:  # fmt: skip
    """Write postgresql.conf, pg_hba.conf and the script that fetches WAL.

    `fetch`: the pgBackRest command line, None where the backup carries its own WAL. `demanded`: settings that recovery
    asked to be larger after it had begun.
    """
    control, folder = controldata(place), place.folder
    script = folder / "fetch-wal"
    script.write_text(_FETCH.format(command=" ".join(fetch), folder=folder) if fetch else "#!/bin/sh\nexit 1\n")
    script.chmod(0o700)
    needed = {name: control[line] for name, line in _AT_LEAST.items() if line in control}
    needed.update({name: str(max(value, int(needed.get(name, 0)))) for name, value in demanded.items()})
    locks = LOCKS // max(1, int(needed.get("max_connections", 100)))
    needed["max_locks_per_transaction"] = str(max(64, locks, int(needed.get("max_locks_per_transaction", 0))))
    settings = {
        "data_directory": str(place.data),
        "hba_file": f"{folder}/pg_hba.conf",
        "ident_file": f"{folder}/pg_ident.conf",
        "cluster_name": f"side-{place.name}",
        "port": str(PORT),
        "unix_socket_directories": str(folder),
        "unix_socket_permissions": "0700",
        "shared_buffers": "128MB",
        "max_wal_size": f"{MAX_WAL >> 20}MB",
        "checkpoint_timeout": "30min",
        "wal_level": control.get("wal_level setting", "replica"),
        "track_commit_timestamp": control.get("track_commit_timestamp setting", "off"),
        "hot_standby": "on",
        "wal_retrieve_retry_interval": "500ms",
        "recovery_min_apply_delay": "0",
        # Nothing that acts on the world: no archive, no replication, no job of an extension, no vacuum.
        "archive_mode": "off",
        "archive_command": "",
        "primary_conninfo": "",
        "primary_slot_name": "",
        "synchronous_standby_names": "",
        "max_logical_replication_workers": "0",
        "autovacuum": "off",
        "summarize_wal": "off",
        # Production's own: one at login that writes a row would let nobody in.
        "event_triggers": "off",
        "jit": "off",
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_line_prefix": "%m [%p] ",
        "log_timezone": "Etc/UTC",
        "timezone": "Etc/UTC",
        "lc_messages": "C",
        "restore_command": f'{script} %f "%p"',
        **served.settings(),
        **needed,
        **recovery,
    }
    if place.version < 17:
        del settings["summarize_wal"], settings["event_triggers"]
    if library(place.version, "timescaledb").exists():
        # A retention policy would delete the very rows that somebody came to rescue.
        settings.update({
            "shared_preload_libraries": "timescaledb",
            "timescaledb.max_background_workers": "0",
            "timescaledb.telemetry_level": "off",
        })  # fmt: skip
    quoted = ("{} = '{}'\n".format(name, value.replace("'", "''")) for name, value in settings.items())
    (folder / "postgresql.conf").write_text("".join(quoted))
    (folder / "pg_hba.conf").write_text(served.lets_in())
    (folder / "pg_ident.conf").write_text(served.named())


def library(version: int, name: str) -> Path:
    """The file of a loadable library of this host's server."""
    return Path(f"/usr/lib/postgresql/{version}/lib/{name}.so")


def demanded(log: str) -> dict[str, int]:
    """Settings that recovery found too small, with the value that the primary had."""
    found = re.findall(
        r"(\w+) = \d+ is a lower setting than on the primary server, where its value was (\d+)", log
    )
    return {name: int(value) for name, value in found}
