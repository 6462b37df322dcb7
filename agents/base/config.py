"""agent.json (where the database and the outbox are) and tables.json (what the catalogue says of each table).

agent.json:

    {"hosts": [{"name": "pg1", "address": "192.0.2.21", "port": 5432}, ...],      address, port optional
     "dbname": "quant_research", "user": "writer",
     "sslmode": "verify-full", "sslrootcert": "...", "passfile": "...",           optional, as in libpq
     "node": 17,                                                                  of this host, in its event ids
     "tables": "/etc/mystocks-dr/tables.json",                                    default: beside agent.json
     "tdengine": "/etc/mystocks-dr/tdengine.json",                                only where that is the store
     "outbox": {"path": "/var/lib/mystocks-dr/outbox.db", "max_bytes": 1073741824, "keep_applied_s": 3600,
                "copy": {"host": "backup1", "address": "192.0.2.30", "port": 8433, "store": "postgresql", "ca": "...",
                         "certificate": "...", "key": "...", "deadline_s": 0.5, "alone": false}},   left out: none
     "shadow": {"path": "/var/lib/mystocks-dr/shadow", "max_bytes": 1073741824, "keep_s": 3600},   left out: none
     "writer": {"deadline_s": 0.6},
     "replayer": {"max_rows": 5000, "max_rows_per_s": 0}}                         0: no limit
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.base.errors import BadConfig

DEFAULT = Path("/etc/mystocks-dr/agent.json")
UNKNOWN_LANE = 9  # of tables that the catalogue does not have: behind all others
LIBPQ = ("sslmode", "sslrootcert", "sslcert", "sslkey", "passfile")
KNOWN = {"hosts", "dbname", "user", "node", "tables", "outbox", "shadow", "writer", "replayer", "tdengine", *LIBPQ}


@dataclass(frozen=True)
class Host:
    """One PostgreSQL server: `name` is what its certificate says, `address` spares the name service."""

    name: str
    address: str | None = None
    port: int = 5432

    @property
    def target(self) -> tuple[str, int]:
        return (self.address or self.name, self.port)


@dataclass(frozen=True)
class OutboxSettings:
    """`max_bytes` bounds the file; `keep_applied_s` is how long applied records stay readable."""

    path: Path
    max_bytes: int = 1 << 30
    keep_applied_s: float = 3600.0
    copy: CopySettings | None = None


@dataclass(frozen=True)
class CopySettings:
    """Where a second copy of each outbox record is kept before it is acknowledged: `host` is in its certificate.

    `alone`: acknowledge without it where that host does not answer in time; else nothing is acknowledged then.
    """

    host: str
    ca: str
    certificate: str
    key: str
    store: str
    address: str | None = None
    port: int = 8433
    deadline_s: float = 0.5
    alone: bool = False


@dataclass(frozen=True)
class ShadowSettings:
    """Where acknowledged batches are kept, for how many seconds and up to how many bytes."""

    path: Path
    max_bytes: int = 1 << 30
    keep_s: float = 3600.0


@dataclass(frozen=True)
class Config:
    hosts: tuple[Host, ...]
    dbname: str
    user: str
    tables: Path
    outbox: OutboxSettings
    shadow: ShadowSettings | None = None
    libpq: dict[str, str] = field(default_factory=dict)
    deadline_s: float = 0.6
    tdengine: Path | None = None  # settings of agents.tdengine.session: then this is the writer of that store
    replay_rows: int = 5000
    replay_rows_per_s: float = 0.0
    node: int | None = None  # what tells this host's event ids from those of others; agents.client needs it


@dataclass(frozen=True)
class Column:
    """`values`: the only ones it may have, if any; `nan`: what NaN is (missing, keep, refuse); `zone`: where a time
    without one is read, empty where it is refused.
    """

    name: str
    type: str
    nullable: bool
    values: tuple[str, ...] = ()
    nan: str = "missing"
    zone: str = ""


@dataclass(frozen=True)
class Table:
    """One table as the catalogue has it; `on_conflict` is `ignore` or `newest`.

    `classifications` are every name by which the trading system calls its data; `keep_days` is TDengine's KEEP.
    """

    name: str
    database: str
    classification: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    on_conflict: str
    tags: tuple[Column, ...] = ()
    classifications: tuple[str, ...] = ()
    keep_days: float | None = None
    lane: int = 2  # the less the sooner its rows leave the outbox

    @property
    def column_names(self) -> tuple[str, ...]:
        """Every value of a row, those of a supertable's tags last."""
        return tuple(column.name for column in (*self.columns, *self.tags))


def load_config(path: Path) -> Config:
    """Read agent.json. Raises BadConfig."""
    raw = _read(path)
    unknown = sorted(set(raw) - KNOWN)
    if unknown:
        raise BadConfig(f"{path}: {unknown[0]} is no setting.", "See the docstring of agents/base/config.py.")
    try:
        outbox, writer, replayer = raw["outbox"], raw.get("writer", {}), raw.get("replayer", {})
        config = Config(
            hosts=tuple(Host(h["name"], h.get("address"), int(h.get("port", 5432))) for h in raw["hosts"]),
            dbname=str(raw["dbname"]),
            user=str(raw["user"]),
            tdengine=Path(raw["tdengine"]) if "tdengine" in raw else None,
            tables=Path(raw.get("tables", path.parent / "tables.json")),
            outbox=OutboxSettings(
                Path(outbox["path"]),
                int(outbox.get("max_bytes", OutboxSettings.max_bytes)),
                float(outbox.get("keep_applied_s", OutboxSettings.keep_applied_s)),
                _copy(outbox["copy"]) if outbox.get("copy") else None,
            ),
            shadow=_shadow(raw["shadow"]) if "shadow" in raw else None,
            libpq={key: str(raw[key]) for key in LIBPQ if key in raw},
            deadline_s=float(writer.get("deadline_s", Config.deadline_s)),
            replay_rows=int(replayer.get("max_rows", Config.replay_rows)),
            replay_rows_per_s=float(replayer.get("max_rows_per_s", Config.replay_rows_per_s)),
            node=int(raw["node"]) if "node" in raw else None,
        )
    except KeyError as error:
        raise BadConfig(
            f"{path}: {error.args[0]} is missing.", "Deploy the application host again."
        ) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BadConfig(f"{path}: {error}.", "Deploy the application host again.") from error
    if not config.hosts:
        raise BadConfig(f"{path}: hosts is empty.", "Name at least one PostgreSQL host.")
    if not 0 < config.deadline_s <= 60 or config.replay_rows < 1 or config.replay_rows_per_s < 0:
        raise BadConfig(
            f"{path}: a number of writer or replayer is out of range.", "Seconds and rows are positive."
        )
    return config


def _copy(raw: dict[str, Any]) -> CopySettings:
    return CopySettings(
        host=str(raw["host"]), ca=str(raw["ca"]), certificate=str(raw["certificate"]), key=str(raw["key"]),
        store=str(raw["store"]), address=raw.get("address"), port=int(raw.get("port", CopySettings.port)),
        deadline_s=float(raw.get("deadline_s", CopySettings.deadline_s)), alone=bool(raw.get("alone", False)),
    )  # fmt: skip


def _shadow(raw: dict[str, Any]) -> ShadowSettings:
    return ShadowSettings(
        Path(raw["path"]),
        int(raw.get("max_bytes", ShadowSettings.max_bytes)),
        float(raw.get("keep_s", ShadowSettings.keep_s)),
    )


def load_tables(path: Path) -> dict[str, Table]:
    """Read tables.json, which the catalogue exports. Raises BadConfig."""
    raw = _read(path)
    if raw.get("version", 1) != 1:
        raise BadConfig(f"{path} is of a newer deploy than these programs.", "Deploy this host, or update the library.")
    try:
        return {
            name: Table(
                name=name,
                database=table["database"],
                classification=table["classification"],
                columns=tuple(_column(column) for column in table["columns"]),
                key=tuple(table["key"]),
                on_conflict=table["on_conflict"],
                tags=tuple(_column(tag) for tag in table.get("tags", ())),
                classifications=(table.get("subclassification", name), *table.get("aliases", ())),
                keep_days=table.get("keep_days"),
                lane=int(table.get("lane", Table.lane)),
            )
            for name, table in raw["tables"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise BadConfig(f"{path} is no export of the catalogue: {error!r}.", "Deploy it again.") from error


def _column(raw: dict[str, Any]) -> Column:
    return Column(
        raw["name"], raw["type"], raw["nullable"], tuple(raw.get("values", ())), raw.get("nan", Column.nan),
        raw.get("zone", Column.zone),
    )  # fmt: skip


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(
            f"{path} cannot be read: {error.strerror}.", "Deploy the application host."
        ) from error
    except ValueError as error:
        raise BadConfig(f"{path} is no JSON: {error}.", "Deploy the application host again.") from error
    if not isinstance(raw, dict):
        raise BadConfig(f"{path} holds no JSON object.", "Deploy the application host again.")
    return raw
