"""What every table held at one moment, as hashes by day: kept in a file, and held against the tables later.

A baseline is of one system, whatever host has it: a failover and a restore keep the system. Rows alone that were
written before it are compared; a table that is changed in place may have lost versions since, which is told apart from
rows that are gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inventories.catalog.tables import OnConflict, Tables
from inventories.errors import BadInput, Refused, VerificationFailed
from runbooks import files
from runbooks.probes.postgresql.tables import Server
from runbooks.table_copy.rowhash import EPOCH
from runbooks.validation import yielding
from runbooks.validation.difference import Check, Difference, Looked
from runbooks.validation.hashing import Hashed
from runbooks.validation.questions import Answer
from runbooks.validation.snapshot import NAME, QUESTION, Snapshot, snapshot_of

_NONE: Mapping[str, float] = {}
Sum = tuple[int, str, str]  # rows, the sum and the XOR of their hashes


class Kept(BaseModel):
    """One table: its columns as (name, type), the hashes of its days (since 2000) by their number.

    `nullable` are those that could be NULL, as what can is hashed otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[tuple[str, str], ...]
    nullable: frozenset[str]
    days: Mapping[int, Sum]


class Baseline(BaseModel):
    """`moment` is the snapshot; hashes of another version of the server, or of our expression, are not comparable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: int = 2
    estate: str
    moment: Snapshot
    tables: Mapping[str, Kept]
    samples: Mapping[str, float] = Field(default_factory=dict)  # what sample queries took, in milliseconds

    @property
    def rows(self) -> int:
        return sum(n for table in self.tables.values() for n, *_ in table.days.values())


def take(
    server: Server, estate: str, tables: Mapping[str, Hashed], timeout: float, samples: Mapping[str, float] = _NONE
) -> Baseline:
    """Every table in one snapshot. Raises BadInput where they have no row, VerificationFailed where one of them cannot
    be read: a baseline would say that it had none. DrError.
    """
    asked = {NAME: QUESTION, **{name: one.buckets() for name, one in tables.items()}}
    said = yielding.ask(server, asked, timeout)
    moment = snapshot_of(said)
    for name in tables:
        if (refused := said.get(name, Answer(None, "no answer"))).rows is None:
            raise VerificationFailed(
                f"no baseline is saved: {name} cannot be hashed: {refused.why}",
                "./dr validate --store postgresql tells more; --tables and --baseline FILE keep one of the others",
            )
    kept = {
        name: Kept(columns=_columns(one), nullable=_nullable(one), days=_days(said, name))
        for name, one in tables.items()
    }
    made = Baseline(estate=estate, moment=moment, tables=kept, samples=samples)
    if not made.rows:
        raise BadInput("these tables have no row, and a baseline of none proves nothing", "fill them first")
    return made


def write(made: Baseline, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.put(path, made.model_dump_json())


def read(path: Path) -> Baseline:
    """Raises BadInput where there is none, or something else."""
    try:
        found = Baseline.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"there is no baseline at {path}", "./dr validate --store postgresql --save-baseline") from None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise BadInput(f"{path} is no baseline: {str(error).splitlines()[0]}", "save a new one") from error
    if found.form != Baseline.model_fields["form"].default:
        raise BadInput(f"{path} is a baseline of form {found.form}, which nothing reads", "save a new one")
    return found


def took(path: Path, estate: str) -> Mapping[str, float]:
    """What sample queries took when that estate's baseline was saved, in milliseconds; empty without one."""
    try:
        found = read(path)
    except BadInput:
        return _NONE
    return found.samples if found.estate == estate else _NONE


def compare(
    kept: Baseline, server: Server, tables: Mapping[str, Hashed], known: Tables, timeout: float
) -> Looked:
    """Raises Refused for a baseline of another system."""
    seen = kept.moment.seen("t.xmin")
    there = {name: _as_then(one, kept.tables[name]) for name, one in tables.items() if name in kept.tables}
    asked = {NAME: QUESTION, **{name: one.buckets(seen) for name, one in there.items()}}
    asked |= {f"later {name}": one.later(seen) for name, one in there.items()}
    said = yielding.ask(server, asked, timeout)
    _of_this(kept, snapshot_of(said), server)
    found, changed, rows = [], [], 0
    for name, table in kept.tables.items():
        if name not in there:
            continue
        rows += sum(n for n, *_ in table.days.values())
        if table.columns != _columns(there[name]):
            had, has = _listed(table.columns), _listed(_columns(there[name]))
            found.append(Difference(Check.CONTENT, name, "columns", had, has))
            continue
        if (refused := said.get(name, Answer(None, "no answer"))).rows is None:
            found.append(Difference(Check.CONTENT, name, "rows", "an answer", refused.why))
            continue
        later = {int(row["bucket"]): int(row["n"]) for row in said[f"later {name}"].rows or ()}
        grows = known[name].on_conflict is OnConflict.IGNORE
        lost, moved = _of_table(there[name], table.days, _days(said, name), later, grows)
        found += lost
        changed += [f"{moved} days of {name}"] if moved else []
    unknown = [f"rewritten since in part, and not comparable: {', '.join(changed)}"] if changed else []
    if lacks := [name for name in tables if name not in kept.tables]:
        unknown.append(f"not in the baseline: {', '.join(lacks)}")
    return Looked(Check.CONTENT, "rows of the baseline", rows, "", tuple(found), unknown="; ".join(unknown))


def _of_table(
    one: Hashed, before: Mapping[int, Sum], now: Mapping[int, Sum], later: Mapping[int, int], grows: bool
) -> tuple[list[Difference], int]:
    """Differences by day, and how many days may differ as rows of theirs were written again."""
    found, moved, name = [], 0, one.shape.name
    for day in sorted(before.keys() | now.keys()):
        had, has, newer = before.get(day, (0, "", "")), now.get(day, (0, "", "")), later.get(day, 0)
        if had == has:
            continue
        if newer and not grows and had[0] <= has[0] + newer:
            moved += 1
            continue
        written = f", {newer:,} written since" if newer else ""
        what = f"rows of {date_of(day)}" if one.time_column else "rows"
        if had[0] == has[0]:
            found.append(Difference(Check.CONTENT, name, what, f"{had[0]:,} as they were", f"others{written}"))
        else:
            found.append(Difference(Check.CONTENT, name, what, f"{had[0]:,}", f"{has[0]:,}{written}"))
    return found, moved


def _of_this(kept: Baseline, moment: Snapshot, server: Server) -> None:
    if kept.moment.system != moment.system:
        raise Refused(
            f"the baseline is of another estate: system {kept.moment.system} of {kept.estate}, and {server.host} is "
            f"{moment.system}",
            "save a baseline of this estate: ./dr validate --store postgresql --save-baseline",
        )
    if kept.moment.version != moment.version:
        raise Refused(
            f"the baseline was made by PostgreSQL {kept.moment.version}, and {server.host} has {moment.version}, "
            "which may hash the same row to another number",
            "save a new baseline after an upgrade",
        )


def _columns(one: Hashed) -> tuple[tuple[str, str], ...]:
    return tuple((column.name, column.type) for column in one.columns)


def _nullable(one: Hashed) -> frozenset[str]:
    return frozenset(column.name for column in one.columns if column.nullable)


def _as_then(one: Hashed, kept: Kept) -> Hashed:
    """Its rows hashed as those of the baseline were, whatever may be NULL today."""
    columns = (column.model_copy(update={"nullable": column.name in kept.nullable}) for column in one.columns)
    return replace(one, columns=tuple(columns))


def _days(said: Mapping[str, Answer], name: str) -> dict[int, Sum]:
    rows = said.get(name, Answer(None)).rows or ()
    return {int(row["bucket"]): (int(row["n"]), row["one"], row["other"]) for row in rows}


def date_of(day: int) -> str:
    """Of a day since 2000."""
    try:
        return str(date.fromisoformat(EPOCH.split("'")[1]) + timedelta(days=day))
    except OverflowError:
        return "infinity" if day > 0 else "-infinity"


def _listed(columns: tuple[tuple[str, str], ...]) -> str:
    return json.dumps([f"{name} {kind}" for name, kind in columns])
