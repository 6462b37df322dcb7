"""The torture schema in a lab: in a database of its own on the primary, and in a side cluster of a moment."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runbooks.hosts import Estate, Host
from runbooks.probes.postgresql import side
from tests.drills.doors import Ended, dr
from tests.torture.cases import Kind
from tests.torture.database import Database
from tests.torture.scene import Scene

DATABASE, KEPT = "torture", "torture_kept"
SIDE = "pitr"


@dataclass
class LabScene(Scene):
    """`inventory` is the lab's with this database; `point` the restore point at which nothing was spoilt yet."""

    estate: Estate = None  # type: ignore[assignment]
    primary: Host = None  # type: ignore[assignment]
    inventory: Path = Path()
    point: str = ""

    @property
    def copy(self) -> Database:
        there = side.look(self.primary, SIDE)
        assert there is not None and there.ready
        return Database(self.primary, DATABASE, " ".join(there.connection))

    def fresh(self) -> None:
        fresh(self.primary)

    def restore(self, tables: str, mode: str, *consent: str) -> Ended:
        words = ("restore-table", "--tables", tables, "--from", SIDE, "--mode", mode, *consent)
        return dr(*words, env={"DR_INVENTORY": str(self.inventory)})

    def moved(self, primary: Host) -> None:
        """Another host is the primary now."""
        self.primary, self.live = primary, Database(primary, DATABASE)


def scene(estate: Estate, primary: Host, kinds: Mapping[str, Kind], folder: Path) -> LabScene:
    return LabScene(
        kinds, Database(primary, DATABASE), estate=estate, primary=primary, inventory=inventory(folder),
        point=f"torture-{time.time_ns()}",
    )  # fmt: skip


def lay(host: Host, kinds: Mapping[str, Kind]) -> None:
    """All of it, whatever is left of an earlier time: KEPT, where nobody connects any more, and a copy of it."""
    clear(host, kinds)
    host.execute(f"CREATE DATABASE {KEPT} TEMPLATE template0 ENCODING 'UTF8'", timeout=60)
    kept = Database(host, KEPT)
    for kind in kinds.values():
        kept.sql(kind.load)
    # TimescaleDB's workers come back wherever they may, and nobody may be in a database that is copied.
    host.execute(f"ALTER DATABASE {KEPT} ALLOW_CONNECTIONS off")
    host.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{KEPT}'")
    fresh(host)


def fresh(host: Host) -> None:
    """The database as it was at first, every identifier of an object included."""
    host.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", timeout=60)
    host.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {KEPT} STRATEGY file_copy", timeout=120)


def clear(host: Host, kinds: Mapping[str, Kind]) -> None:
    for name in (DATABASE, KEPT):
        host.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", timeout=60)
    for kind in kinds.values():
        Database(host, "postgres").sql(kind.clean, stop=False)


def inventory(folder: Path) -> Path:
    """An inventory of the lab's hosts whose database is this one."""
    path = folder / "torture.py"
    path.write_text(
        "from inventories import lab as _lab\n\n"
        f'_lab._SHARED["database"] = {DATABASE!r}\n'
        "app, pg_primary, pg_standby, backup, offsite = (\n"
        "    _lab.app, _lab.pg_primary, _lab.pg_standby, _lab.backup, _lab.offsite\n)\n",
        encoding="utf-8",
    )
    return path
