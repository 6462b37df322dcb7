"""The agents: our own programs that run on the estate's hosts, put there as they lie in the repository."""

from __future__ import annotations

from pyinfra.api.operation import OperationMeta

from deploys import estate
from deploys.placed import Place, placed
from deploys.tree import tree
from inventories.catalog.export import tables_json
from inventories.catalog.load import load_tables

TABLES = "/etc/mystocks-dr/tables.json"


def deploy() -> tuple[OperationMeta, ...]:
    """Programs and the catalogue's tables; what changed tells a service that it must be started anew."""
    programs = tree(name="agents", src=str(estate.AGENTS), dest="/opt/mystocks-dr/agents")
    tables = placed(name="tables", places=[Place(TABLES, "0644", text=tables_json(load_tables()))])
    return programs, tables
