"""What rows meet or cause where they are written: parents that are gone, children left alone, values that are taken.

Of rows that differ, off_N has every expression asked for twice: "c:i" as the copy has it, "l:i" as it is live.
"""

from __future__ import annotations

from dataclasses import dataclass

from runbooks.table_copy.counts import Mode
from runbooks.table_copy.names import literal, quoted
from runbooks.table_copy.pair import Pair, match
from runbooks.table_copy.shape import EVENT_ID, Check, ForeignKey, Index, Shape

SHOWN = 3  # examples of a collision


@dataclass(frozen=True)
class Asked:
    """Expressions over a row, called t, that both servers are asked for; `mode` None: nothing is to be written."""

    expressions: tuple[str, ...]
    key: tuple[str, ...]
    mode: Mode | None

    @classmethod
    def of(cls, pair: Pair, live: Shape, mode: Mode | None) -> Asked:
        columns = [*pair.key, *([EVENT_ID] if pair.versioned else [])]
        columns += [name for fk in pair.parents for name in fk.columns if set(fk.columns) <= set(pair.columns)]
        found = [f"t.{quoted(name)}" for name in columns]
        if mode in (Mode.MERGE, Mode.REPLACE):
            found += [f"t.{quoted(name)}" for fk in _known(pair) for name in fk.parent_columns]
            for _, index in watched(pair, live, mode):
                found += [expression for expression, _ in index.elements]
                found += [index.predicate] if index.predicate else []
            found += [check.expression for check in new_checks(pair)]
        return cls(tuple(dict.fromkeys(found)), pair.key, mode)

    def at(self, expression: str) -> int:
        return self.expressions.index(expression)

    def columns(self, names: tuple[str, ...], side: str) -> tuple[str, ...]:
        return tuple(f"{side}:{self.at(f't.{quoted(name)}')}" for name in names)

    @property
    def selected(self) -> str:
        return ", ".join(f'({expression}) AS "v:{i}"' for i, expression in enumerate(self.expressions))

    @property
    def written(self) -> str:
        """Which of the rows that differ are written."""
        return "o.missing" if self.mode is Mode.MERGE else "NOT o.only_live"


def watched(pair: Pair, live: Shape, mode: Mode | None) -> tuple[tuple[int, Index], ...]:
    """Indexes that rows may collide in. A whole table that becomes the copy's meets what the copy has met."""
    if mode not in (Mode.MERGE, Mode.REPLACE):
        return ()
    met = {index.definition for index in pair.copy.uniques} if mode is Mode.REPLACE and not pair.where else set()
    return tuple((at, index) for at, index in enumerate(live.uniques) if index.definition not in met)


def _known(pair: Pair) -> tuple[ForeignKey, ...]:
    """Keys of children to columns that the copy has; of newer ones the writing itself will tell."""
    return tuple(fk for fk in pair.children if set(fk.parent_columns) <= pair.asked)


def new_checks(pair: Pair) -> tuple[Check, ...]:
    """What the live table asks of a row, and the copy's did not, or not of every one."""
    if pair.live is None:
        return ()
    known = {check.expression for check in pair.copy.checks if check.valid}
    found = [check for check in pair.live.checks if check.expression not in known]
    for name in pair.columns:
        now, was = pair.live.column(name), pair.copy.column(pair.source(name))
        if now and not now.nullable and (was is None or was.nullable):
            found.append(Check(name=f"{name} is not null", expression=f"t.{quoted(name)} IS NOT NULL"))
    return tuple(found)


def orphans(nr: int, pair: Pair, asked: Asked) -> str:
    """For each foreign key the rows to be restored whose parent is not live."""
    counts = []
    for fk in pair.parents:
        if not set(fk.columns) <= set(pair.columns):
            continue  # the live table's own value, which has its parent
        own = asked.columns(fk.columns, "c")
        given = (" OR " if fk.full else " AND ").join(f"o.{quoted(name)} IS NOT NULL" for name in own)
        found = match("p", fk.parent_columns, "o", own)
        counts += [
            literal(fk.name),
            f"(SELECT count(*) FROM off_{nr} o WHERE {asked.written} AND ({given}) "
            f"AND NOT EXISTS (SELECT FROM {fk.parents} p WHERE {found}))",
        ]
    return _object(counts)


def bereaved(nr: int, pair: Pair, asked: Asked) -> str:
    """For each foreign key that refers to this table the live rows that a replacement would rob of their parent."""
    counts = []
    for fk in _known(pair) if asked.mode is Mode.REPLACE else ():
        was, becomes = asked.columns(fk.parent_columns, "l"), asked.columns(fk.parent_columns, "c")
        child = match("k", fk.columns, "o", was)
        stays = match("f", becomes, "o", was)
        counts += [
            literal(fk.label),
            f"(SELECT count(*) FROM off_{nr} o JOIN {fk.children} k ON {child} WHERE NOT o.missing "
            f"AND NOT EXISTS (SELECT FROM off_{nr} f WHERE NOT f.only_live AND {stays}))",
        ]
    return _object(counts)


def looked_for(nr: int, pair: Pair, live: Shape, asked: Asked) -> str:
    """Temporary tables of who would collide with whom, one for each unique index or exclusion constraint."""
    return "".join(_met(nr, at, index, pair, live, asked) for at, index in watched(pair, live, asked.mode))


def _met(nr: int, at: int, index: Index, pair: Pair, live: Shape, asked: Asked) -> str:
    """Rows to be written and the rows that stay, or others to be written, with the same values."""
    values = [asked.at(expression) for expression, _ in index.elements]
    under = f'o."c:{asked.at(index.predicate)}"' if index.predicate else "true"
    keys = ", ".join(f't.{quoted(name)}' for name in pair.key)
    shown = ", ".join(f'({expression}) AS "e:{i}"' for i, (expression, _) in enumerate(index.elements))
    there = f"SELECT {shown}, ROW({keys})::text AS of_dr_k, {keys} FROM {live.rows} AS t"
    there += f" WHERE {index.predicate}" if index.predicate else ""
    live_key, copy_key = asked.columns(pair.key, "l"), asked.columns(pair.key, "c")
    same = index.alike([f'o."c:{value}"' for value in values], [f't."e:{i}"' for i in range(len(values))])
    # In a replacement those rows stay that no condition chose, and those that are the same already.
    gone = f"SELECT FROM off_{nr} f WHERE NOT f.missing AND {match('f', live_key, 't', pair.key)}"
    stays = "true" if asked.mode is Mode.MERGE else f"NOT EXISTS ({gone})"
    name = f"met_{nr}_{at}"
    own = f"ROW({', '.join(f'o.{quoted(one)}' for one in copy_key)})::text"
    text = (
        f"CREATE TEMP TABLE {name} AS SELECT {own} AS one, t.of_dr_k AS other "
        f"FROM off_{nr} o JOIN ({there}) t ON {same} WHERE {asked.written} AND {under} AND {stays};\n"
    )
    if any(index.definition == known.definition for known in pair.copy.uniques):
        return text  # the copy's rows cannot meet each other
    both = index.alike([f'o."c:{value}"' for value in values], [f't."c:{value}"' for value in values])
    other = f"ROW({', '.join(f't.{quoted(one)}' for one in copy_key)})::text"
    theirs = f'AND t."c:{asked.at(index.predicate)}"' if index.predicate else ""
    return text + (
        f"INSERT INTO {name} SELECT {own}, {other} FROM off_{nr} o JOIN off_{nr} t ON {both} "
        f"WHERE {asked.written} AND {asked.written.replace('o.', 't.')} AND {under} {theirs} AND {own} < {other};\n"
    )


def collisions(nr: int, pair: Pair, live: Shape, asked: Asked) -> str:
    """By index the rows that collide and some of them, each with its partner."""
    found = []
    for at, index in watched(pair, live, asked.mode):
        name = f"met_{nr}_{at}"
        some = f"SELECT one, other FROM {name} ORDER BY one, other LIMIT {SHOWN}"
        found += [
            literal(index.name),
            f"(SELECT json_build_object('rows', (SELECT count(DISTINCT one) FROM {name}), 'some', "
            f"(SELECT coalesce(json_agg(json_build_array(one, other)), '[]') FROM ({some}) s)))",
        ]
    return _object(found)


def unmet(nr: int, pair: Pair, asked: Asked) -> str:
    """By check of the live table the rows to be written that do not meet it."""
    counts = []
    for check in new_checks(pair) if asked.mode in (Mode.MERGE, Mode.REPLACE) else ():
        value = f'o."c:{asked.at(check.expression)}"'
        counts += [
            literal(check.name), f"(SELECT count(*) FROM off_{nr} o WHERE {asked.written} AND {value} IS FALSE)",
        ]  # fmt: skip
    return _object(counts)


def _object(pairs: list[str]) -> str:
    """A function takes a hundred arguments: so many pairs one by one."""
    if not pairs:
        return "'{}'::json"
    several = [f"({name}, to_json({value}))" for name, value in zip(pairs[::2], pairs[1::2], strict=True)]
    return f"(SELECT json_object_agg(name, value) FROM (VALUES {', '.join(several)}) j(name, value))"
