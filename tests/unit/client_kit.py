"""What the tests of the client share: a configuration of a host whose store is away, and rows of its tables."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from agents.client import Client
from agents.writing.outbox import Outbox
from agents.writing.records import Record
from inventories.catalog import load_tables
from inventories.catalog.export import tables_json
from inventories.catalog.tables import Store
from tests.unit.agent_fixtures import config_file

NODE = 17
NOW = datetime(2026, 11, 20, 2, 30, tzinfo=timezone.utc)


def library(name: str) -> Any:
    """The module of a library of frames; without it the test is skipped and says what installs it."""
    return pytest.importorskip(name, reason=f"{name} is not installed: ./dr test --all installs it")


def client(folder: Path, pool: int = 4, **changes: object) -> Client:
    """Of a store that nobody answers for: everything goes into the outbox."""
    return Client.open(config_file(folder, node=NODE, **changes), pool=pool)


def ticks_file(folder: Path, keep_days: int = 3650) -> Path:
    """A configuration of TDengine beside it."""
    (folder / "tables-tdengine.json").write_text(tables_json(load_tables(), Store.TDENGINE, keep_days))
    path = config_file(
        folder, node=NODE, tdengine=str(folder / "tdengine.json"), tables=str(folder / "tables-tdengine.json"),
        outbox={"path": str(folder / "outbox-tdengine.db")},
    )  # fmt: skip
    return path.rename(folder / "agent-tdengine.json")


def records(folder: Path, name: str = "outbox.db") -> list[Record]:
    outbox = Outbox(folder / name)
    try:
        return outbox.pending(10**9)
    finally:
        outbox.close()


def lines(folder: Path, name: str = "outbox.db") -> list[dict[str, str]]:
    """Every row that waits there, as COPY text by column."""
    return [
        dict(zip(part.columns, line.split("\t"), strict=True))
        for record in records(folder, name)
        for part in record.parts
        for line in part.text.split("\n")[:-1]
    ]


def order(**changes: Any) -> dict[str, Any]:
    return {
        "order_id": "O1", "order_time": NOW, "account_id": "ACC1", "symbol": "600000.SH", "side": "BUY",
        "order_type": "LIMIT", "price": 10.5, "quantity": 100, "status": "NEW", **changes,
    }  # fmt: skip


def tick(**changes: Any) -> dict[str, Any]:
    now = datetime.now(timezone.utc)
    return {"ts": now, "price": 10.5, "volume": 100, "symbol": "600000", "exchange": "SSE", **changes}


def setting(key: str = "k", value: str = "v", **changes: Any) -> dict[str, Any]:
    return {"config_key": key, "config_value": value, "updated_at": NOW, **changes}
