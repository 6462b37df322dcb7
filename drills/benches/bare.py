"""What the tools take without us, on the same machine in the same run: backup, restore and recovery, a plain copy."""

from __future__ import annotations

import time
from dataclasses import dataclass

from runbooks.hosts import Estate, Host
from runbooks.layout import Layout
from runbooks.probes.postgresql import pgbackrest, server

_LIMIT_S = 3600.0
_FOLDER = "/var/lib/postgresql/bare"
# Prints three moments: the files are there, the server takes writes, a plain copy of the same files is on the disk.
_RESTORE = """
set -e
bin=%s; etc=%s; data=%s
rm -rf "$data" "$data.copy"
install -d -m 700 "$data"
date +%%s.%%N
pgbackrest --config=/etc/pgbackrest/restore.conf --stanza=%s --set=%s --pg1-path="$data" --archive-mode=off restore >&2
date +%%s.%%N
"$bin"/pg_ctl -D "$data" -s -w -t 1800 -l "$data.log" -o "-c config_file=$etc/postgresql.conf -c data_directory=$data \
  -c port=5499 -c listen_addresses='' -c unix_socket_directories=/tmp -c archive_mode=off -c external_pid_file='' \
  -c synchronous_standby_names='' -c primary_slot_name='' -c timescaledb.max_background_workers=0" start >&2
until [ "$(psql -h /tmp -p 5499 -qAtX -c 'select pg_is_in_recovery()' postgres)" = f ]; do sleep 0.05; done
date +%%s.%%N
"$bin"/pg_ctl -D "$data" -s -w -m fast stop >&2
date +%%s.%%N
cp -a "$data" "$data.copy"
sync -f "$data.copy"
date +%%s.%%N
rm -rf "$data" "$data.copy" "$data.log"
"""


@dataclass(frozen=True)
class Bare:
    """Seconds of pgBackRest's own commands, of PostgreSQL's recovery and of `cp -a` with `sync`."""

    backup_s: float
    restore_s: float
    recovery_s: float
    copy_s: float


def measure(estate: Estate) -> Bare:
    """A full backup on the backup host, then its restore beside the primary, nothing of ours in between."""
    stanza = str(estate.data["stanza"])
    began = time.monotonic()
    estate.backup.run("pgbackrest --stanza=%s --type=full backup", stanza, user="postgres", timeout=_LIMIT_S)
    backup_s = time.monotonic() - began
    newest = pgbackrest.info(estate.backup, stanza).newest
    assert newest is not None, "a backup was just taken"
    primary = server.the_primary(server.survey(estate)).host
    return Bare(backup_s, *_restore(primary, Layout(server.version(estate)), stanza, newest.label))


def _restore(host: Host, layout: Layout, stanza: str, label: str) -> tuple[float, float, float]:
    said = host.run(
        _RESTORE, layout.bin, layout.etc, _FOLDER, stanza, label, user="postgres", timeout=_LIMIT_S
    ).stdout.split()
    begun, there, writes, stopped, copied = map(float, said)
    return there - begun, writes - there, copied - stopped
