"""What the gate divides by: the bare tools on the same hosts in the same run, nothing of ours in between."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from runbooks.hosts import Estate, Host
from runbooks.layout import Layout

_LIMIT_S = 900.0
ROUND_TRIPS = 50  # on each host: fixed, so that a deploy that asks more often is a slower one
_FOLDER = "/var/lib/postgresql/yardstick"
# A pair of servers with PostgreSQL's own settings. The primary falls silent, as a host without power does; psql's
# session was open before, and \c is the client's reconnect. Prints when the silence and the committed row were.
_PROMOTION = r"""
set -e
bin=%s; folder=%s; export folder
end() {
  for one in a b; do
    pid=$(head -n1 "$folder/$one/postmaster.pid" 2>/dev/null) || continue
    kill -KILL $(pgrep -P "$pid") "$pid" 2>/dev/null || true
  done
  rm -rf "$folder"
}
trap end EXIT
end
install -d -m 700 "$folder"
start() {
  "$bin"/pg_ctl -D "$folder/$1" -s -w -l "$folder/$1.log" \
    -o "-c port=$2 -c listen_addresses='' -c unix_socket_directories=$folder" start >&2
}
say() { port=$1; shift; psql -h "$folder" -p "$port" -U postgres -qAtX -v ON_ERROR_STOP=1 "$@" postgres; }
"$bin"/initdb -D "$folder/a" -A trust -U postgres -N --locale=C.UTF-8 >/dev/null
start a 5497
"$bin"/pg_basebackup -h "$folder" -p 5497 -U postgres -D "$folder/b" -R -c fast
start b 5498
say 5497 -c 'create table written (at timestamptz)'
until [ "$(say 5498 -c "select to_regclass('written')")" = written ]; do sleep 0.05; done
say 5498 >&2 <<'PSQL'
\! date +%%s.%%N >"$folder/silent"; pid=$(head -n1 "$folder/a/postmaster.pid"); kill -STOP "$pid" $(pgrep -P "$pid")
select pg_promote(true, 60);
\c
insert into written values (now());
\! date +%%s.%%N >"$folder/wrote"
PSQL
cat "$folder/silent" "$folder/wrote"
"""
# Prints two moments. Both end where the backup became consistent, so that WAL written since costs neither anything.
_RESTORE = r"""
set -e
bin=%s; etc=%s; data=%s
trap '"$bin"/pg_ctl -D "$data" -s -m immediate stop 2>/dev/null || true; rm -rf "$data" "$data.log"' EXIT
rm -rf "$data"; install -d -m 700 "$data"
date +%%s.%%N
pgbackrest --config=/etc/pgbackrest/restore.conf --stanza=%s --set=%s --pg1-path="$data" --archive-mode=off \
  --type=immediate --target-action=pause restore >&2
"$bin"/pg_ctl -D "$data" -s -w -t 600 -l "$data.log" -o "-c config_file=$etc/postgresql.conf -c data_directory=$data \
  -c port=5499 -c listen_addresses='' -c unix_socket_directories=/tmp -c archive_mode=off -c external_pid_file='' \
  -c synchronous_standby_names='' -c primary_slot_name='' -c timescaledb.max_background_workers=0" start >&2
until [ "$(psql -h /tmp -p 5499 -qAtX -c 'select pg_get_wal_replay_pause_state()' postgres)" = paused ]; do
  sleep 0.05
done
date +%%s.%%N
"""


def promotion(host: Host, layout: Layout) -> float:
    """Seconds from the kill of a bare primary to a row that a new session committed on its promoted standby."""
    return _between(host.run(_PROMOTION, layout.bin, _FOLDER, user="postgres", timeout=_LIMIT_S).stdout)


def restore(host: Host, layout: Layout, stanza: str, label: str) -> float:
    """Seconds of pgBackRest's restore of this backup, of the start, and of the WAL that makes it consistent."""
    said = host.run(_RESTORE, layout.bin, layout.etc, _FOLDER, stanza, label, user="postgres", timeout=_LIMIT_S)
    return _between(said.stdout)


def round_trips(estate: Estate, count: int = ROUND_TRIPS) -> float:
    """Seconds in which every host answered so many times, over connections that were open before."""

    def ask(host: Host) -> None:
        for _ in range(count):
            host.run("true")

    with ThreadPoolExecutor(len(estate.hosts)) as pool:
        list(pool.map(lambda host: host.run("true"), estate.hosts))
        began = time.monotonic()
        list(pool.map(ask, estate.hosts))
        return time.monotonic() - began


def _between(said: str) -> float:
    moments: Sequence[float] = [float(word) for word in said.split()]
    return moments[-1] - moments[0]
