"""Take out of the way what keeps a standby from being promoted, and bring its server up again.

Every function may be run twice.
"""

from __future__ import annotations

from runbooks import begun
from runbooks.actions.postgresql import server as act
from runbooks.hosts import Host
from runbooks.layout import Layout

# Only one line may say it: whatever ALTER SYSTEM or a hand wrote elsewhere would win over the declared file.
_SET = """
set -eu
name=$1 value=$2
for file in {data}/postgresql.auto.conf {etc}/conf.d/*.conf; do
  test ! -f "$file" || sed -i -E "/^[[:space:]]*$name[[:space:]]*=/Id" "$file"
done
if grep -qiE "^[[:space:]]*$name[[:space:]]*=" {etc}/postgresql.conf; then
  sed -i -E "s/^[[:space:]]*$name[[:space:]]*=.*/$name = '$value'/I" {etc}/postgresql.conf
else
  printf "%s = '%s'\\n" "$name" "$value" >> {etc}/postgresql.conf
fi
chown postgres:postgres {data}/postgresql.auto.conf {etc}/postgresql.conf
"""
# With these a server that was promoted answers and takes no row. The declared file has neither.
WRITES = """
set -eu
rm -f {synchronous}
pattern='^[[:space:]]*(default_transaction_read_only|synchronous_standby_names)[[:space:]=]'
for file in {data}/postgresql.auto.conf {etc}/postgresql.conf {etc}/conf.d/*.conf; do
  grep -hiE "$pattern" "$file" 2>/dev/null || continue
  sed -i -E "/$pattern/Id" "$file"
  chown postgres:postgres "$file"
done
"""
# A promotion that ended half way has taken standby.signal away; with it the server goes on along whatever timeline its
# own history files tell, and takes no write until it is promoted again.
_STOP = """
set -u
timeout 5 pg_ctlcluster --skip-systemctl-redirect {version} main stop -m fast >/dev/null 2>&1 ||
  timeout 10 pg_ctlcluster --skip-systemctl-redirect {version} main stop -m immediate >/dev/null 2>&1
pid=$(head -n1 {data}/postmaster.pid 2>/dev/null) && kill -KILL "$pid" 2>/dev/null
systemctl stop {unit} 2>/dev/null
systemctl reset-failed {unit} 2>/dev/null
install -o postgres -g postgres -m 0600 /dev/null {data}/standby.signal
"""


def let_it_write(host: Host, layout: Layout) -> tuple[str, ...]:
    """Switch synchronous replication off, since there is nobody left to wait for, and take away what forbids writes.

    Returns the lines that were found beside the runbooks' own. The server reads its files again as it is promoted.
    """
    ran = host.run(*_let_it_write(layout), stdin="go\n")
    return tuple(line.strip() for line in ran.stdout.splitlines())


def get_ready(host: Host, layout: Layout) -> None:
    """Have ready what `let_it_write` runs, and the session that promotes. Nothing is done before that."""
    host.begin(*_let_it_write(layout))
    host.begin_session()


def _let_it_write(layout: Layout) -> tuple[str, str]:
    script = WRITES.format(synchronous=layout.synchronous, data=layout.data, etc=layout.etc)
    return "sh -c %s", f'read -r word && test "$word" = go || exit 1\n{script}'


def settle(host: Host, layout: Layout, name: str, value: str) -> None:
    """Make the declared file say so, and no other; the server reads it at its next reload or start."""
    host.run("sh -c %s sh %s %s", _SET.format(data=layout.data, etc=layout.etc), name, value)


def reload(host: Host) -> None:
    host.execute("SELECT pg_reload_conf();")


def drop_summaries(host: Host, layout: Layout) -> None:
    """Remove what a WAL summarizer that is off has left."""
    host.run(f"cd / && find {layout.data}/pg_wal/summaries -type f -delete 2>/dev/null; true")


def resume_replay(host: Host) -> None:
    host.execute("SELECT pg_wal_replay_resume() WHERE pg_is_in_recovery() AND pg_is_wal_replay_paused();")


def bring_up(host: Host, layout: Layout) -> None:
    """End what is left of the server and start it as a standby, however far its promotion had come."""
    begun.drop()  # a session that waits for its word is one of the server that ends here
    host.run(_STOP.format(version=layout.version, data=layout.data, unit=layout.unit), timeout=60)
    act.start(host, layout)
