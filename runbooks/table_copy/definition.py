"""How dropped tables are made again: what pg_dump says of the copy's, and what TimescaleDB's catalogue adds to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from inventories.catalog.postgresql import ddl
from runbooks.table_copy.counts import Making
from runbooks.table_copy.names import literal, shown, split
from runbooks.table_copy.shape import Shape
from runbooks.table_copy.source import own_triggers_off, plain_settings

_TOKEN = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | \$(?P<tag>[^\W\d]\w*|)\$.*?\$(?P=tag)\$ | --[^\n]*\n? | /\*.*?\*/ | ; | .""",
    re.VERBOSE | re.DOTALL,
)
# psql's own commands, which newer versions of pg_dump write around what they dump.
_RESTRICT = re.compile(r"^\\(?:un)?restrict .*$", re.MULTILINE)
_SESSION = re.compile(r"(?:SET \w+ =|SELECT pg_catalog\.set_config|DO ')")
# Without these there is no table to speak of.
_ESSENTIAL = re.compile(
    r"(?:CREATE (?:UNLOGGED )?TABLE|SELECT create_hypertable|.*\bPRIMARY KEY\b|ALTER TABLE ONLY \S+ ATTACH)", re.DOTALL
)
_QUALIFIED = r'((?:"(?:[^"]|"")+"|[\w$]+)\.(?:"(?:[^"]|"")+"|[\w$]+))'
_NAME = r'("(?:[^"]|"")+"|[\w$]+)'
_INDEX = re.compile(
    rf"ALTER TABLE (?:ONLY )?{_QUALIFIED}\s+ADD CONSTRAINT {_NAME} |"
    rf"CREATE (?:UNIQUE )?INDEX {_NAME} ON (?:ONLY )?{_QUALIFIED}\s"
)
_INDEX_ATTACH = re.compile(rf"ALTER INDEX {_QUALIFIED} ATTACH PARTITION ")
_ONLY = re.compile(rf"ALTER TABLE ONLY {_QUALIFIED}\s")
_TRIGGER = re.compile(rf"ALTER TABLE {_QUALIFIED} (?:DISABLE|ENABLE ALWAYS|ENABLE REPLICA) TRIGGER ")
_ATTACH = re.compile(rf"ALTER TABLE ONLY {_QUALIFIED} ATTACH PARTITION ")
_CREATE = re.compile(
    rf"CREATE (?:UNLOGGED )?(TABLE|SEQUENCE) {_QUALIFIED}\s|ALTER TABLE .*?\bSEQUENCE NAME {_QUALIFIED}\s", re.DOTALL
)
# TimescaleDB makes its own triggers, and our session has its own patience.
_LEFT_OUT = re.compile(r"CREATE TRIGGER .* EXECUTE FUNCTION _timescaledb_|SET \w+_timeout =", re.DOTALL)


def statements(dumped: str) -> tuple[str, ...]:
    """The statements of a dump without its comments."""
    found, current, depth = [], "", 0
    for match in _TOKEN.finditer(_RESTRICT.sub("", dumped)):
        piece = match[0]
        if piece.startswith(("--", "/*")):
            continue
        depth += {"(": 1, ")": -1}.get(piece, 0)
        if piece == ";" and depth == 0:  # a rule may have several actions, in brackets
            found.append(current.strip())
            current = ""
        else:
            current += piece
    return tuple(line for line in (*found, current.strip()) if line)


def making(before: str, after: str, shapes: Sequence[Shape]) -> Making:
    """`before` and `after` are pg_dump's sections of all these tables together."""
    hypertables = {shape.name for shape in shapes if shape.hypertable}
    first, last = (
        [_whole(line, hypertables) for line in statements(section) if not _LEFT_OUT.match(line)]
        for section in (before, after)
    )
    made = {name for shape in shapes for name in (shape.name, *shape.partitions)}
    first, last = _attached_last(first, last, made)
    first = [line for statement in first for line in (statement, *_unprivileged(statement))]
    facts = [line for shape in shapes for line in shape.facts]
    extras = [line for shape in shapes for line in (*shape.policies, *shape.extras)]
    back = [line for line in plain_settings().splitlines() if line]
    return Making(
        before=(*first, *(line.rstrip(";") for line in back), *facts),
        after=(*last, *(line.rstrip(";") for line in back), *extras),
    )


def _whole(statement: str, hypertables: set[str]) -> str:
    """TimescaleDB takes no ONLY, which pg_dump writes of every table; and before 2.27 no other state of a trigger."""
    match = _ONLY.match(statement) or _TRIGGER.match(statement)
    if match is None or shown(*split(match[1])) not in hypertables:
        return statement
    alter = f"ALTER TABLE {statement[match.start(1) :]}"
    return _as_restored(alter) if _TRIGGER.match(alter) else alter


def _as_restored(alter: str) -> str:
    """As a restore of the whole database has it, where TimescaleDB refuses it: without telling the chunks."""
    restoring = "PERFORM set_config('timescaledb.restoring', '{}', true)".format
    body = (
        f"BEGIN {alter}; EXCEPTION WHEN feature_not_supported THEN "
        f"{restoring('on')}; {alter}; {restoring('off')}; END"
    )
    return f"DO LANGUAGE plpgsql {literal(body)}"


def _unprivileged(statement: str) -> tuple[str, ...]:
    """Takes back what default privileges of the live database give to whatever is made there."""
    match = _CREATE.match(statement)
    if match is None:
        return ()
    kind, name = (match[1], match[2]) if match[1] else ("SEQUENCE", match[3])
    granted = f"SELECT DISTINCT grantee FROM pg_class, aclexplode(relacl) WHERE oid = {literal(name)}::regclass"
    revoke = f"format('REVOKE ALL ON {kind} %s FROM %s', {literal(name)}, who)"
    who = "CASE one.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(one.grantee)) END"
    body = (
        f"DECLARE one record; who text; BEGIN FOR one IN {granted} AND grantee <> relowner LOOP "
        f"who := {who}; EXECUTE {revoke}; END LOOP; END"
    )
    return (f"DO {literal(body)}",)


def _attached_last(first: list[str], last: list[str], made: set[str]) -> tuple[list[str], list[str]]:
    """A partition of a living table is attached once it has its own indexes, else it is given others.

    Where it is partitioned itself, those are whole only when they have the indexes of its own partitions.
    """
    found = [line for line in first if (match := _ATTACH.match(line)) and shown(*split(match[1])) not in made]
    at = next((nr for nr, line in enumerate(last) if line.startswith("ALTER INDEX")), len(last))
    indexes = {name for line in last if (name := _index_of(line))}
    own = [line for line in last if (match := _INDEX_ATTACH.match(line)) and shown(*split(match[1])) in indexes]
    rest = [line for line in last[at:] if line not in own]
    return [line for line in first if line not in found], [*last[:at], *own, *found, *rest]


def _index_of(statement: str) -> str:
    """The index that a statement makes; empty when it makes none."""
    match = _INDEX.match(statement)
    if match is None:
        return ""
    table, name = (match[1], match[2]) if match[1] else (match[4], match[3])
    return shown(split(table)[0], split(name)[1])


def told(making: Making) -> frozenset[str]:
    """What a definition says, so that two can be compared: without what a session is told."""
    return frozenset(line for line in (*making.before, *making.after) if says(line))


def says(statement: str) -> bool:
    """Whether it is about a table, and not about the session."""
    return _SESSION.match(statement) is None


def essential(statement: str) -> bool:
    return _ESSENTIAL.match(statement) is not None


def without(making: Making, left_out: Iterable[str]) -> Making:
    gone = set(left_out)
    return Making(
        before=tuple(line for line in making.before if line not in gone),
        after=tuple(line for line in making.after if line not in gone),
    )


def rehearsal(lines: Iterable[str]) -> str:
    """Try every statement, and undo them all. Prints a line of JSON for each that fails: (its number, why)."""
    text = plain_settings() + "SET lock_timeout = '5s';\nSET statement_timeout = '60s';\nBEGIN;\n" + own_triggers_off()
    text += "\\set ON_ERROR_STOP off\n\\set ON_ERROR_ROLLBACK on\n"
    for nr, line in enumerate(lines):
        failed = f"SELECT json_build_array({nr}, :'LAST_ERROR_MESSAGE');\n"
        text += f"{line} \\g /dev/null\n\\if :ERROR\n{failed}\\endif\n"
    return text + "\\set ON_ERROR_STOP on\nROLLBACK;\n"


def failed(said: str, lines: Sequence[str]) -> dict[str, str]:
    """Statement -> why it fails, of what a rehearsal printed; one that only had to wait too long may yet succeed."""
    found = (json.loads(line) for line in said.splitlines() if line.startswith("["))
    return {lines[nr]: why for nr, why in found if "lock timeout" not in why}


def probe() -> tuple[str, ...]:
    """The table that takes the mark of a commit; it may be the very one that was dropped."""
    return tuple(ddl.probe_statements())

