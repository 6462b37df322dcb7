"""What our operations need to know of a host: facts that pyinfra does not ship."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pyinfra.api import FactBase, QuoteString, StringCommand

from inventories.catalog.postgresql.sessions import unwatched

MARKS = "/etc/mystocks-dr"
FENCED = f"{MARKS}/fenced"


class PgCluster(FactBase[dict[str, bool]]):
    """State of one PostgreSQL cluster: exists, configured, standby, online, primary, fenced, and four that need words.

    `blank`, by its control file: initdb made it, nobody has asked it to make anything since. `halfway`: a clone into
    it was cut short. `unmounted`: /etc/fstab declares a file system, for it or where a link leads, that is not there.
    `lost`: nothing but lost+found lies there.
    """

    default = dict

    def command(self, version: int) -> StringCommand:
        data = f"/var/lib/postgresql/{version}/main"
        script = f"""
        b() {{ if "$@" >/dev/null 2>&1; then echo true; else echo false; fi; }}
        export PGOPTIONS='{unwatched(version)}'
        r=$(psql -AtX -c 'select pg_is_in_recovery()' postgres 2>/dev/null)
        blank() {{
          LC_ALL=C /usr/lib/postgresql/{version}/bin/pg_controldata {data} 2>/dev/null | awk -F': *' '
            /^Database cluster state:/ {{ state = $2 }}
            /^Latest checkpoint.s TimeLineID:/ {{ timeline = $2 }}
            /^Latest checkpoint.s NextOID:/ {{ oid = $2 }}
            END {{ exit !(state == "shut down" && timeline == 1 && oid > 0 && oid < 16384) }}'
        }}
        unmounted() {{
          for point in $(awk '$1 !~ /^#/ && $2 ~ "^/." {{ sub("/+$", "", $2); print $2 }}' /etc/fstab 2>/dev/null); do
            for place in {data}/pg_wal "$(readlink -m {data})/pg_wal" "$(readlink -m {data}/pg_wal)"; do
              case "$place/" in "$point"/*) mountpoint -q "$point" || return 0;; esac
            done
          done
          return 1
        }}
        echo exists $(b test -f {data}/PG_VERSION)
        echo configured $(b test -f /etc/postgresql/{version}/main/postgresql.conf)
        echo blank $(if test ! -e {data}/standby.signal && blank; then echo true; else echo false; fi)
        echo halfway $(b test -d {data}/.clone -a ! -e {data}/global/pg_control)
        echo unmounted $(if unmounted; then echo true; else echo false; fi)
        echo lost $(b test "$(ls -A {data} 2>/dev/null)" = lost+found)
        echo standby $(b test -f {data}/standby.signal)
        echo fenced $(b test -e {FENCED})
        echo online $(b test -n "$r")
        echo primary $(b test "$r" = f)
        """
        return StringCommand("sh", "-c", QuoteString(script))

    def process(self, output: Iterable[str]) -> dict[str, bool]:
        pairs = (line.split() for line in output if line.strip())
        return {name: value == "true" for name, value in pairs}


class PgRows(FactBase[list[dict[str, Any]] | None]):
    """Rows of one query as dictionaries; None when the server does not answer."""

    def command(self, sql: str, database: str = "postgres", options: str = "") -> StringCommand:
        wrapped = f"select coalesce(json_agg(row_to_json(q)), '[]') from ({sql}) q"
        asked = ("psql", "-AtX", "-d", QuoteString(database), "-c", QuoteString(wrapped))
        tried = StringCommand("env", QuoteString(f"PGOPTIONS={options}"), *asked)
        return StringCommand(tried, "2>/dev/null || true")

    def process(self, output: Iterable[str]) -> list[dict[str, Any]] | None:
        text = "\n".join(output).strip()
        return json.loads(text) if text else None


class PgServerElsewhere(FactBase[str | None]):
    """Address of the server among `hosts` that takes writes, asked from this host as `monitor`; None without one.

    `session`: another kind of server, in libpq's words (`standby`).
    """

    def command(
        self, hosts: tuple[str, ...], ca: str, passfile: str, session: str = "read-write"
    ) -> StringCommand:
        dsn = (
            f"host={','.join(hosts)} port=5432 dbname=postgres user=monitor target_session_attrs={session} "
            f"connect_timeout=2 sslmode=verify-full sslrootcert={ca} passfile={passfile}"
        )
        asked = StringCommand(
            "psql", "-AtX", "-d", QuoteString(dsn), "-c", QuoteString("select host(inet_server_addr())")
        )
        return StringCommand(asked, "2>/dev/null || true")

    def process(self, output: Iterable[str]) -> str | None:
        lines = [line for line in output if line.strip()]
        return lines[0] if lines else None


class PgBackRestInfo(FactBase[list[dict[str, Any]]]):
    """`pgbackrest info` of one stanza: one dictionary a stanza, empty without pgBackRest or a stanza."""

    default = list

    def command(self, stanza: str) -> StringCommand:
        return StringCommand(
            "pgbackrest", QuoteString(f"--stanza={stanza}"), "--output=json info", "2>/dev/null || true"
        )

    def process(self, output: Iterable[str]) -> list[dict[str, Any]]:
        text = "".join(output).strip()
        return json.loads(text) if text else []


class ArmedJobs(FactBase[list[str]]):
    """Names of the jobs that the runner counts for: those that have a state."""

    default = list

    def command(self, folder: str) -> StringCommand:
        return StringCommand("find", folder, "-maxdepth", "1", "-name", "'[a-z]*.json'", "2>/dev/null || true")

    def process(self, output: Iterable[str]) -> list[str]:
        return [line.rpartition("/")[2].removesuffix(".json") for line in output if line.strip()]


class SshHostKey(FactBase[str | None]):
    """This host's own ed25519 key as a known_hosts file has it, `ssh-ed25519 AAAA...`; None when it has none."""

    def command(self) -> str:
        return "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub 2>/dev/null || true"

    def process(self, output: Iterable[str]) -> str | None:
        return "".join(output).strip() or None


class HoldsFiles(FactBase[bool]):
    """Whether there is anything in a directory; False for one that is not there."""

    def command(self, path: str) -> StringCommand:
        return StringCommand("ls", "-A", QuoteString(path), "2>/dev/null", "|| true")

    def process(self, output: Iterable[str]) -> bool:
        return any(line.strip() for line in output)


class IsContainer(FactBase[bool]):
    """Whether this host is a container, whose clock and kernel settings belong to the machine below."""

    def command(self) -> str:
        return "systemd-detect-virt --container --quiet && echo yes || echo no"

    def process(self, output: Iterable[str]) -> bool:
        return "".join(output).strip() == "yes"
