"""What restoring tables decides on the way: which names, which structure, what to refuse, which statements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
from runbooks.procedures.postgresql.table_plan import nearest
from runbooks.table_copy import definition
from runbooks.table_copy import write as sql
from runbooks.table_copy.counts import (
    REPLACED,
    RESTORED,
    Making,
    Mode,
    TablePlan,
    bereaved,
    chosen_live,
    collided,
    orphaned,
)
from runbooks.table_copy.names import beside, too_long
from runbooks.table_copy.pair import Pair
from runbooks.table_copy.shape import ForeignKey, Shape
from runbooks.table_copy.source import Source

READERS = ("reader",)
_XIDS = 1 << 32  # a row knows the lower half of the transaction that wrote it
MARGIN = 1.3  # free space over what is written; the WAL of it counts too


def mark_of(context: Run) -> str:
    """What the transaction leaves in dr_probe: the run's name."""
    return f"restore-table {context.run_dir.name}"


def known_names(names: Sequence[str], live: Iterable[str], anything: bool) -> tuple[str, ...]:
    """Those that are neither live nor declared: dropped ones, if the copy has them. `anything`: it is open already.

    Raises BadInput for one that is nearly another: to find a slip of the pen in the copy takes a whole restore.
    """
    there = {*live, *(table.name for table in load_tables().of(Store.POSTGRESQL))}
    unknown = tuple(name for name in names if name not in there and not anything)
    for name in unknown:
        near = get_close_matches(name, there, n=1, cutoff=0.9)
        if near and _letters(near[0]) != _letters(name):  # orders_2024 is no orders_2025
            raise BadInput(
                f"there is no table {name!r}",
                f"{nearest(name, there)}; if it was dropped, restore-table of {near[0]} opens the copy, "
                f"and --from takes {name} from it",
            )
    return unknown


def _letters(name: str) -> str:
    return "".join(letter for letter in name if not letter.isdigit())


def free_names(names: Sequence[str], mode: Mode, keep: bool, live: Server) -> None:
    """Raises Refused when the table that this mode leaves behind is there from an earlier time."""
    suffix = RESTORED if mode is Mode.BESIDE else REPLACED if mode is Mode.REPLACE and keep else ""
    left = [beside(name, suffix) for name in names] if suffix else []
    for name in left:
        if too_long(name):
            raise BadInput(f"{name} would be longer than PostgreSQL's 63 bytes", "choose another mode")
    for name in tables.taken(live, left):
        raise Refused(f"{name} is there already", f"look at it, then: drop table {name}")


def check_condition(copy: Server, pairs: Sequence[Pair], where: str) -> None:
    """Raises BadInput unless `where` is one condition on every table. It is tried on the copy, which is read-only."""
    if ";" in where or "--" in where or "/*" in where or "@" in where:
        raise BadInput(f"--where {where!r} holds more than one condition", "give what follows WHERE, such as id < 10")
    for pair in pairs:
        try:
            table_copy.accepts(copy, pair.origin, f"({where}) IS TRUE")
        except DrError as error:
            raise BadInput(
                f"--where {where!r} is no condition on {pair.copy.name}: {str(error).rpartition('ERROR:')[2].strip()}",
                "give what follows WHERE, with columns of the table",
            ) from error


def judge(plans: Sequence[TablePlan], mode: Mode, where: str = "") -> None:
    """Raises Refused where writing would leave nothing, rows without their parents, or what is taken already."""
    empty = [plan.name for plan in plans if plan.live and plan.counts and plan.counts.restored == 0]
    if empty and len(empty) == len(plans):  # of several one may have been empty: the others need it to be so again
        raise Refused(
            f"{' and '.join(empty)} had no rows at that point: there is nothing to restore",
            "choose another target: ./dr restore-pitr without --swap shows what a point in time holds",
        )
    for plan in plans:
        assert plan.counts is not None
        if mode is not Mode.BESIDE:
            _judge_condition(plan, mode)
            _judge_keys(plan, mode)
            _judge_values(plan)
            _judge_deletions(plan, mode)
            if not where:  # a condition may have left out just those rows; the server knows
                _judge_partitions(plan)


def _judge_condition(plan: TablePlan, mode: Mode) -> None:
    if mode is Mode.REPLACE and plan.counts and plan.counts.elsewhere:
        raise Refused(
            f"{plan.counts.elsewhere} {chosen_live(plan.name)}: replacing would delete them",
            "give a --where on columns that did not change since, such as the key's; or leave it out",
        )


def _judge_keys(plan: TablePlan, mode: Mode) -> None:
    counts = plan.counts
    assert counts is not None
    up = {fk.name: fk for fk in (plan.live or plan.copied).foreign_keys}
    lost = [up[name] for name, count in counts.orphans.items() if count]
    if lost:
        parents = list(dict.fromkeys(fk.parent for fk in lost))
        raise Refused(
            "; ".join(orphaned(plan.name, fk, counts.orphans[fk.name]) for fk in lost),
            f"restore {' and '.join(parents)} too: --tables {','.join([*parents, plan.name])}",
        )
    down = {fk.label: fk for fk in (plan.live.referred_by if plan.live else ())}
    left = [down[label] for label, count in counts.bereaved.items() if count and mode is Mode.REPLACE]
    if left:
        children = list(dict.fromkeys(fk.child for fk in left))
        raise Refused(
            "; ".join(bereaved(plan.name, fk, counts.bereaved[fk.label]) for fk in left),
            f"restore them together: --tables {','.join([plan.name, *children])}; or --mode merge",
        )


def _judge_values(plan: TablePlan) -> None:
    counts = plan.counts
    assert counts is not None
    aside = f"--mode beside leaves the copy as {beside(plan.name, RESTORED)}"
    taken = {name: found for name, found in counts.collisions.items() if found.rows}
    if taken:
        raise Refused(
            "; ".join(collided(plan.name, name, found) for name, found in taken.items()),
            f"--mode replace takes away what is only live; --where leaves rows out; {aside}",
        )
    for name, count in counts.unmet.items():
        if count:
            raise Refused(
                f"{count} rows to be restored into {plan.name} do not meet {name}, as it is now",
                f"--where leaves rows out; {aside}",
            )


def _judge_deletions(plan: TablePlan, mode: Mode) -> None:
    counts, live = plan.counts, plan.live
    if mode is Mode.REPLACE and counts and live and live.undeletable and counts.differing + counts.only_live:
        raise Refused(
            f"{plan.name} is published with its deletions and has no replica identity, so no row of it can be replaced",
            f"alter table {plan.name} replica identity full; or --mode merge",
        )


def _judge_partitions(plan: TablePlan) -> None:
    counts, live = plan.counts, plan.live
    if counts and live and live.partitioned and counts.missing and set(plan.copied.partitions) - set(live.partitions):
        gone = ",".join(sorted(set(plan.copied.partitions) - set(live.partitions)))
        raise Refused(
            f"{plan.name} lacks {counts.missing} rows, and has lost partitions: {gone}",
            f"restore those first: --tables {gone}",
        )


def judge_losses(plans: Sequence[TablePlan], mode: Mode, accepted: bool) -> None:
    """Raises Refused when something does not come back and nobody has agreed to that."""
    lost = [line for plan in plans for line in plan.lost]
    if lost and mode is not Mode.BESIDE and not accepted:
        more = f", and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise Refused(
            f"not everything comes back: {lost[0]}{more}",
            "--yes --accept-loss restores the rest; --mode beside leaves the copy beside the table",
        )


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
    plans: Sequence[TablePlan], pairs: Sequence[Pair], making: Making, mode: Mode, source: Source, keep_replaced: bool
) -> str:
    """Every statement between the transaction's begin and its mark."""
    text = "" if any(plan.live is None and plan.name == PROBE for plan in plans) else _lines(definition.probe())
    if mode is Mode.BESIDE:
        return text + "".join(sql.beside(pair, READERS, source) for pair in pairs)
    text += _lines(making.before) + sql.settings()
    live = [(nr, pair) for nr, pair in enumerate(pairs) if pair.live]
    if mode is Mode.REPLACE and live:
        text += _replaced(live, source, keep_replaced)
    if mode is Mode.MERGE:
        text += _merged([(nr, pair, plans[nr]) for nr, pair in live], source)
    within = {name for pair in pairs if not pair.live for name in pair.copy.partitions}
    text += "".join(sql.made(pair, source) for pair in pairs if not pair.live and pair.copy.name not in within)
    text += _lines(making.after) + sql.settings()
    return text + sql.referring(lost_keys(plans)) + "".join(sql.sequences(plan.copied, plan.live) for plan in plans)


def _lines(statements: Iterable[str]) -> str:
    return "".join(f"{line};\n" for line in statements)


def _replaced(live: Sequence[tuple[int, Pair]], source: Source, keep_replaced: bool) -> str:
    """The copy's rows fetched, writers shut out, the old content kept, then all goes that is not as it was, and all
    comes back that was. The copy gives way to whoever works on its host, so nobody waits while it is read.
    """
    pairs = [pair for _, pair in live]
    off, on = sql.hooks(pairs)
    return (
        "".join(sql.stage(nr, pair, source) for nr, pair in live)
        + sql.lock(pairs) + sql.lock_children(pairs)
        + "".join(sql.chosen(nr, pair, source) for nr, pair in live)
        + ("".join(sql.keep(nr, pair, READERS) for nr, pair in live) if keep_replaced else "")
        + off + sql.AS_WRITTEN
        + "".join(sql.remove(nr, pair) for nr, pair in reversed(live))
        + "".join(sql.replace(nr, pair) for nr, pair in live)
        + sql.AS_EVER + on
        + "".join(sql.proved(nr, pair, pairs) + sql.unique(nr, pair) for nr, pair in live)
        + "".join(sql.still_referred(nr, pair) for nr, pair in live)
    )  # fmt: skip


def _merged(live: Sequence[tuple[int, Pair, TablePlan]], source: Source) -> str:
    found = [(nr, pair, plan.counts) for nr, pair, plan in live if plan.counts and plan.counts.missing]
    rows = "".join(sql.merge(nr, pair, counts.buckets, source) for nr, pair, counts in found)
    return rows + "".join(sql.proved(nr, pair, ()) + sql.unique(nr, pair) for nr, pair, _ in found)


def lost_keys(plans: Sequence[TablePlan]) -> tuple[ForeignKey, ...]:
    """Foreign keys of living tables that went with a dropped one; its own are part of its definition."""
    return tuple(fk for plan in plans if plan.live is None for fk in plan.referred_by)


def left(names: Sequence[str], mode: Mode) -> tuple[str, ...]:
    """The tables that this mode writes to."""
    return tuple(beside(name, RESTORED) for name in names) if mode is Mode.BESIDE else tuple(names)


def targets(pairs: Sequence[Pair], mode: Mode, live: Mapping[str, Shape], xid: int) -> tuple[Pair, ...]:
    """The pairs to compare afterwards: the copy with what it was written to."""
    if mode is Mode.BESIDE:
        return tuple(replace(pair.alone, live=live.get(beside(pair.copy.name, RESTORED))) for pair in pairs)
    return tuple(
        replace(pair, live=live.get(pair.copy.name), parents=(), children=(), since_xid=xid % _XIDS or None)
        for pair in pairs
    )  # fmt: skip
