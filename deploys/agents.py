"""The agents: our own programs that run on the estate's hosts, put there as they lie in the repository."""

from __future__ import annotations

import io
from typing import Any

from pyinfra.api.operation import OperationMeta
from pyinfra.operations import files

from deploys import estate
from inventories.catalog.export import tables_json
from inventories.catalog.load import load_tables

TABLES = "/etc/mystocks-dr/tables.json"


def deploy() -> tuple[OperationMeta, ...]:
    """Programs and the catalogue's tables; what changed tells a service that it must be started anew."""
    programs = files.sync(
        name="agents", src=str(estate.AGENTS), dest="/opt/mystocks-dr/agents", user="root", group="root", mode="0644",
        dir_mode="0755", delete=True, exclude=["*.pyc"], exclude_dir=["*__pycache__*"], add_deploy_dir=False,
    )  # fmt: skip
    readable: dict[str, Any] = {"mode": "0644", "user": "root", "group": "root"}
    tables = files.put(name="tables", src=io.StringIO(tables_json(load_tables())), dest=TABLES, **readable)
    return programs, tables
