"""Which other copy of the rows there is to compare with: a standby, a restored side cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from inventories.catalog.tables import Tables
from inventories.errors import BadInput, Refused
from runbooks.engine.budgets import budget
from runbooks.hosts import Estate, Host
from runbooks.probes.postgresql import side, tables
from runbooks.probes.postgresql.server import Node
from runbooks.probes.postgresql.tables import Server
from runbooks.table_copy.shape import Shape
from runbooks.validation.content import Copies
from runbooks.validation.difference import Check, Difference
from runbooks.validation.hashing import Hashed


def standby(nodes: Sequence[Node], primary: Node, database: str, name: str = "") -> tuple[Copies, str]:
    """The primary and a standby that follows it, and what is to be said of other ones, which nobody looks at.

    Raises BadInput for a name of none, Refused where none follows.
    """
    every = [node for node in nodes if node.is_standby and not node.host.entry.delay_s]
    standbys = [node for node in every if not name or node.name == name]
    if name and not standbys:
        known = ", ".join(node.name for node in every) or "none"
        raise BadInput(f"{name} is no standby that answers, without a delay ({known})", "./dr status shows each host")
    if not standbys:
        raise Refused("no standby answers", "./dr status shows what each host is")
    node = next((one for one in standbys if one.streams), standbys[0])
    if node.system != primary.system:
        said = f"{node.name} is of another system than {primary.name}"
        raise Refused(said, f"./dr rejoin {node.name} makes it a standby of this one")
    if node.timeline != primary.timeline:
        said = f"{node.name} is on timeline {node.timeline}, {primary.name} on {primary.timeline}"
        raise Refused(said, f"./dr rejoin {node.name} brings it onto the primary's")
    if node.replay_paused:
        raise Refused(f"replay is paused on {node.name}", f"SELECT pg_wal_replay_resume() on {node.name}")
    here, there = Server(primary.host, database), Server(node.host, database)
    others = [one.name for one in every if one is not node]
    beside = f"not compared: {', '.join(others)} (--side {others[0]})" if others else ""
    return Copies(here, there, True, budget("validate.look"), budget("validate.replay")), beside


def restored(estate: Estate, primary: Host, database: str, name: str) -> tuple[Copies, str]:
    """A side cluster on the primary's host and the primary, and its name. Raises BadInput without one."""
    ready = [one for one in side.every(primary) if one.ready and one.running]
    found = [one for one in ready if not name or one.name == name]
    if len(found) != 1:
        there = ", ".join(one.name for one in ready) or "none"
        which = f"no side cluster {name}" if name else "not one side cluster alone"
        raise BadInput(
            f"{primary} has {which} that is ready to be compared with ({there})",
            "./dr restore-pitr restores one beside; --side NAME chooses",
        )
    copy = Server(primary, database, f"-h {found[0].socket} -p {found[0].port}")
    return Copies(copy, Server(primary, database), False, budget("validate.look")), found[0].name


def hashed(
    known: Tables, names: Iterable[str], base: Server, other: Server | None = None
) -> tuple[dict[str, Hashed], list[Difference]]:
    """The tables as both sides have them, and what one side lacks."""
    names = tuple(names)
    ours = tables.shapes(base, names)
    theirs = tables.shapes(other, names) if other else ours
    found: dict[str, Hashed] = {}
    lacks: list[Difference] = []
    for name in names:
        a, b = ours.get(name), theirs.get(name)
        if a is not None and b is not None:
            lacks += _columns_of_one_side(a, b)
            found[name] = _hashed(known, a, b)
        elif a is not None or b is not None:
            there, gone = ("there", "missing") if a is not None else ("missing", "there")
            lacks.append(Difference(Check.CONTENT, name, "table", there, gone))
    return found, lacks


def _hashed(known: Tables, base: Shape, other: Shape) -> Hashed:
    there = {column.name: column for column in other.columns}
    columns = tuple(
        column.model_copy(update={"folds": column.folds or there[column.name].folds})
        for column in base.copied if column.name in there
    )  # fmt: skip
    declared = known[base.name].time_column
    names = {column.name for column in columns}
    compressed = any("timescaledb.compress" in line for line in (*base.policies, *other.policies))
    return Hashed(base, columns, declared if declared in names else None, not compressed)


def _columns_of_one_side(base: Shape, other: Shape) -> Iterable[Difference]:
    ours, theirs = ({column.name: column.type for column in shape.copied} for shape in (base, other))
    for name in sorted(ours.keys() | theirs.keys()):
        has, found = ours.get(name, "missing"), theirs.get(name, "missing")
        if has != found:
            yield Difference(Check.CONTENT, base.name, f"column {name}", has, found)
