"""Whether rows are what the catalogue says of them: there at all, complete, fresh, and by its rules."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace

from inventories.catalog.market import Calendar
from inventories.catalog.quality import Quality, Rule
from inventories.catalog.tables import Store, Table, Tables
from runbooks.table_copy.names import listed, literal, qualified, quoted
from runbooks.validation import declared
from runbooks.validation.difference import Check, Difference, Looked
from runbooks.validation.questions import Answer

NAMED = 5  # of the rows that break a rule
_WEEKS = "14 days"  # most newest rows are found in so many, without a look at the rest
_AHEAD_H = 24  # of the server's clock: a date is a day of somewhere, what is newer was written by a clock that is wrong


def questions(tables: Tables, quality: Quality, only: Iterable[str], rules: bool) -> dict[str, str]:
    """Questions by name: one a table that goes through its rows once, one of its age, one a rule between rows."""
    asked, chosen = {}, frozenset(only)
    for table in tables.of(Store.POSTGRESQL):
        if table.name not in chosen:
            continue
        asked[f"rows {table.name}"] = _rows(table, quality, rules)
        if fresh := quality.of(table.name).fresh:
            opened = _opened(tables, quality.calendar)
            asked[f"age {table.name}"] = _age(table, fresh.column, tables.naive_times or "UTC", opened)
    for label, rule in quality.rules.items() if rules else ():
        if rule.table in chosen:
            asked |= _of_rule(label, rule, tables[rule.table])
    return asked


def glances(tables: Tables, there: Container[str]) -> dict[str, str]:
    """Questions by name, one a table that is there: whether it has a row."""
    return {
        f"rows {table.name}": f"SELECT (EXISTS (SELECT FROM {qualified(table.name)}))::int AS n"
        for table in tables.of(Store.POSTGRESQL) if table.name in there
    }  # fmt: skip


def judge_glance(tables: Tables, quality: Quality, answers: Mapping[str, Answer]) -> Looked:
    """Of the answers to `glances`: which tables have no row and must have some."""
    asked = [table for table in tables.of(Store.POSTGRESQL) if f"rows {table.name}" in answers]
    found = _empty(asked, quality, answers)
    return replace(found, over="tables", number=len(asked))


def _rows(table: Table, quality: Quality, rules: bool) -> str:
    complete = quality.of(table.name).complete
    filled = [f"{declared.filled(table, name)} AS {quoted('filled ' + name)}" for name in complete]
    filled += declared.counts(table) if rules else []
    broken = [
        f"count(*) FILTER (WHERE NOT ({rule.every})) AS {quoted('broken ' + label)}"
        for label, rule in quality.rules.items() if rules and rule.table == table.name and rule.every
    ]  # fmt: skip
    return f"SELECT {', '.join(['count(*) AS n', *filled, *broken])} FROM {qualified(table.name)}"


def _opened(tables: Tables, calendar: Calendar | None) -> str:
    """Whether some exchange is open on day d; NULL where no table has such days."""
    if calendar is None or calendar.table not in tables.tables:
        return "NULL::boolean"
    exchanges = ", ".join(map(literal, calendar.exchanges))
    return (
        f"(SELECT bool_or(is_open) FROM {qualified(calendar.table)} WHERE calendar_date = d::date "
        f"AND exchange IN ({exchanges}))"
    )


def _age(table: Table, column: str, zone: str, opened: str) -> str:
    """Hours since the newest row, and how many of its days since then were closed: by the calendar, else weekends.

    What has no end is no moment at which a row was written, and the newest of all the same.
    """
    at, name = quoted(column), qualified(table.name)
    ever = f"SELECT max({at}) FROM {name} WHERE isfinite({at})"
    newest = f"coalesce(({ever} AND {at} > now() - interval '{_WEEKS}'), ({ever}))"
    today, then = f"(now() AT TIME ZONE '{zone}')::date", f"(newest AT TIME ZONE '{zone}')::date"
    closed = (
        f"SELECT count(*) FROM generate_series({then} + 1, {today}, interval '1 day') d "
        f"WHERE NOT coalesce({opened}, extract(isodow FROM d) < 6)"
    )
    return (
        f"SELECT newest::text AS newest, extract(epoch FROM now() - newest) / 3600 AS age_h, ({closed}) AS closed "
        f"FROM (SELECT {newest}::timestamptz AS newest) n"
    )


def _of_rule(label: str, rule: Rule, table: Table) -> dict[str, str]:
    if rule.every:
        key = f"concat_ws(' ', {listed(table.key)})"
        used = ", ".join(quoted(column.name) for column in table.columns if column.name in rule.every)
        some = (
            f"SELECT {key} AS key, {literal(rule.says)} AS expected, "
            f"row_to_json(v)::text AS found FROM (SELECT * FROM {qualified(table.name)} WHERE NOT ({rule.every}) "
            f"LIMIT {NAMED}) t, LATERAL (SELECT {used}) v"
        )
        return {f"some {label}": some}
    broken = (
        f"WITH b (key, expected, found) AS MATERIALIZED ({rule.broken}) SELECT (SELECT count(*) FROM b) AS broken, "
        f"(SELECT json_agg(to_json(s)) FROM (SELECT * FROM b ORDER BY 1 LIMIT {NAMED}) s) AS some"
    )
    over = rule.over or f"SELECT count(*) FROM {qualified(rule.table)}"
    return {f"broken {label}": f"SELECT x.*, ({over}) AS n FROM ({broken}) x"}


def judge(
    tables: Tables, quality: Quality, asked: Iterable[str], answers: Mapping[str, Answer]
) -> tuple[Looked, ...]:
    """What each kind of check went over, and what it found."""
    asked = frozenset(asked)
    chosen = [table for table in tables.of(Store.POSTGRESQL) if f"rows {table.name}" in asked]
    rules = {label: rule for label, rule in quality.rules.items() if asked & {f"some {label}", f"broken {label}"}}
    ruled_out = [one for table in chosen for one in _ruled_out(table, answers)]
    looked = [
        _empty(chosen, quality, answers), _complete(chosen, quality, answers), _fresh(chosen, quality, answers),
        *([_rules(rules, quality, answers, ruled_out)] if rules or ruled_out else []),
    ]  # fmt: skip
    return tuple(one for one in looked if one is not None)


def _number(answers: Mapping[str, Answer], question: str, name: str) -> float | None:
    """One number of an answer; None where the question was refused, or there is none."""
    answer = answers.get(question)
    if answer is None or not answer.rows:
        return None
    value = answer.rows[0].get(name)
    return None if value is None else float(value)


def _empty(chosen: Iterable[Table], quality: Quality, answers: Mapping[str, Answer]) -> Looked:
    found, rows, empty = [], 0, 0
    for table in chosen:
        number = _number(answers, f"rows {table.name}", "n")
        if number is None:
            why = answers.get(f"rows {table.name}", Answer(None, "no answer")).why
            found.append(Difference(Check.EMPTY, table.name, "rows", "an answer", why))
        elif not number:
            empty += 1
            if table.name not in quality.may_be_empty:
                found.append(Difference(Check.EMPTY, table.name, "rows", "some", "none"))
        rows += int(number or 0)
    waits = f"{empty} tables are empty" if empty else ""
    return Looked(Check.EMPTY, "rows", rows, waits, tuple(found))


def _complete(chosen: Iterable[Table], quality: Quality, answers: Mapping[str, Answer]) -> Looked | None:
    found, over = [], 0
    for table in chosen:
        expected = quality.of(table.name)
        rows = _number(answers, f"rows {table.name}", "n")
        for column in expected.complete if rows else ():
            filled = _number(answers, f"rows {table.name}", f"filled {column}") or 0.0
            over += 1
            least = expected.completeness or quality.completeness
            if rows and filled / rows < least:
                said = f"{filled / rows:.4f} of {rows:,.0f} rows"
                found.append(Difference(Check.COMPLETENESS, table.name, column, f"a value in {least:g} of rows", said))
    return Looked(Check.COMPLETENESS, "columns", over, "", tuple(found)) if over else None


def _fresh(chosen: Iterable[Table], quality: Quality, answers: Mapping[str, Answer]) -> Looked | None:
    found, over = [], 0
    for table in chosen:
        fresh, rows = quality.of(table.name).fresh, _number(answers, f"rows {table.name}", "n")
        if fresh is None or not rows:
            continue  # no row has no age, and a table that cannot be read is told already
        over += 1
        answer = answers.get(f"age {table.name}", Answer(None, "no answer"))
        if off := _aged(fresh.max_age_h or quality.max_age_h, answer):
            found.append(Difference(Check.FRESHNESS, table.name, f"newest {fresh.column}", *off))
    return Looked(Check.FRESHNESS, "tables", over, "", tuple(found)) if over else None


def _aged(most: float, answer: Answer) -> tuple[str, str] | None:
    """What was expected of the newest row and what it is, hours; None where it is so."""
    row = (answer.rows or [{}])[0]
    newest = row.get("newest")
    if newest is None:
        return "a moment", answer.why if answer.rows is None else "none in any row"
    age, closed = float(row["age_h"]), float(row["closed"] or 0)
    if age < -_AHEAD_H:  # rows of before may be of any age
        return "no later than now", f"{newest}, {-age:,.1f} h ahead of the server's clock"
    if age - 24 * closed <= most:
        return None
    return f"{most:g} h old", f"{newest}, {age:,.1f} h ago" + (f", {closed:g} days of them closed" if closed else "")


def _ruled_out(table: Table, answers: Mapping[str, Answer]) -> Iterable[Difference]:
    for row in (answers.get(f"rows {table.name}") or Answer(None)).rows or ():
        yield from declared.judge(table, row)


def _rules(
    rules: Mapping[str, Rule], quality: Quality, answers: Mapping[str, Answer], ruled_out: Iterable[Difference]
) -> Looked:
    found, over, nothing = [*ruled_out], 0, []
    for label, rule in rules.items():
        question = f"rows {rule.table}" if rule.every else f"broken {label}"
        rows = _number(answers, question, "n")
        broken = _number(answers, question, f"broken {label}" if rule.every else "broken")
        if rows is None or broken is None:
            why = answers.get(question, Answer(None, "no answer")).why
            found.append(Difference(Check.RULE, rule.table, label, rule.says, f"no answer: {why}"))
            continue
        over += 1
        if not rows:
            nothing.append(label)
            if not (rule.may_be_empty or rule.table in quality.may_be_empty):
                found.append(Difference(Check.RULE, rule.table, label, rule.says, "nothing that it could go over"))
        elif broken:
            found += _broken(label, rule, int(broken), answers)
    waits = f"nothing to go over for {', '.join(nothing)}" if nothing else ""
    return Looked(Check.RULE, "rules", over, waits, tuple(found))


def _broken(label: str, rule: Rule, number: int, answers: Mapping[str, Answer]) -> list[Difference]:
    if rule.every:
        some = (answers.get(f"some {label}") or Answer(None)).rows or []
    else:
        some = ((answers[f"broken {label}"].rows or [{}])[0].get("some")) or []
    found = [
        Difference(Check.RULE, rule.table, f"{label}: {one['key']}", str(one["expected"]), str(one["found"]))
        for one in some
    ]
    if number > len(found):
        found.append(Difference(Check.RULE, rule.table, label, rule.says, f"{number:,} that break it"))
    return found
