"""Operations that pyinfra does not ship: PostgreSQL clusters, roles, schema, slots; pgBackRest stanza and backup.

Each reads a fact, yields commands only where the fact differs, and so can be drift-checked. All run as the OS user
`postgres` unless they say otherwise. SQL travels on standard input: neither a password nor its verifier is ever seen
in a process list.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from pyinfra import host, inventory
from pyinfra.api import OperationError, QuoteString, StringCommand, operation
from pyinfra.facts.deb import DebPackages
from pyinfra.facts.files import FileContents

from deploys.facts import (
    FENCED,
    ArmedJobs,
    HoldsFiles,
    PgBackRestInfo,
    PgCluster,
    PgRows,
    PgServerElsewhere,
    SshHostKey,
)
from deploys.outliving import outliving
from deploys.text import NOT_EMPTY, hosts_file
from inventories import quorum
from inventories.catalog.postgresql.sessions import unwatched

PROGRAMS = "/opt/mystocks-dr"
Commands = Generator[str | StringCommand, None, None]


def _unwatched() -> str:
    return unwatched(host.data.get("postgres_version"))


def _psql(sql: str, database: str = "postgres", *, options: str | None = None) -> StringCommand:
    said = f"PGOPTIONS={_unwatched() if options is None else options}"
    return StringCommand(
        "env", QuoteString(said), "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", QuoteString(database), _stdin=f"{sql}\n"
    )


def _state(version: int) -> dict[str, bool]:
    return host.get_fact(PgCluster, version=version, _su_user="postgres")


def _rows(sql: str, database: str = "postgres") -> list[dict[str, Any]] | None:
    return host.get_fact(PgRows, sql=sql, database=database, options=_unwatched(), _su_user="postgres")


def _is_primary(version: int) -> bool:
    return _state(version).get("primary", False)


@operation()
def stage() -> Commands:
    """Do nothing, on every host: pyinfra orders operations host by host, so what all hosts share is a barrier."""
    host.noop("every host got here")
    yield from ()


@operation()
def packages(names: Sequence[str], release: str = "") -> Commands:
    """Install distribution packages; refresh the package index only when it does not know one of them."""
    missing = sorted(set(names) - set(host.get_fact(DebPackages)))
    if not missing:
        host.noop("all installed")
        return
    install = (
        "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "
        f"-o DPkg::Lock::Timeout=120 {f'-t {release} ' if release else ''}{' '.join(missing)}"
    )
    yield StringCommand("sh", "-c", QuoteString(f"{install} || {{ apt-get update -q && {install}; }}"))


@operation()
def etc_hosts(nodes: Sequence[tuple[str, str]]) -> Commands:
    """Keep `(address, name)` of every estate host in /etc/hosts: recovery must not wait for a name server.

    The file is rewritten in place, because in a container it is a bind mount that cannot be replaced.
    """
    lines = list(host.get_fact(FileContents, path="/etc/hosts") or [])
    wanted = hosts_file(lines, nodes)
    if wanted == lines:
        host.noop("every host is there")
        return
    yield StringCommand("tee", "/etc/hosts", ">/dev/null", _stdin="\n".join(wanted) + "\n")


@operation()
def pg_cluster(version: int) -> Commands:
    """Make an empty cluster that never starts by itself, where nothing lies and nothing should. Runs as root."""
    state = _state(version)
    if state.get("unmounted") and not state.get("online"):
        raise OperationError(
            f"{host.name}: a file system that /etc/fstab declares for {_data(version)} is not mounted: mount it first"
        )
    if state.get("lost"):
        raise OperationError(
            f"{host.name}: {_data(version)} holds lost+found, and initdb makes no cluster beside it: rmdir it, or "
            "mount the file system one directory higher"
        )
    if state.get("exists") or state.get("halfway"):
        host.noop(f"cluster {version}/main exists")
        return
    # The builtin C.UTF-8 provider sorts by code point in every release: no libc or ICU upgrade corrupts an index.
    provider = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if version >= 17 else []
    shape = ("--locale=C.UTF-8", "--encoding=UTF8")
    if state.get("configured"):  # only its data are gone; pg_createcluster refuses to make a cluster that it knows
        yield StringCommand(
            "runuser", "-u", "postgres", "--", f"/usr/lib/postgresql/{version}/bin/initdb", "--no-instructions",
            "-D", _data(version), *shape, "--data-checksums", *provider,
        )  # fmt: skip
    else:
        yield StringCommand(
            "pg_createcluster", str(version), "main", "--start-conf=manual", *shape, "--", "--data-checksums", *provider
        )


@operation()
def pg_primary(
    version: int, first: bool, peers: Sequence[str], ca: str, passfile: str, stanza: str, copies: Mapping[str, str]
) -> Commands:
    """Start this host's cluster as the primary, unless it is fenced, a standby, or somebody else is primary already.

    An empty one only where the inventory says that this host is the `first` primary, and never where the repository
    holds backups of `stanza`, or a host of `copies` (name -> directory) something: an empty database would take the
    place of the one that can be restored.

    Runs as root: only then does pg_ctlcluster go through systemd, where the start guard stands.
    """
    state = _state(version)
    if state["online"] or state["standby"] or state["fenced"] or (state["blank"] and not first):
        host.noop("online, a standby, fenced or empty")
        return
    if _elsewhere(peers, ca, passfile):
        host.noop("another host is primary")
        return
    # Where a standby lives the start guard refuses, with the command that promotes it.
    if state["blank"] and not _elsewhere(peers, ca, passfile, "standby"):
        _refuse_to_begin(stanza, copies)
    yield _start(version)


def _refuse_to_begin(stanza: str, copies: Mapping[str, str]) -> None:
    """Raises OperationError when repository or off-site copy hold what this empty cluster would take the place of."""
    info = host.get_fact(PgBackRestInfo, stanza=stanza, _su_user="postgres")
    kept = [backup["label"] for known in info for backup in known.get("backup") or []]
    if kept:
        raise OperationError(
            f"{host.name}: {NOT_EMPTY}: the repository holds backups of stanza {stanza}, the newest {kept[-1]}"
        )
    for name, directory in copies.items():
        node = inventory.get_host(name)
        if node and node.connected and node.get_fact(HoldsFiles, path=directory):
            raise OperationError(f"{host.name}: {NOT_EMPTY}: {name} holds off-site copies of the repository")


@operation()
def pg_standby(version: int, node: str, peers: Sequence[str], ca: str, passfile: str) -> Commands:
    """Clone the primary into a blank cluster, or start a standby that is down. Never touches a cluster with data."""
    state = _state(version)
    empty = state["blank"] or state["halfway"]
    if state["online"] or state["fenced"] or not (empty or state["standby"]):
        host.noop("online, fenced or not a standby")
        return
    if empty:
        primary = _elsewhere(peers, ca, passfile)
        if not primary:
            raise OperationError(f"{node} is blank and no primary answers at {', '.join(peers)}")
        dsn = (
            # Under its own name it would count as the standby that commits wait for, and nobody can promote a copy
            # that is not whole.
            f"host={primary} port=5432 user=replicator application_name=clone-{node} sslmode=verify-full "
            f"sslrootcert={ca} passfile={passfile}"
        )
        request = json.dumps({"version": version, "source": dsn, "slot": _slot(node)})
        # The host's own program looks what lies there first, and nothing is deleted until the copy is whole.
        yield outliving(
            "data", "clone", "python3", "-m", "agents.postgresql.directory.main", "clone", request,
            at=PROGRAMS,
        )
    yield _start(version)


def _start(version: int) -> StringCommand:
    """Start through systemd; what the start guard said comes with the failure."""
    unit = f"postgresql@{version}-main"
    script = f"systemctl start {unit} || {{ journalctl -u {unit} -n 30 -o cat --no-pager >&2; exit 1; }}"
    return StringCommand("sh", "-c", QuoteString(script))


@operation()
def pg_roles(version: int, roles: Mapping[str, tuple[str, str]]) -> Commands:
    """Make login roles: name -> (attributes, SCRAM verifier). Only on the primary; replication carries them over."""
    if not _is_primary(version):
        host.noop("not the primary")
        return
    there = {
        row["rolname"]: row
        for row in _rows("select rolname, rolpassword, rolreplication, rolsuper from pg_authid") or []
    }
    for name, (attributes, verifier) in roles.items():
        row = there.get(name)
        wants_replication = "REPLICATION" in attributes.split()
        if (
            row
            and row["rolpassword"] == verifier
            and row["rolreplication"] == wants_replication
            and not row["rolsuper"]
        ):
            continue
        verb = "ALTER" if row else "CREATE"
        yield _psql(f"{verb} ROLE {name} LOGIN NOSUPERUSER {attributes} PASSWORD '{verifier}';")


@operation()
def pg_sql(version: int, database: str, missing: str, statements: Sequence[str]) -> Commands:
    """Run `statements` in one transaction on the primary when the query `missing` returns any row."""
    if not _is_primary(version) or _rows(missing, database) == []:
        host.noop("not the primary, or nothing is missing")
        return
    body = "\n".join(f"{statement.rstrip().rstrip(';')};" for statement in statements)
    # TimescaleDB's own event triggers keep its books of what is made and altered.
    yield _psql(f"BEGIN;\n{body}\nCOMMIT;", database, options="")


@operation()
def pg_database(version: int, database: str) -> Commands:
    """Create the database on the primary."""
    if not _is_primary(version) or _rows(f"select 1 from pg_database where datname = '{database}'"):
        host.noop("not the primary, or the database exists")
        return
    yield _psql(f"CREATE DATABASE {database};")


@operation()
def pg_slots(version: int, names: Sequence[str]) -> Commands:
    """Keep one physical replication slot for each other node on the primary; a standby keeps none."""
    state = _state(version)
    if not state["online"]:
        host.noop("offline")
        return
    there = {
        row["slot_name"]
        for row in _rows("select slot_name from pg_replication_slots where slot_type = 'physical'") or []
    }
    # One that lost its WAL holds nothing any more, and never will again.
    lost = {
        row["slot_name"]
        for row in _rows("select slot_name from pg_replication_slots where wal_status = 'lost' and not active") or []
    }
    wanted = {_slot(name) for name in names} if state["primary"] else set()
    for slot in sorted(lost):
        yield _psql(f"SELECT pg_drop_replication_slot('{slot}');")
    for slot in sorted(wanted - (there - lost)):
        yield _psql(f"SELECT pg_create_physical_replication_slot('{slot}', true);")


@operation()
def pg_reset_overrides(version: int, settings: Sequence[str]) -> Commands:
    """Undo ALTER SYSTEM for these settings.

    With a logical slot there no server starts whose wal_level is less: that one is left as long as the slot is.
    """
    rows = _rows("select name from pg_file_settings where sourcefile like '%postgresql.auto.conf'") or []
    logical = _rows("select slot_name from pg_replication_slots where slot_type = 'logical' and not temporary")
    names = sorted({row["name"] for row in rows} & set(settings) - ({"wal_level"} if logical else set()))
    if not names:
        host.noop("no setting is overridden")
        return
    for name in names:
        yield _psql(f'ALTER SYSTEM RESET "{name}";')
    yield _psql("SELECT pg_reload_conf();")


@operation()
def pg_no_summaries(version: int) -> Commands:
    """Remove what the WAL summarizer left: while it is off nobody else does."""
    folder = f"{_data(version)}/pg_wal/summaries"
    if not host.get_fact(HoldsFiles, path=folder, _su_user="postgres"):
        host.noop("there are no summaries")
        return
    # find wants to come back to where it began, which is no folder of postgres.
    yield StringCommand("cd", "/", "&&", "find", QuoteString(folder), "-type", "f", "-delete")


_STREAMS = "select from pg_stat_wal_receiver where status = 'streaming'"
_UNTIL_IT_STREAMS = f"""
DO $$ BEGIN
  FOR tried IN 1..200 LOOP EXIT WHEN EXISTS ({_STREAMS}); PERFORM pg_sleep(0.05); END LOOP;
END $$;
"""


@operation()
def pg_streams(version: int) -> Commands:
    """Wait up to 10 s for a standby that was just started to stream; one that does not is left to the judges."""
    state = _state(version)
    if not (state["online"] and state["standby"]) or _rows(f"select exists ({_STREAMS}) as so") == [{"so": True}]:
        host.noop("it streams, or is no standby that runs")
        return
    yield _psql(_UNTIL_IT_STREAMS)


# What was committed while nobody waited has arrived when the standby has flushed what is written now: 10 s for that.
_UNTIL_IN_STEP = """
DO $$ DECLARE written pg_lsn := pg_current_wal_lsn(); BEGIN
  FOR tried IN 1..200 LOOP
    EXIT WHEN {least} <= (SELECT count(*) FROM pg_stat_replication
      WHERE sync_state IN ('sync', 'quorum') AND flush_lsn >= written);
    PERFORM pg_sleep(0.05);
  END LOOP;
END $$;
"""


@operation()
def pg_synchronous(version: int, path: str, names: Sequence[str], least: int) -> Commands:
    """Make commits wait for `least` of `names` where one of them streams; where none does, it is off on purpose.

    Of several only those are named that stream: nobody could tell what another one has. Where commits wait for somebody
    already, others are let in once the estate record holds for that, which is not known here. Whoever else reads WAL,
    a backup or an archive, is no standby: commits would wait for nobody, and hang. `least` 0: nobody is waited for by
    declaration; who is so far is let go by what knows the record, too.
    """
    if not least:
        host.noop("commits wait for nobody, as declared")
        return
    if not _is_primary(version):
        host.noop("not the primary")
        return
    rows = _rows(
        "select current_setting('synchronous_standby_names') as names, coalesce((select json_agg(distinct "
        "application_name) from pg_stat_replication where state = 'streaming' and application_name in "
        f"({', '.join(repr(name) for name in names)})), '[]') as stream"
    )
    wanted = _to_wait_for(host.name, rows[0]["names"], set(rows[0]["stream"]), names) if rows else ()
    if not wanted:
        host.noop("on already, or no standby streams")
        return
    yield StringCommand("tee", path, ">/dev/null", _stdin=f"{quorum.line(wanted, least)}\n")
    yield _psql("SELECT pg_reload_conf();")
    yield _psql(_UNTIL_IN_STEP.format(least=quorum.fitting(wanted, least)))


def _to_wait_for(me: str, now: str, stream: set[str], names: Sequence[str]) -> tuple[str, ...]:
    """Those that are to be named on this primary; none where it waits already, or nobody streams."""
    if now or not stream:
        return ()
    return tuple(name for name in names if len(names) <= 2 or name in stream or name == me)


@operation()
def pgbackrest_stanza(stanza: str) -> Commands:
    """Create the stanza in the repository when it is missing."""
    info = host.get_fact(PgBackRestInfo, stanza=stanza, _su_user="postgres")
    if info and info[0].get("status", {}).get("code") in (0, 2):  # 2: no valid backup yet, but the stanza is there
        host.noop("the stanza exists")
        return
    yield StringCommand("pgbackrest", QuoteString(f"--stanza={stanza}"), "--log-level-console=warn", "stanza-create")


@operation()
def pgbackrest_first_backup(stanza: str, root: str) -> Commands:
    """Take a full backup when the repository holds none, through the runner, so that it is recorded like any other."""
    info = host.get_fact(PgBackRestInfo, stanza=stanza, _su_user="postgres")
    if info and info[0].get("backup"):
        host.noop("a backup exists")
        return
    words = ("python3", "-m", "agents.jobs.runner", "run", "full", "--wait", "600")
    yield outliving("job-full", "run", *words, user="postgres", at=root)


@operation()
def jobs_armed(jobs: Sequence[str], root: str) -> Commands:
    """Begin to count for the jobs that have no state yet: from now on one that does not succeed is missed."""
    there = host.get_fact(ArmedJobs, folder="/var/lib/mystocks-dr/jobs")
    if all(job in there for job in jobs):
        host.noop("every job is armed")
        return
    yield StringCommand("cd", root, "&&", "python3", "-m", "agents.jobs.runner", "arm", ">/dev/null")


@operation()
def known_host(path: str, node: str, dialled: str = "") -> Commands:
    """Pin another host's key, as that host itself says it over the operator's own, pinned connection.

    `dialled`: what SSH looks it up by, where that is not its name.
    """
    there = inventory.get_host(node)
    if not (there and there.connected):
        host.noop(f"{node} is not part of this run")
        return
    key = there.get_fact(SshHostKey)
    if not key:
        raise OperationError(f"{node} has no ed25519 host key")
    line = f"{dialled or node} {key}"
    if list(host.get_fact(FileContents, path=path) or []) == [line]:
        host.noop("it is known")
        return
    yield StringCommand("tee", path, ">/dev/null", _stdin=f"{line}\n")


def _data(version: int) -> str:
    return f"/var/lib/postgresql/{version}/main"


def _slot(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name.lower())


def _elsewhere(peers: Sequence[str], ca: str, passfile: str, session: str = "read-write") -> str | None:
    if not peers:
        return None
    asked = {"hosts": tuple(peers), "ca": ca, "passfile": passfile, "session": session}
    return host.get_fact(PgServerElsewhere, **asked, _su_user="postgres")


__all__ = [
    "FENCED", "etc_hosts", "jobs_armed", "known_host", "packages", "pg_cluster", "pg_database", "pg_no_summaries",
    "pg_primary", "pg_reset_overrides", "pg_roles", "pg_slots", "pg_sql", "pg_standby", "pg_streams", "pg_synchronous",
    "pgbackrest_first_backup", "pgbackrest_stanza", "stage",
]  # fmt: skip
