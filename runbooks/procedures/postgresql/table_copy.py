"""What restoring tables decides on the way: which names, which structure, what to refuse, which statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

from inventories.catalog.load import load_tables
from inventories.catalog.postgresql.ddl import PROBE
from inventories.catalog.tables import Store
from inventories.errors import BadInput, DrError, Refused
from runbooks.hosts import Host, Run
from runbooks.probes import disk
from runbooks.probes.postgresql import table_copy, tables
from runbooks.probes.postgresql.tables import Server
from runbooks.table_copy import structure
from runbooks.table_copy import write as sql
from runbooks.table_copy.compare import Pair
from runbooks.table_copy.counts import Mode, TablePlan, unfit
from runbooks.table_copy.shape import ForeignKey, Shape, parents_first
from runbooks.table_copy.source import Source

READERS = ("reader",)
MARGIN = 1.3  # free space over what is written; the WAL of it counts too


def mark_of(context: Run) -> str:
    """What the transaction leaves in dr_probe: the run's name."""
    return f"restore-table {context.run_dir.name}"


def known_names(names: Sequence[str], live: Mapping[str, Shape], anything: bool) -> None:
    """Raises BadInput for a name that is neither live nor declared. `anything`: the copy is open and will tell."""
    there = {*live, *(table.name for table in load_tables().of(Store.POSTGRESQL))}
    for name in names:
        if name in there or anything:
            continue
        near = get_close_matches(name, there, n=3, cutoff=0.6)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise BadInput(f"there is no table {name!r}", f"{meant}{_those(there)}")


def _those(names: Sequence[str] | set[str]) -> str:
    return f"the tables are {', '.join(sorted(names))}"


def free_names(names: Sequence[str], mode: Mode, keep: bool, live: Mapping[str, Shape]) -> None:
    """Raises Refused when the table that this mode leaves behind is there from an earlier time."""
    suffix = sql.RESTORED if mode is Mode.BESIDE else sql.REPLACED if mode is Mode.REPLACE and keep else ""
    for name in names:
        left = f"{name}{suffix}"
        if suffix and len(left) > 63:
            raise BadInput(f"{left} would be longer than PostgreSQL's 63 characters", "choose another mode")
        if suffix and left in live:
            raise Refused(f"{left} is there already", f"look at it, then: drop table {left}")


def planned(live: Server, copy: Server, names: Sequence[str], mode: Mode, bin_folder: str) -> tuple[TablePlan, ...]:
    """Every table as both servers have it, parents first. Raises BadInput, Refused."""
    copied, there = tables.shapes(copy), tables.shapes(live)
    absent = [name for name in names if name not in copied]
    if absent:
        near = get_close_matches(absent[0], copied, n=3, cutoff=0.6)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise BadInput(f"the copy has no table {absent[0]!r} at that point", f"{meant}{_those(set(copied))}")
    _require_parents(names, copied, there)
    ordered = parents_first(copied[name] for name in names)
    plans = (_plan(live, copy, copied[name], there.get(name), mode, bin_folder) for name in ordered)
    return tuple(plan.model_copy(update={"referred_by": _left_behind(plan, there, names)}) for plan in plans)


def _require_parents(names: Sequence[str], copied: Mapping[str, Shape], there: Mapping[str, Shape]) -> None:
    """Raises Refused for a dropped table whose parent was dropped too and is not restored with it."""
    for name in names:
        lost = sorted({fk.parent for fk in copied[name].foreign_keys} - {*there, *names})
        if lost and name not in there:
            raise Refused(
                f"{name} refers to {' and '.join(lost)}, which was dropped as well",
                f"restore it too: --tables {','.join([*lost, *names])}",
            )


def _left_behind(plan: TablePlan, there: Mapping[str, Shape], names: Sequence[str]) -> tuple[ForeignKey, ...]:
    """Foreign keys of living tables, and of those made again, that a DROP ... CASCADE of this one took along."""
    has = {(fk.child, fk.name) for shape in there.values() for fk in shape.foreign_keys}
    alive = {*there, *names}
    return tuple(fk for fk in plan.copied.referred_by if fk.child in alive and (fk.child, fk.name) not in has)


def _plan(live: Server, copy: Server, copied: Shape, there: Shape | None, mode: Mode, bin_folder: str) -> TablePlan:
    key = (there or copied).key
    if not key or (there and copied.key != there.key):
        raise Refused(
            f"{copied.name} has no primary key, or another one than at the target: its rows cannot be compared",
            "./dr restore-pitr leaves a side cluster open to copy from by hand",
        )
    if copied.unlogged or copied.partitioned:
        kind = "unlogged: no backup holds its rows" if copied.unlogged else "partitioned: name its partitions"
        raise Refused(f"{copied.name} is {kind}", "tables that are logged and not partitioned can be restored")
    if there is None and mode is not Mode.BESIDE:
        return _made(live, copy, copied, bin_folder)
    if there and mode is not Mode.BESIDE:
        _require_fit(copied, {column.name: column.type for column in there.columns})
    return TablePlan(copied=copied, live=there)


def _require_fit(copied: Shape, columns: Mapping[str, str]) -> None:
    why = unfit(copied, columns)
    if why:
        raise Refused(why, f"--mode beside leaves the copy as {copied.name}{sql.RESTORED}")


def _made(live: Server, copy: Server, copied: Shape, bin_folder: str) -> TablePlan:
    """A dropped table: from the catalogue, else from the copy's own definition where that says everything."""
    declared = load_tables().tables.get(copied.name)
    if declared is not None and declared.store is Store.POSTGRESQL:
        _require_fit(copied, tables.declared_types(declared))
        before, after = structure.catalogued(declared, table_copy.edition_has_policies(live))
        return TablePlan(copied=copied, before=before, after=after)
    if copied.name == PROBE:
        return TablePlan(copied=copied, before=structure.probe())
    if copied.hypertable:
        raise Refused(
            f"{copied.name} was a hypertable that the catalogue does not know, so it cannot be made again as it was",
            f"declare it in inventories/catalog/tables.yaml, or --mode beside leaves its rows in "
            f"{copied.name}{sql.RESTORED}",
        )
    table, indexes = (
        table_copy.definition(copy, bin_folder, copied.name, section, 60) for section in ("pre-data", "post-data")
    )
    return TablePlan(copied=copied, before=(table,), after=(indexes,), dumped=True)


def check_condition(copy: Server, plans: Sequence[TablePlan], where: str) -> None:
    """Raises BadInput unless `where` is one condition on every table. It is tried on the copy, which is read-only."""
    if ";" in where or "--" in where or "/*" in where or "@" in where:
        raise BadInput(f"--where {where!r} holds more than one condition", "give what follows WHERE, such as id < 10")
    for plan in plans:
        try:
            table_copy.accepts(copy, plan.name, where)
        except DrError as error:
            raise BadInput(
                f"--where {where!r} is no condition on {plan.name}: {str(error).rpartition('ERROR:')[2].strip()}",
                "give what follows WHERE, with columns of the table",
            ) from error


def judge(plans: Sequence[TablePlan], mode: Mode) -> None:
    """Raises Refused where writing would leave nothing, or rows without their parents."""
    for plan in plans:
        counts = plan.counts
        assert counts is not None
        if counts.restored == 0:
            raise Refused(
                f"{plan.name} had no rows at that point: there is nothing to restore",
                "choose another target: ./dr restore-pitr without --swap shows what a point in time holds",
            )
        if mode is Mode.BESIDE:
            continue
        keys = {fk.name: fk for fk in (*(plan.live or plan.copied).foreign_keys, *plan.copied.referred_by)}
        keys |= {fk.name: fk for fk in (plan.live.referred_by if plan.live else ())}
        for name, count in counts.orphans.items():
            if count:
                raise Refused(_orphaned(plan.name, keys[name], count), f"restore {keys[name].parent} too: "
                              f"--tables {keys[name].parent},{plan.name}")  # fmt: skip
        for name, count in counts.bereaved.items():
            if count and mode is Mode.REPLACE:
                child = keys[name].child
                raise Refused(
                    f"{count} live rows of {child} refer to rows of {plan.name} that a replacement would delete",
                    f"restore both: --tables {plan.name},{child}; or --mode merge",
                )


def _orphaned(table: str, fk: ForeignKey, count: int) -> str:
    return f"{count} rows to be restored into {table} refer to rows of {fk.parent} that are not live ({fk.name})"


def room(context: Run, host: Host, plans: Sequence[TablePlan], mode: Mode) -> None:
    """Raises Refused when the primary's disk has no room for the rows and their WAL."""
    need = sum(_bytes(plan, mode) for plan in plans) * MARGIN
    where = f"/var/lib/postgresql/{context.estate.data['postgres_version']}/main"
    disks = disk.look(host, (where,))
    free = min((one.free_bytes for one in disks), default=0)
    if free < need:
        raise Refused(
            f"{host} has {free >> 20} MiB free in {where}, and writing the rows takes about {int(need) >> 20} MiB",
            "make room, or restore fewer tables at once",
        )


def _bytes(plan: TablePlan, mode: Mode) -> float:
    """What writing takes at most: the rows with their indexes, the same again as WAL, and what is staged or kept."""
    counts = plan.counts
    assert counts is not None
    share = min(1.0, counts.written(mode) / max(1, counts.restored))
    staged = 0.0 if plan.live is None or mode is Mode.BESIDE else 0.5
    kept = plan.live.size_bytes if plan.live and mode is Mode.REPLACE else 0
    return plan.copied.size_bytes * (2 * share + staged) + 2 * kept


def body(
    plans: Sequence[TablePlan], pairs: Sequence[Pair], mode: Mode, source: Source, keep_replaced: bool
) -> str:
    """Every statement between the transaction's begin and its mark, tables in the order of their foreign keys."""
    probe = "".join(f"{line};\n" for line in structure.probe())
    if mode is Mode.BESIDE:
        return probe + "".join(sql.beside(pair, READERS, source) for pair in pairs)
    live = [(nr, pair) for nr, pair in enumerate(pairs) if pair.live]
    text = probe + (_cleared(live, source, keep_replaced) if mode is Mode.REPLACE and live else "")
    for nr, (plan, pair) in enumerate(zip(plans, pairs, strict=True)):
        if plan.live is None:
            text += sql.made(pair, sql.Made(plan.before, plan.after), source) + sql.settings()
        elif mode is Mode.REPLACE:
            text += sql.replace(nr, pair)
        elif plan.counts and plan.counts.missing:
            text += sql.merge(nr, pair, plan.counts.buckets, source)
    return text + sql.referring(lost_keys(plans)) + "".join(sql.sequences(plan.copied) for plan in plans)


def _cleared(live: Sequence[tuple[int, Pair]], source: Source, keep_replaced: bool) -> str:
    """Writers shut out, the old content kept, the rows that the copy lacks deleted: children before their parents."""
    return (
        sql.lock(pair for _, pair in live)
        + ("".join(sql.keep(pair, READERS) for _, pair in live) if keep_replaced else "")
        + "".join(sql.stage(nr, pair, source) for nr, pair in live)
        + "".join(sql.remove(nr, pair) for nr, pair in reversed(live))
    )


def lost_keys(plans: Sequence[TablePlan]) -> tuple[ForeignKey, ...]:
    """Foreign keys that went with a dropped table: those of others that refer to it, and its own.

    What pg_dump told of a table outside the catalogue brings that table's own back already.
    """
    found: dict[tuple[str, str], ForeignKey] = {}
    for plan in plans:
        if plan.live is not None:
            continue
        own = () if plan.dumped else plan.copied.foreign_keys
        for fk in (*own, *plan.referred_by):
            found[fk.child, fk.name] = fk
    dumped = {plan.name for plan in plans if plan.dumped}
    return tuple(fk for fk in found.values() if fk.child not in dumped)


def targets(pairs: Sequence[Pair], mode: Mode, live: Mapping[str, Shape], xid: int) -> tuple[Pair, ...]:
    """The pairs to compare afterwards: the copy with what it was written to."""
    suffix = sql.RESTORED if mode is Mode.BESIDE else ""
    return tuple(
        replace(pair, live=live.get(pair.copy.name + suffix), parents=(), children=(), since_xid=xid or None)
        for pair in pairs
    )
