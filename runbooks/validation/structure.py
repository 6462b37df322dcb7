"""Tables of a database held against the catalogue: everything that is missing, there beside it, or otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from inventories.catalog.postgresql.ddl import PROBE
from inventories.catalog.postgresql.policies import policies_of
from inventories.catalog.tables import Store, Table, Tables
from runbooks.probes.postgresql import schema
from runbooks.probes.postgresql.access import KNOWN_ROLES, Access
from runbooks.probes.postgresql.chunks import Lack
from runbooks.probes.postgresql.schema import LiveTable
from runbooks.probes.postgresql.structure import LiveIndex, Structure, Structures
from runbooks.validation.difference import Check, Difference

_DAY = 86400
# As the server counts intervals of months.
_SECONDS = {"hour": 3600, "day": _DAY, "week": 7 * _DAY, "month": 30 * _DAY, "year": 360 * _DAY}
_POLICY_DAYS = {"policy_retention": "retention_days", "policy_compression": "compress_after_days"}
_KNOWN_ROLES = frozenset(KNOWN_ROLES)
NONE = "none"
DATABASE = "(database)"  # what is of no table


def judge(tables: Tables, live: Mapping[str, LiveTable], more: Structures) -> tuple[Difference, ...]:
    """`live` are the tables of schema public, `more` is what every table has beside."""
    declared = {table.name: table for table in tables.of(Store.POSTGRESQL)}
    found = [one for table in declared.values() for one in _of_table(table, live.get(table.name), more)]
    if PROBE not in live:
        found.append(_off(PROBE, "table", "there", "missing"))
    found += [_off(DATABASE, f"event trigger {name}", NONE, "one") for name in more.event_triggers]
    for name, structure in more.tables.items():
        found += _sequences(structure)
        if name not in declared and name != PROBE:
            found.append(_off(name, "table", "none of that name", f"one of {structure.owner}"))
    return tuple(found)


def of_roles(found: Iterable[Access]) -> Iterable[Difference]:
    """What writer and reader may do beside their tables: as deployed, nothing but to log in and to find them."""
    there = {one.name: one for one in found}
    for name in KNOWN_ROLES:
        if (one := there.get(name)) is None:
            yield _off(DATABASE, f"role {name}", "there", "missing")
            continue
        for may, what in ((one.may_log_in, "log in"), (one.connects, "connect"), (one.uses, "use schema public")):
            if not may:
                yield _off(DATABASE, f"role {name}", f"may {what}", "may not")
        beside = {"powers": one.powers, "membership": one.member_of, "settings": ", ".join(one.settings)}
        for what, has in beside.items():
            if has:
                yield _off(DATABASE, f"{what} of role {name}", NONE, has)


def of_chunks(found: Iterable[Lack]) -> Iterable[Difference]:
    for one in found:
        yield _off(one.table, one.what, one.expected, f"none in {one.chunks:,}, {one.example} for one")


def _off(table: str, what: str, expected: object, found: object) -> Difference:
    return Difference(Check.STRUCTURE, table, what, str(expected), str(found))


def _of_table(table: Table, live: LiveTable | None, more: Structures) -> Iterable[Difference]:
    # Where nothing knows hypertables every table of the catalogue is a plain one, which is told once by each.
    for off in schema.offs(table, live):
        yield _off(off.table, off.what, off.expected, off.found)
    structure = more.tables.get(table.name)
    if structure is None:
        if live is not None:  # pg_dump leaves out an extension's, and a partition's rows are another table's
            yield _off(table.name, "table", "one of its own", "an extension's, or a partition of another")
        return
    yield from _defaults(structure)
    yield from _indexes(table, structure)
    yield from _beside(structure)
    yield from _grants(structure)
    if structure.chunk_s is not None:
        yield from _hypertable(table, structure)
    if more.policies:
        yield from _policies(table, structure)


def _defaults(structure: Structure) -> Iterable[Difference]:
    for column, default in structure.defaults.items():
        yield _off(structure.name, f"default of {column}", NONE, default)


def _indexes(table: Table, structure: Structure) -> Iterable[Difference]:
    left: list[LiveIndex] = []
    for index in structure.indexes:
        if not index.valid:
            yield _off(table.name, f"index {index.name}", "valid", "invalid")
        if not index.primary:
            left.append(index)
        elif not index.unique:
            yield _off(table.name, f"index {index.name}", "unique", "lets a key be there twice")
    for wanted in table.indexes:
        has = next((one for one in left if one.plain and one.columns == wanted.columns), None)
        if has is None:
            yield _off(table.name, f"index on ({', '.join(wanted.columns)})", "a b-tree", "missing")
        else:
            left.remove(has)
    for extra in left:
        yield _off(table.name, f"index {extra.name}", NONE, extra.definition)


def _beside(structure: Structure) -> Iterable[Difference]:
    """The catalogue declares none of these."""
    kinds = {"constraint": structure.constraints, "trigger": structure.triggers, "rule": structure.rules}
    for kind, pieces in kinds.items():
        for one in pieces:
            yield _off(structure.name, f"{kind} {one.name}", NONE, one.definition)
    by_hand = {one.name for one in structure.triggers}
    for name in structure.disabled:
        if name not in by_hand:  # that one should not be there at all
            yield _off(structure.name, f"trigger {name}", "enabled", "disabled")
    for column, collation in structure.collations.items():
        yield _off(structure.name, f"collation of {column}", "that of its type", collation)
    if structure.unlogged:
        yield _off(structure.name, "persistence", "logged", "unlogged: no standby and no backup has its rows")
    if structure.row_security:
        yield _off(structure.name, "row security", "off", "on")


def _sequences(structure: Structure) -> Iterable[Difference]:
    """One that is behind refuses the next row; numbers that it left out are no loss."""
    for one in structure.sequences:
        if one.last < one.largest:
            found = f"{one.last}, and {one.column} has {one.largest} already"
            yield _off(structure.name, f"sequence {one.sequence}", f"at least {one.largest}", found)


def _grants(structure: Structure) -> Iterable[Difference]:
    """Those of the writer and the reader are part of the schema."""
    for role, privileges in structure.grants.items():
        if role not in _KNOWN_ROLES:
            yield _off(structure.name, f"grants of {role}", "nothing", privileges)
    for column in structure.granted_columns:
        yield _off(structure.name, f"grants on column {column}", NONE, "some")
    if structure.owner in _KNOWN_ROLES:
        yield _off(structure.name, "owner", "neither writer nor reader", structure.owner)


def _hypertable(table: Table, structure: Structure) -> Iterable[Difference]:
    if table.hypertable is None:
        return  # the schema has told so
    number, unit = table.hypertable.chunk_interval.split()
    wanted = int(number) * _SECONDS[unit.rstrip("s")]
    if structure.chunk_s != wanted:
        yield _off(table.name, "chunk interval", table.hypertable.chunk_interval, _days(structure.chunk_s))
    if structure.dimensions != 1:
        yield _off(table.name, "dimensions", 1, structure.dimensions)


def _policies(table: Table, structure: Structure) -> Iterable[Difference]:
    jobs = {job.procedure: job for job in structure.jobs}
    wanted = {policy.procedure for policy in policies_of(table)}
    for procedure, field in _POLICY_DAYS.items():
        declared = f"after {getattr(table, field)} days" if procedure in wanted else NONE
        job = jobs.get(procedure)
        found = f"after {_days(job.after_s)}" if job else NONE
        if job and not job.scheduled:
            found += ", not scheduled"
        if found != declared:
            yield _off(table.name, procedure.replace("_", " "), declared, found)


def _days(seconds: float | None) -> str:
    return "no time" if seconds is None else f"{seconds / _DAY:g} days"
