"""A live database and its copy as of a moment, on one real server: what restore-table does with them, without a host.

The copy is made of the live database with all its numbers, as a side cluster is.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from inventories.errors import TargetFailed
from runbooks.actions.postgresql import table_copy as act
from runbooks.hosts import Host, Ran
from runbooks.probes.postgresql import table_copy as copies
from runbooks.probes.postgresql import tables
from runbooks.procedures.postgresql import restore_table
from runbooks.procedures.postgresql import table_copy as copying
from runbooks.procedures.postgresql.restore_table import RestoreTable
from runbooks.procedures.postgresql.table_plan import Planner
from runbooks.table_copy.counts import Counts, Making, Mode, TablePlan
from runbooks.table_copy.definition import statements
from runbooks.table_copy.pair import Pair
from runbooks.table_copy.source import Source
from tests.unit.postgres_server import DATABASE, Server, programs

COPY = "copy_of_live"
LIVE = "live_one"


@dataclass
class Local:
    """A host that is this machine; its server is asked for through `connect` alone."""

    connect: Sequence[str]
    name: str = "here"

    def run(
        self, command: str, *args: object, user: str = "root", stdin: str | None = None, timeout: float | None = None
    ) -> Ran:
        words = shlex.split(command % tuple(shlex.quote(str(one)) for one in args))
        if words[0] != "xargs":
            words[0] = str(programs() / Path(words[0]).name)
        done = subprocess.run(
            words, input=stdin or "", capture_output=True, text=True, check=False, timeout=timeout or 60
        )
        if done.returncode:
            raise TargetFailed(f"here: {done.stderr}")
        return Ran(done.returncode, done.stdout, done.stderr, 0)

    def start(self, command: str, *_: object, user: str = "root") -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        words = [str(programs() / "psql"), "-qAtX", "-v", "ON_ERROR_STOP=1", *self.connect, "-d", LIVE]
        return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe)


@dataclass(frozen=True)
class Prepared:
    """What a run knows before it writes."""

    plans: tuple[TablePlan, ...]
    making: Making
    pairs: tuple[Pair, ...]
    mode: Mode

    @property
    def counts(self) -> tuple[Counts, ...]:
        return tuple(plan.counts for plan in self.plans if plan.counts)

    def judged(self) -> Prepared:
        """Raises Refused as a run would."""
        copying.judge(self.plans, self.mode)
        return self


@dataclass
class Two:
    server: Server

    @property
    def connect(self) -> tuple[str, ...]:
        return ("-U", "postgres", "-h", str(self.server.folder), "-p", str(self.server.port))

    @property
    def host(self) -> Host:
        return cast(Host, Local(self.connect))

    @property
    def source(self) -> Source:
        return Source(str(programs()), str(self.server.folder), self.server.port, COPY)

    def of(self, database: str) -> tables.Server:
        return tables.Server(self.host, database, " ".join(self.connect))

    def begin(self) -> None:
        self.end()
        self.server.sql(f"CREATE DATABASE {LIVE} TEMPLATE {DATABASE}", database="postgres")

    def end(self) -> None:
        self.server.sql(
            f"DROP DATABASE IF EXISTS {COPY} WITH (FORCE)", f"DROP DATABASE IF EXISTS {LIVE} WITH (FORCE)",
            database="postgres",
        )  # fmt: skip

    def point(self) -> None:
        """The moment of the copy."""
        self.server.sql(f"CREATE DATABASE {COPY} TEMPLATE {LIVE}", database="postgres")

    def sql(self, *statements: str) -> list[tuple[object, ...]]:
        return self.server.sql(*statements, database=LIVE)

    def copied(self, *statements: str) -> list[tuple[object, ...]]:
        return self.server.sql(*statements, database=COPY)

    def rows(self, table: str) -> list[tuple[object, ...]]:
        return self.sql(f"SELECT * FROM {table} ORDER BY 1")

    def same(self, table: str, columns: str = "*") -> bool:
        """Whether the table holds what the copy holds, to the letter."""
        query = f"SELECT ROW(q.*)::text FROM (SELECT {columns} FROM {table}) q ORDER BY 1"
        return self.sql(query) == self.copied(query)

    def planner(self, mode: Mode) -> Planner:
        return Planner(self.of(LIVE), self.of(COPY), mode, str(programs()), 60)

    def prepare(self, mode: Mode, *names: str, where: str = "") -> Prepared:
        plans, making = self.planner(mode).plan(names)
        pairs = restore_table.pairs(plans, RestoreTable(mode=mode, where=where))
        found = copies.compare(self.of(LIVE), pairs, self.source, 60, mode)
        plans = tuple(plan.model_copy(update={"counts": one}) for plan, one in zip(plans, found, strict=True))
        return Prepared(plans, making, pairs, mode)

    def write(self, mode: Mode, *names: str, where: str = "", keep: bool = False) -> act.Written:
        """Whatever a judge would say."""
        ready = self.prepare(mode, *names, where=where)
        body = copying.body(ready.plans, ready.pairs, ready.making, mode, self.source, keep)
        return act.write(self.host, LIVE, body, "restore-table test", 60)

    def restored(self, mode: Mode, *names: str, where: str = "") -> act.Written:
        """As a run does it: judged before, compared afterwards."""
        return self.finish(self.prepare(mode, *names, where=where).judged(), *names)

    def finish(self, ready: Prepared, *names: str) -> act.Written:
        mode = ready.mode
        body = copying.body(ready.plans, ready.pairs, ready.making, mode, self.source, False)
        done = act.write(self.host, LIVE, body, "restore-table test", 60)
        there = tables.shapes(self.of(LIVE), copying.left(names, mode))
        again = copying.targets(ready.pairs, mode, there, done.xid)
        state = RestoreTable(mode=mode, plans=ready.plans)
        restore_table._all_there(state, copies.compare(self.of(LIVE), again, self.source, 60))
        made = [plan.copied for plan in ready.plans if plan.live is None]
        if made and mode is not Mode.BESIDE:
            assert self.planner(mode).difference(ready.making, made, there) == ()
        return done

    def compared(self, name: str) -> Counts:
        """The copy's table and the live one of that name, as after writing."""
        copied, live = (tables.shapes(self.of(database), [name])[name] for database in (COPY, LIVE))
        return copies.compare(self.of(LIVE), [Pair(copied, live)], self.source, 60)[0]

    def definition(self, *names: str) -> list[tuple[str, ...]]:
        """What pg_dump says of live tables, without the word that it makes up each time."""
        return [statements(said) for said in copies.definitions(self.of(LIVE), str(programs()), names, 60)]
