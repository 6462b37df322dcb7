"""The torture schema on a server of this machine: two databases of one cluster stand for the live one and its copy.

What makes hypertables is left to the lab, and so is a case that takes two servers. The steps of restore-table are those
of the procedure, without hosts and a journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from inventories.errors import DrError
from runbooks.actions.postgresql import table_copy as act
from runbooks.probes.postgresql import table_copy as copies
from runbooks.probes.postgresql import tables
from runbooks.procedures.postgresql import restore_table
from runbooks.procedures.postgresql import table_copy as copying
from runbooks.procedures.postgresql.restore_table import RestoreTable, tables_of
from runbooks.table_copy.counts import Mode, remarks, sentence
from tests.drills.doors import Ended
from tests.torture import cases
from tests.torture.cases import Kind
from tests.torture.database import Database
from tests.torture.scene import Scene
from tests.unit.copying_kit import COPY, LIVE, Prepared, Two
from tests.unit.postgres_server import Server

KEPT = "torture_kept"
_EXTENSION = "CREATE EXTENSION timescaledb;\n"


def kinds() -> dict[str, Kind]:
    """What one server without TimescaleDB can hold."""
    return {
        name: replace(
            kind, shared=kind.shared.replace(_EXTENSION, ""),
            cases=tuple(case for case in kind.cases if not (case.two_servers or "create_hypertable" in case.make)),
        )
        for name, kind in cases.load().items()
    }  # fmt: skip


@dataclass
class HereScene(Scene):
    """Both databases are copies of KEPT, with the same identifiers of everything."""

    server: Server = None  # type: ignore[assignment]

    @property
    def two(self) -> Two:
        return Two(self.server)

    @property
    def copy(self) -> Database:
        return Database(self.two.host, COPY, self.live.connect)

    def fresh(self) -> None:
        made_of_kept(self.server, LIVE)

    def restore(self, tables: str, mode: str, *consent: str) -> Ended:
        told: list[str] = []
        try:
            self._restore(tables_of(tables), Mode(mode), consent, told)
        except DrError as error:
            return Ended(int(error.exit_code), "\n".join(told), error.render())
        return Ended(0, "\n".join(told), "")

    def _restore(self, names: tuple[str, ...], mode: Mode, consent: tuple[str, ...], told: list[str]) -> None:
        two = self.two
        live = two.of(LIVE)
        copying.free_names(names, mode, True, live)
        ready = two.prepare(mode, *names)
        told += [line for plan in ready.plans for line in (sentence(plan, mode), *remarks(plan, mode))]
        told += copies.event_triggers(live)
        copying.judge(ready.plans, mode)
        if "--yes" in consent:
            copying.judge_losses(ready.plans, mode, "--accept-loss" in consent)
            self._write(ready, names, mode)

    def _write(self, ready: Prepared, names: tuple[str, ...], mode: Mode) -> None:
        two = self.two
        live = two.of(LIVE)
        body = copying.body(ready.plans, ready.pairs, ready.making, mode, two.source, True)
        done = act.write(two.host, LIVE, body, "restore-table test", 60)
        there = tables.shapes(live, copying.left(names, mode))
        again = copying.targets(ready.pairs, mode, there, done.xid)
        state = RestoreTable(mode=mode, plans=ready.plans)
        restore_table._all_there(state, copies.compare(live, again, two.source, 60))
        made = [plan.copied for plan in ready.plans if plan.live is None]
        if made and mode is not Mode.BESIDE:
            lacking = two.planner(mode).difference(ready.making, made, there)
            if lacking:
                raise DrError(f"made again without {lacking[0]}")


def made_of_kept(server: Server, name: str) -> None:
    server.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", database="postgres")
    server.sql(f"CREATE DATABASE {name} TEMPLATE {KEPT} STRATEGY file_copy", database="postgres")


def lay(server: Server, laid: Mapping[str, Kind]) -> HereScene:
    """The schema in both databases, and what it is."""
    server.sql(f"CREATE DATABASE {KEPT}", database="postgres")
    two = Two(server)
    connect = " ".join(two.connect)
    for kind in laid.values():
        Database(two.host, KEPT, connect).sql(kind.load)
    for name in (LIVE, COPY):
        made_of_kept(server, name)
    scene = HereScene(laid, Database(two.host, LIVE, connect), server=server)
    scene.look()
    return scene
