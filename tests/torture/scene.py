"""The torture schema laid in a live database, its copy of a moment, and one try of a case or of several together.

Whoever has both says how the live one is made anew and how restore-table is run; what is looked at is the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.drills.doors import Ended
from tests.torture.cases import Case, Kind
from tests.torture.database import REPLACED, RESTORED, Content, Database, differences, suffixed

_DDL = re.compile(r"\b(ALTER|CREATE|DROP)\b")


@dataclass(frozen=True)
class Aside:
    """The rows of a table that was left beside another one, and those that it must have; None: it is not there."""

    rows: object
    wanted: object


@dataclass(frozen=True)
class Tried:
    """One restore-table: what it said without --yes where that was asked, its end, the rows before it and after."""

    cases: tuple[Case, ...]
    compared: Ended | None
    unwilling: Ended | None  # with --yes, where something does not come back and nobody has agreed to that
    ended: Ended
    damaged: Content
    after: Content
    aside: Mapping[str, Aside]  # by table, what the mode left beside it
    positions: tuple[Mapping[str, int], Mapping[str, int]]
    changed: Mapping[str, tuple[str, str]]  # definitions that differ: before and after


@dataclass
class Scene:
    """The schema in a live database and in a copy, and what it was at that moment.

    The live one is made anew with every identifier kept, so that each table and type is the very one that the copy has.
    """

    kinds: Mapping[str, Kind]
    live: Database
    keys: Mapping[str, str] = field(default_factory=dict)
    before: Content = field(default_factory=dict)
    positions: Mapping[str, int] = field(default_factory=dict)
    definitions: Mapping[str, str] = field(default_factory=dict)
    _together: dict[tuple[str, str], Tried | None] = field(default_factory=dict)

    @property
    def copy(self) -> Database:
        raise NotImplementedError

    def fresh(self) -> None:
        """Make the live database anew."""
        raise NotImplementedError

    def restore(self, tables: str, mode: str, *consent: str) -> Ended:
        """Run restore-table from the copy."""
        raise NotImplementedError

    @property
    def cases(self) -> tuple[Case, ...]:
        return tuple(case for kind in self.kinds.values() for case in kind.cases)

    def look(self) -> None:
        """Note what the schema is now."""
        self.keys = self.live.keys(table for case in self.cases for table in (*case.tables, *case.same))
        self.keys = {**self.keys, **{case.table: case.key for case in self.cases if case.key}}
        self.positions = self.live.positions(name for case in self.cases for name in case.sequences)
        self.definitions = self.live.definitions()
        self.before = self.content(self.cases)

    def content(self, cases: Iterable[Case], server: Database | None = None) -> Content:
        given = tuple(cases)
        tables = [table for case in given for table in (*case.tables, *case.same)]
        only = [case.table for case in given if case.rows_by_only]
        return (server or self.live).content(tables, self.keys, only)

    def tried(self, case: Case, mode: str) -> Tried:
        """With all others of its file in one command where nothing is against that; alone where that did not pass."""
        if not _goes_together(case, mode):
            return self._try((case,), mode)
        wanted = case.kind, mode
        if wanted not in self._together:
            cases = tuple(other for other in self.kinds[case.kind].cases if _goes_together(other, mode))
            found = self._try(cases, mode)
            self._together[wanted] = found if found.ended.code == 0 else None
        return self._together[wanted] or self._try((case,), mode)

    def _try(self, cases: tuple[Case, ...], mode: str) -> Tried:
        live, one = self.live, cases[0]
        self.fresh()
        harm = [case.loss if mode == "drop" else case.damage for case in cases]
        live.sql("RESET ALL;\n".join(harm))
        sequences = [name for case in cases for name in case.sequences]
        damaged, before = self.content(cases), live.positions(sequences)
        expected = live.definitions() if mode == "drop" or any(_DDL.search(text) for text in harm) else self.definitions
        words = ",".join(table for case in cases for table in case.tables), "merge" if mode == "drop" else mode
        live.sql("".join(case.armed for case in cases))
        try:
            consent = bool(one.changed_in(mode) or (one.lost and mode == "drop"))
            compared = self.restore(*words) if one.told_in(mode) or consent else None
            ended = self.restore(*words, "--yes")
            unwilling = ended if consent else None
            if consent:
                ended = self.restore(*words, "--yes", "--accept-loss")
        finally:
            live.sql("".join(case.disarmed for case in cases))
        if mode == "drop" and ended.code == 0:
            expected = self.definitions
        return Tried(
            cases, compared, unwilling, ended, damaged, self.content(cases),
            self._aside(cases, mode, damaged) if ended.code == 0 else {}, (before, live.positions(sequences)),
            differences(expected, live.definitions()),
        )  # fmt: skip

    def _aside(self, cases: tuple[Case, ...], mode: str, damaged: Content) -> dict[str, Aside]:
        tables = [table for case in cases for table in case.tables]
        if mode == "replace":
            kept = {table: suffixed(table, REPLACED) for table in tables}
            found = self.live.content(kept.values(), {kept[table]: self.keys.get(table, "") for table in tables})
            return {table: Aside(found[kept[table]], damaged[table]) for table in tables}
        if mode == "beside":
            alone = {case.table for case in cases if case.rows_by_only}
            return {table: self._beside(table, table in alone) for table in tables}
        return {}

    def _beside(self, table: str, alone: bool) -> Aside:
        name = suffixed(table, RESTORED)
        columns = self.live.columns(name)
        if not columns:
            return Aside(None, table)
        return Aside(self.live.values(name, columns), self.copy.values(f"{'ONLY ' if alone else ''}{table}", columns))


def _goes_together(case: Case, mode: str) -> bool:
    alone = case.told or case.armed or case.same or case.lost or case.changes is not None or len(case.tables) > 1
    return mode in case.modes and mode not in case.refused and not alone


def of_case(tried: Tried, case: Case) -> dict[str, tuple[str, str]]:
    """Of what was changed: what tells of this case's tables, and what tells of no case's."""
    return {
        name: texts
        for name, texts in tried.changed.items()
        if _tells_of(case, texts) or not any(_tells_of(other, texts) for other in tried.cases)
    }


def _tells_of(case: Case, texts: tuple[str, str]) -> bool:
    return any(re.search(rf'(?<![\w"]){re.escape(table)}(?![\w"])', text) for table in case.tables for text in texts)
