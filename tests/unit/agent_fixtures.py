"""What the tests of the agents share: a configuration on temporary files and rows of catalogue tables."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

from agents.base.config import Config, Table, load_config, load_tables
from agents.writing.batch import Batch, encode
from inventories.catalog import load_tables as load_catalogue
from inventories.catalog.export import tables_json

NOW = datetime(2026, 11, 20, 2, 30, tzinfo=timezone.utc)


def config_file(folder: Path, **changes: object) -> Path:
    """agent.json and tables.json in `folder`; `changes` replaces top-level keys."""
    (folder / "tables.json").write_text(tables_json(load_catalogue()), encoding="utf-8")
    settings: dict[str, object] = {
        "hosts": [{"name": "127.0.0.1", "port": 1}],
        "dbname": "quant_research",
        "user": "writer",
        "outbox": {"path": str(folder / "outbox.db")},
    }
    path = folder / "agent.json"
    path.write_text(json.dumps({**settings, **changes}), encoding="utf-8")
    return path


def config(folder: Path, **changes: object) -> Config:
    return load_config(config_file(folder, **changes))


def tables(folder: Path) -> dict[str, Table]:
    if not (folder / "tables.json").exists():
        config_file(folder)
    return load_tables(folder / "tables.json")


def setting(
    event_id: int, key: str = "k", value: str = "v", description: str | None = None
) -> tuple[object, ...]:
    """A row of system_config (natural key, newest wins)."""
    return (event_id, key, value, description, NOW)


def order(event_id: int, remark: str | None = None, side: str = "BUY") -> tuple[object, ...]:
    """A row of order_records (append only)."""
    return (event_id, f"O{event_id}", NOW, "ACC1", None, "600000.SH", side, "LIMIT", 10.5, 100, "NEW", remark)


def orders(known: dict[str, Table], first: int, last: int) -> Batch:
    return encode(known, {"order_records": [order(event) for event in range(first, last + 1)]})
