"""Compare what was acknowledged with what the tables hold: the only judge of lost and duplicated rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from drills.judging.fate import Fate
from drills.measuring.ranges import RangeSet
from inventories.errors import BadInput, VerificationFailed

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?")
_SEQ_MASK = (1 << 32) - 1

# One cell of JSON, so that it comes through `psql -AtX` whole. The range condition lets an index on event_id
# serve it.
_RANGES_SQL = """\
WITH per_id AS (
  SELECT event_id & {mask} AS seq, count(*) AS copies
    FROM {table} WHERE event_id BETWEEN {low} AND {high} GROUP BY 1
), islands AS (
  SELECT min(seq) AS first, max(seq) AS last
    FROM (SELECT seq, seq - row_number() OVER (ORDER BY seq) AS island FROM per_id) AS numbered GROUP BY
    island
)
SELECT json_build_object(
  'rows', (SELECT coalesce(sum(copies), 0) FROM per_id),
  'distinct', (SELECT count(*) FROM per_id),
  'duplicated', (SELECT count(*) FROM per_id WHERE copies > 1),
  'ranges', (SELECT coalesce(json_agg(json_build_array(first, last)), '[]') FROM islands))"""


@dataclass(frozen=True, slots=True)
class FoundIds:
    """The sequence numbers of one run that a table holds.

    `duplicated` ids are there more than once, `rows` counts every copy.
    """

    ids: RangeSet
    duplicated: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class TableComparison:
    """Counts of ids; `extra` was never acknowledged (in flight when the plug was pulled: allowed).

    `superseded` is for tables that keep the newest row of a key: acknowledged, no longer there under its own
    id, and a later row of the same run is. It cannot be proven id by id, so it is counted apart and said
    aloud.

    `rolled_back` was acknowledged after the point that a restore went back to, and is gone as it must be;
    `returned` should be gone with it and is there. `excused` is missing within the seconds that were promised.
    """

    table: str
    acked: int
    lost: int
    duplicated: int
    extra: int
    superseded: int = 0
    lost_ids: RangeSet = field(default_factory=RangeSet)
    rolled_back: int = 0
    returned: int = 0
    excused: int = 0
    returned_ids: RangeSet = field(default_factory=RangeSet)
    missing_ids: RangeSet = field(default_factory=RangeSet)  # lost and excused


@dataclass(frozen=True, slots=True)
class Comparison:
    tables: tuple[TableComparison, ...]

    @property
    def acked(self) -> int:
        return sum(table.acked for table in self.tables)

    @property
    def lost(self) -> int:
        return sum(table.lost for table in self.tables)

    @property
    def duplicated(self) -> int:
        return sum(table.duplicated for table in self.tables)

    @property
    def missing(self) -> dict[str, RangeSet]:
        """Numbers of required rows that are not there, excused ones included."""
        return {table.table: table.missing_ids for table in self.tables}

    @property
    def unacknowledged_extra(self) -> int:
        return sum(table.extra for table in self.tables)


def compare(
    expected: Fate, found_in: Callable[[str], FoundIds], *, newest: Collection[str] = ()
) -> Comparison:
    """Judge every table that acknowledged anything; `newest` names the tables whose later rows replace
    earlier ones.

    Our own feed never writes a natural key twice in one run, so its tables are all judged id by id.
    VerificationFailed when nothing was acknowledged that must be there: nothing would be proven.
    """
    if not any(expected.required.values()):
        raise VerificationFailed(
            "Nothing was acknowledged, so nothing was proven.",
            hint="The feed's own messages say why it could not write.",
        )
    return Comparison(
        tuple(_table(name, expected, found_in(name), name in newest) for name in sorted(expected.required))
    )


def _table(name: str, expected: Fate, found: FoundIds, keeps_newest: bool) -> TableComparison:
    required, gone = expected.required[name], expected.rolled_back.get(name, RangeSet())
    missing, superseded = required.difference(found.ids), RangeSet()
    if keeps_newest:
        after_newest = RangeSet([((found.ids.last() or 0) + 1, _SEQ_MASK)])
        superseded = missing.difference(after_newest)
        missing = missing.difference(superseded)
    lost = missing.difference(expected.excusable.get(name, RangeSet()))
    absent = gone.difference(found.ids)
    return TableComparison(
        table=name,
        acked=len(required) + len(gone),
        lost=len(lost),
        duplicated=found.duplicated,
        extra=len(found.ids.difference(required).difference(gone)),
        superseded=len(superseded),
        lost_ids=lost,
        rolled_back=len(absent),
        returned=len(gone) - len(absent),
        excused=len(missing) - len(lost),
        returned_ids=gone.difference(absent),
        missing_ids=missing,
    )


def ranges_sql(table: str, run: int) -> str:
    """The query that condenses a table's event ids of one run into one JSON cell, for `parse_found`.

    BadInput for a strange name or run.
    """
    if not _IDENTIFIER.fullmatch(table):
        raise BadInput(f"{table!r} is not a table name of the catalogue.")
    if not 0 < run < 1 << 31:
        raise BadInput(f"{run} is not the number of a feed's run.")
    low = run << 32
    return _RANGES_SQL.format(table=table, mask=_SEQ_MASK, low=low, high=low | _SEQ_MASK)


def parse_found(table: str, text: str) -> FoundIds:
    """What psql gave for `ranges_sql`. VerificationFailed when it is not that, or contradicts itself."""
    try:
        said = json.loads(text)
        ids = RangeSet((int(first), int(last)) for first, last in said["ranges"])
        found = FoundIds(ids, duplicated=int(said["duplicated"]), rows=int(said["rows"]))
        distinct = int(said["distinct"])
    except (ValueError, TypeError, KeyError):
        raise VerificationFailed(f"The ids of {table} could not be read: {text[:200]!r}.") from None
    if distinct != len(ids) or found.rows < distinct + found.duplicated:
        raise VerificationFailed(
            f"The ids of {table} contradict themselves: "
            f"{distinct} counted, {len(ids)} in ranges, {found.rows} rows."
        )
    return found


def with_phantom_row(expected: Fate) -> tuple[Fate, str]:
    """For the negative twin: a ledger with one row that no table can have, and that row's name (`table
    seq`).
    """
    forged = {table: ids.copy() for table, ids in expected.required.items()}
    if not any(forged.values()):
        raise VerificationFailed("Nothing was acknowledged, so there is no ledger to forge.")
    table = max(forged, key=lambda name: len(forged[name]))
    forged[table].add(_SEQ_MASK, _SEQ_MASK)
    return replace(expected, required=forged), f"{table} {_SEQ_MASK}"
