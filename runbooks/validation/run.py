"""`./dr validate --store postgresql`: every check of a level, on the primary. Nothing is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from urllib.parse import quote

from inventories.catalog import load_quality, load_tables
from inventories.catalog.quality import Quality
from inventories.catalog.tables import OnConflict, Store, Tables
from inventories.errors import BadInput
from runbooks.engine.budgets import budget
from runbooks.engine.lock import state_dir
from runbooks.hosts import Estate
from runbooks.marks import holding
from runbooks.probes.outbox import POSTGRESQL
from runbooks.probes.postgresql import access, chunks, schema, structure
from runbooks.probes.postgresql.server import Node, survey, the_primary
from runbooks.probes.postgresql.tables import Server
from runbooks.probes.tdengine import agreement as ticks
from runbooks.probes.tdengine import backups as tdengine
from runbooks.validation import (
    agreement,
    baseline,
    beside_file,
    copies,
    exchange,
    rules,
    samples,
    trading_days,
    yielding,
)
from runbooks.validation import structure as judging
from runbooks.validation.baseline import Baseline
from runbooks.validation.content import Copies, compare
from runbooks.validation.difference import Check, Difference, Looked
from runbooks.validation.known_days import Package
from runbooks.validation.narrowed import kept_from, narrowed
from runbooks.validation.report import Report

Say = Callable[[str], object]
NOT_SAVED = (
    "The baseline is still the one of before: what differs from it would be taken for good. Without --against baseline "
    "--save-baseline saves what is there"
)


class Level(StrEnum):
    """How closely is looked.

    `quick`: structure, completeness, freshness; `full`: the rules too, and content by its hashes; `deep`: every row,
    whatever hashes say.
    """

    QUICK = "quick"
    FULL = "full"
    DEEP = "deep"


class Against(StrEnum):
    """What content is held against."""

    STANDBY = "standby"
    RESTORED = "restored"
    BASELINE = "baseline"


@dataclass(frozen=True)
class Options:
    """`tables` are those to look at, all without any; the structure is that of all. `side`: a side cluster or standby.

    `mark`: content is held against what it bound. `since`: of tables with a time column only days from that moment's on
    are compared; of a mark what was acknowledged from then on. `file`: content is held against a file's rows.
    """

    level: Level = Level.QUICK
    tables: tuple[str, ...] = ()
    against: Against | None = None
    side: str = ""
    baseline: Path | None = None  # where it is kept, the estate's own place without one
    save_baseline: bool = False
    mark: str = ""
    since: datetime | None = None
    file: Path | None = None


@dataclass(frozen=True)
class _Ground:
    """What a validation is of: `names` are the tables, `kept` the baseline's file."""

    estate: Estate
    nodes: tuple[Node, ...]
    primary: Node
    server: Server
    known: Tables
    quality: Quality
    names: tuple[str, ...]
    kept: Path


def validate(estate: Estate, options: Options, say: Say) -> Report:
    """Raises BadInput, Refused where there is no primary or nothing to compare with, DrError."""
    started = time.monotonic()
    known = load_tables()
    quality = load_quality().fits(known)
    names = chosen(known, options.tables)
    nodes = survey(estate)
    primary = the_primary(nodes)
    server = Server(primary.host, str(estate.data["database"]))
    kept = options.baseline or state_dir() / "baselines" / f"{quote(estate.name, safe='')}.json"
    compared, against = _compared(
        _Ground(estate, nodes, primary, server, known, quality, names, kept), options, say
    )
    checks = look(server, known, quality, names, options.level, say)
    sampled, ms = _sampled(server, known, names, checks, baseline.took(kept, estate.name))
    report = Report(
        POSTGRESQL, primary.name, options.level.value, against, len(names), (*checks, *sampled, *compared),
        time.monotonic() - started, ms,
    )  # fmt: skip
    if options.save_baseline and options.against is Against.BASELINE and any(one.differences for one in compared):
        return replace(report, note=NOT_SAVED)
    if options.save_baseline:
        say("Saving a baseline")
        tables, _ = copies.hashed(known, names, server)
        baseline.write(baseline.take(server, estate.name, tables, budget("validate.look"), ms), kept)
    return report


def _compared(ground: _Ground, options: Options, say: Say) -> tuple[tuple[Looked, ...], str]:
    """What content came to, and what it was held against; nothing where it was not."""
    database, known, names = ground.server.database, ground.known, ground.names
    from_then = f" since {options.since:%Y-%m-%d %H:%M UTC}" if options.since else ""
    if options.against is Against.BASELINE:
        held = baseline.read(ground.kept)
        found = since(ground.server, held, known, names, options.since)
        return (found,), f"the baseline of {_utc(held.moment.at)}{from_then}"
    if options.against is Against.STANDBY:
        pair, beside = copies.standby(ground.nodes, ground.primary, database, options.side)
        found = replace(_with_copy(pair, known, names, options, say), undecided=beside)
        return (found,), f"{pair.other.host}{from_then}"
    if options.against is Against.RESTORED:
        pair, name = copies.restored(ground.estate, ground.primary.host, database, options.side)
        return (_with_copy(pair, known, names, options, say),), f"side cluster {name}{from_then}"
    if options.mark:
        mark, found_at = _at_the_mark(ground, options, say)
        return found_at, f"mark {options.mark} of {mark}{from_then}"
    if options.file:
        say(f"Holding rows against those of {options.file.name}")
        tables = beside_file.tables(options.file, known, names, bool(options.tables))
        found = beside_file.compare(ground.server, options.file, known, tables, budget("validate.look"))
        return (found,), f"{options.file.name}, {len(tables)} of these tables"
    return (), ""


def _at_the_mark(ground: _Ground, options: Options, say: Say) -> tuple[str, tuple[Looked, ...]]:
    """The mark's moment; what had been acknowledged by then, and where the stores do not agree of the time before."""
    held = holding.find(ground.estate, options.mark, POSTGRESQL)
    say("Looking for every row that was acknowledged by the time of the mark")
    moment = options.since.timestamp() if options.since else 0.0
    if options.tables:
        return held.mark.moment, (holding.acknowledged(held, moment, ground.names),)
    content = holding.looked(held, moment, ())
    say("Holding orders, fills, ticks and bars of before the mark against one another")
    span = agreement.Span(moment or held.mark.at - agreement.DAY_S, held.mark.at)
    return held.mark.moment, (content, agreed(ground.estate, ground.server, ground.known, ground.quality, span))


def agreed(estate: Estate, server: Server, known: Tables, quality: Quality, span: agreement.Span) -> Looked:
    """Which rows of that time lack what belongs to them in another store."""
    limit, declared = budget("validate.look"), quality.agreement
    asked = agreement.questions(declared, span)
    said = yielding.ask(server, asked, limit) if asked else {}
    look = partial(ticks.look, estate.backup, timeout=limit) if tdengine.is_there(estate) else None
    return agreement.judge(declared, known, span, said, look)


def _sampled(
    server: Server, known: Tables, names: tuple[str, ...], checks: Iterable[Looked], before: Mapping[str, float]
) -> tuple[tuple[Looked, ...], Mapping[str, float]]:
    """The check of the sample queries, none where no table of theirs is looked at, and their milliseconds."""
    fits = samples.fitting(known, names)
    if not fits:
        return (), {}
    asked = samples.ask(server, known, fits, budget("validate.look"))
    spoilt = {one.table for check in checks if check.check is Check.STRUCTURE for one in check.differences}
    return (samples.judge(asked, before, spoilt),), asked.ms


def _utc(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def _with_copy(pair: Copies, known: Tables, names: tuple[str, ...], options: Options, say: Say) -> Looked:
    growing = frozenset(name for name in names if known[name].on_conflict is OnConflict.IGNORE)
    pair = replace(pair, every_row=options.level is Level.DEEP, growing=growing)
    tables, lacks = copies.hashed(known, names, pair.base, pair.other)
    found = compare(pair, narrowed(tables, options.since).values(), say)
    return replace(found, differences=(*lacks, *found.differences))


def since(
    server: Server, held: Baseline, known: Tables, names: tuple[str, ...], moment: datetime | None = None
) -> Looked:
    """What differs from a baseline, tables that are gone included; with `moment` from its day on."""
    every, _ = copies.hashed(known, names, server)
    tables = narrowed(every, moment)
    found = baseline.compare(kept_from(held, tables), server, tables, known, budget("validate.look"))
    gone = [name for name in held.tables if name in names and name not in tables]
    lacks = [Difference(Check.CONTENT, name, "table", "there", "missing") for name in gone]
    return replace(found, differences=(*lacks, *found.differences))


def look(
    server: Server, known: Tables, quality: Quality, names: tuple[str, ...], level: Level, say: Say,
    package: Package = exchange.days,
) -> tuple[Looked, ...]:  # fmt: skip
    """The checks that need no second copy of the rows."""
    limit = budget("validate.look")
    say("Holding the structure against the catalogue")
    live, more = schema.read(server.query), structure.read(server.query)
    found = (
        *judging.judge(known, live, more), *judging.of_roles(access.read(server.query)),
        *judging.of_chunks(chunks.read(server.query)),
    )  # fmt: skip
    say("Looking whether rows are there, complete, fresh" + ("" if level is Level.QUICK else ", and as the rules say"))
    asked = rules.questions(known, quality, names, level is not Level.QUICK)
    days = {} if level is Level.QUICK else trading_days.questions(known, quality, names)
    said = yielding.ask(server, {**asked, **days}, limit)
    return (
        Looked(Check.STRUCTURE, "tables", len(more.tables), "", found), *rules.judge(known, quality, asked, said),
        *trading_days.judge(quality, said, package),
    )  # fmt: skip


def chosen(tables: Tables, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The catalogue's tables of these names, all without any. Raises BadInput."""
    there = [table.name for table in tables.of(Store.POSTGRESQL)]
    for name in wanted:
        if name not in there:
            known = f"its tables are {', '.join(there)}"
            raise BadInput(f"the catalogue has no table {name} in PostgreSQL", known)
    return tuple(name for name in there if not wanted or name in wanted)
