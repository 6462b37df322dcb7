"""The stores that a drill can write to: their feeds' settings, who acknowledges there, and whom to ask afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from drills import gather
from drills.judging.compare import FoundIds, parse_found
from inventories.errors import BadInput
from runbooks.hosts import Estate
from runbooks.probes import app
from runbooks.probes.postgresql import server
from runbooks.probes.tdengine import servers as tdengine

Finder = Callable[[str], FoundIds]
_IDS = "cd /opt/mystocks-dr && exec python3 -m agents.tdengine.ids --run %s %s"
_PATIENCE_S = 300.0


@dataclass(frozen=True)
class Store:
    """`settings` are those of its writer on the application host, `ledger` and `log` files of a drill that writes to
    it. `finder` asks which rows of a run a table holds, `wrong` what keeps it from being whole (nothing: empty).
    """

    name: str
    settings: str
    ledger: str
    log: str
    finder: Callable[[Estate, int], Finder]
    wrong: Callable[[Estate], str]
    has_timelines: bool


def _in_postgresql(estate: Estate, run: int) -> Finder:
    primary = server.the_primary(server.survey(estate)).host
    return gather.finder(primary, str(estate.data["database"]), run)


def _in_tdengine(estate: Estate, run: int) -> Finder:
    """Asked from the application host, with the very settings of its writer."""

    def found(table: str) -> FoundIds:
        ran = estate.app.run(_IDS, run, table, user="mystocks", timeout=_PATIENCE_S)
        return parse_found(table, ran.stdout)

    return found


def _postgresql_wrong(estate: Estate) -> str:
    """Judged by the gate of every drill, whatever it writes to."""
    return ""


def tdengine_wrong(estate: Estate) -> str:
    """Which node does not answer, is not ready or lacks data that are counted on, or what waits in the outbox."""
    servers = tdengine.survey(estate)
    if not servers:
        return "the inventory has no TDengine host"
    down = [f"{one.name} does not answer ({one.why or 'TDengine is down'})" for one in servers if not one.online]
    if down:
        return "; ".join(down)
    lacking = [one.name for one in servers if any(one.dnodes.get(other.name) != "ready" for other in servers)]
    if lacking:
        return f"{', '.join(lacking)}: not every TDengine node is ready"
    for one in servers:
        if one.lacking:
            groups = f"{len(one.lacking)} vgroup{'s' if len(one.lacking) > 1 else ''}"
            return f"{one.name} lacks the data of {groups}: ./dr tdengine-rejoin {one.name} --yes fills it"
    rows = app.outbox(estate.app, settings=TDENGINE.settings).pending_rows
    return f"{rows:,} rows wait in TDengine's outbox" if rows else ""


POSTGRESQL = Store(
    "PostgreSQL", "agent.json", "ledger.jsonl", "feed.log", _in_postgresql, _postgresql_wrong, has_timelines=True
)
TDENGINE = Store(
    "TDengine", "agent-tdengine.json", "ledger-tdengine.jsonl", "feed-tdengine.log", _in_tdengine, tdengine_wrong,
    has_timelines=False,
)  # fmt: skip
STORES = (POSTGRESQL, TDENGINE)


def named(name: str) -> Store:
    """Raises BadInput naming the stores there are."""
    found = next((store for store in STORES if store.name == name), None)
    if found is None:
        raise BadInput(f"there is no store {name!r}", f"the stores are {', '.join(store.name for store in STORES)}")
    return found
