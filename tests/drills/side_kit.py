"""What the tests of side clusters and proofs share: moments in the WAL to restore to, and damage that is taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from inventories.errors import TargetFailed
from runbooks.actions import backup as backups
from runbooks.actions.postgresql import side as actions
from runbooks.actions.postgresql.side import SideRequest
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.long_work.work import Asker
from runbooks.probes.postgresql import pgbackrest, proofs, server, side

DATABASE = "quant_research"
NAME = "tested"
TIMEOUT = 300.0

# Exclusive targets that must hold `before` and not `bad`: its own transaction, where it began, the moment before it.
_POINTS = """
begin; insert into dr_probe(run) values ('%(run)s-before'); commit;
select clock_timestamp() as time, pg_current_wal_insert_lsn() as lsn,
  pg_create_restore_point('%(run)s') is not null as named \\gset
select pg_sleep(0.01) as slept \\gset
begin; insert into dr_probe(run) values ('%(run)s-bad') returning pg_current_xact_id() as xid \\gset
commit;
begin; insert into dr_probe(run) values ('%(run)s-after'); commit;
select pg_walfile_name(pg_switch_wal()) as segment \\gset
select json_build_object('run', '%(run)s', 'time', :'time', 'lsn', :'lsn', 'xid', :'xid', 'segment', :'segment');
"""


@dataclass(frozen=True)
class Points:
    """One moment by each of its names, before a row that must not be there: `run`-before yes, `run`-bad no."""

    run: str
    time: str
    lsn: str
    xid: str
    segment: str

    def target(self, kind: str) -> str:
        return {"name": self.run, "time": self.time, "lsn": self.lsn, "xid": self.xid}.get(kind, "")


def primary(estate: Estate) -> Host:
    return server.the_primary(server.survey(estate)).host


def take(estate: Estate, kind: str) -> str:
    """Take a backup through the runner; its label."""
    backups.take(estate.backup, kind, Asker.door("a test"))
    newest = pgbackrest.info(estate.backup, "main").newest
    assert newest is not None
    return newest.label


def prove(estate: Estate, label: str) -> proofs.Proof:
    """Have the backup host prove it; what it recorded."""
    with suppress(TargetFailed):  # what was found wrong is in the proof
        backups.prove(estate.backup, label, Asker.door("a test"))
    proof = proofs.newest(estate.backup)
    assert proof is not None and proof.label == label
    return proof


def mark(estate: Estate, run: str) -> Points:
    """Write a row before, a bad one and one after, and wait until the archive has them."""
    host = primary(estate)
    ran = host.run("psql -qAtX -v ON_ERROR_STOP=1 -d %s", DATABASE, user="postgres", stdin=_POINTS % {"run": run})
    points = Points(**ran.json())
    until(
        lambda: pgbackrest.info(estate.backup, "main").archive_max, 60, what=f"segment {points.segment} in the archive",
        accept=lambda newest: newest >= points.segment,
    )  # fmt: skip
    return points


def rows(host: Host, run: str) -> set[str]:
    """Which of the rows that `mark` wrote the side cluster holds."""
    sql = f"select run from dr_probe where run like '{run}-%'"
    found = side.query(host, NAME, DATABASE, sql)
    return {row["run"].removeprefix(f"{run}-") for row in found}


def restore(host: Host, request: SideRequest) -> side.SideCluster:
    actions.restore(host, request, Asker.door("a test"))
    found = side.look(host, NAME)
    assert found is not None
    return found


def processes(host: Host) -> list[str]:
    """Processes that a side cluster would have left behind."""
    said = host.run("ps -eo args | grep -E '[s]ide-[a-z]|[p]gbackrest.*restore.conf' || true").stdout
    return [line for line in said.splitlines() if line.strip()]


def repository_file(backup: Host, pattern: str) -> str:
    """The first file of the repository that matches, the largest first."""
    return backup.run("ls -S /var/lib/pgbackrest/%s | head -n 1" % pattern).text  # noqa: UP031 - a glob is not quoted


@contextmanager
def damaged(backup: Host, path: str, how: str = "flip") -> Iterator[None]:
    """Flip one bit in the middle of a file, or near its head, or take the file away; put back whatever happens."""
    flip = (
        "import os,sys; p=sys.argv[1]; f=open(p,'r+b'); o=int(sys.argv[2]) or os.path.getsize(p)//2; "
        "f.seek(o); b=f.read(1)[0]; f.seek(o); f.write(bytes([b^64]))"
    )
    backup.run("cp -p %s /root/kept", path)
    try:
        if how in ("flip", "head"):
            backup.run("python3 -c %s %s %s", flip, path, 48 if how == "head" else 0)
        else:
            backup.run("rm %s", path)
        yield
    finally:
        backup.run("cp -p /root/kept %s", path)
