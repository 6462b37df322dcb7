"""What a table has beside columns, key and privileges of our roles: defaults, indexes, constraints, triggers, jobs,
sequences; and the event triggers of its database.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from runbooks.probes.postgresql.content import Query, has_timescale
from runbooks.probes.postgresql.table_facts import HYPERTABLES, NO_HYPERTABLES, OF_USERS, chunks
from runbooks.table_copy.names import PUBLIC, shown

_OWN = "n.nspname !~ '^_timescaledb_'"
_TABLES = """
select n.nspname as schema, c.relname as name,
  coalesce((select json_object_agg(a.attname, coalesce(pg_get_expr(d.adbin, d.adrelid), 'identity'))
     from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     where a.attrelid = c.oid and not a.attisdropped and (d.oid is not null or a.attidentity <> '')), '{{}}')
     as defaults,
  coalesce((select json_agg(json_build_object('name', x.relname, 'definition', pg_get_indexdef(i.indexrelid),
       'primary', i.indisprimary, 'unique', i.indisunique and i.indimmediate,
       'valid', i.indisvalid and i.indisready and i.indislive,
       'plain', not i.indisunique and i.indpred is null and i.indexprs is null and m.amname = 'btree',
       'columns', (select coalesce(json_agg(a.attname order by k.nr), '[]')
          from unnest(i.indkey) with ordinality k(attnum, nr)
          join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum)) order by x.relname)
     from pg_index i join pg_class x on x.oid = i.indexrelid join pg_am m on m.oid = x.relam
     where i.indrelid = c.oid), '[]') as indexes,
  coalesce((select json_agg(json_build_object('name', o.conname, 'definition', pg_get_constraintdef(o.oid))
       order by o.conname)
     from pg_constraint o where o.conrelid = c.oid and o.contype in ('c', 'f', 'x')), '[]') as constraints,
  coalesce((select json_agg(json_build_object('name', t.tgname, 'definition', pg_get_triggerdef(t.oid))
       order by t.tgname)
     from pg_trigger t join pg_proc f on f.oid = t.tgfoid join pg_namespace n on n.oid = f.pronamespace
     where t.tgrelid = c.oid and not t.tgisinternal and {own}), '[]') as triggers,
  coalesce((select json_agg(t.tgname order by t.tgname) from pg_trigger t
     where t.tgrelid = c.oid and t.tgenabled <> 'O'), '[]') as disabled,
  coalesce((select json_agg(json_build_object('name', r.rulename, 'definition', pg_get_ruledef(r.oid))
       order by r.rulename) from pg_rewrite r where r.ev_class = c.oid), '[]') as rules,
  coalesce((select json_object_agg(a.attname, o.collname)
     from pg_attribute a join pg_type y on y.oid = a.atttypid join pg_collation o on o.oid = a.attcollation
     where a.attrelid = c.oid and a.attnum > 0 and a.attcollation <> y.typcollation), '{{}}') as collations,
  coalesce((select json_object_agg(grantee, privileges) from (
     select coalesce(r.rolname, 'PUBLIC') as grantee, string_agg(x.privilege_type, ', ' order by 1) as privileges
     from aclexplode(c.relacl) x left join pg_roles r on r.oid = x.grantee
     where x.grantee <> c.relowner group by 1) g), '{{}}') as grants,
  coalesce((select json_agg(a.attname order by a.attnum) from pg_attribute a
     where a.attrelid = c.oid and a.attacl is not null and not a.attisdropped), '[]') as granted_columns,
  pg_get_userbyid(c.relowner) as owner, c.relpersistence = 'u' as unlogged, c.relrowsecurity as row_security
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and {of_users} and c.oid not in ({chunks})
  and not exists (select from pg_depend d
    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
order by 1, 2
"""
# The largest value that is there is asked for in the same statement, whatever the table is called.
_SEQUENCES = """
select n.nspname as schema, c.relname as name, a.attname as column, s.relname as sequence,
  coalesce(pg_sequence_last_value(s.oid), 0) as last,
  coalesce(((xpath('/row/max/text()', query_to_xml(
    format('select max(%I) from %I.%I', a.attname, n.nspname, c.relname), false, true, '')))[1])::text::bigint, 0)
    as largest
from pg_depend d join pg_class s on s.oid = d.objid join pg_sequence q on q.seqrelid = s.oid and q.seqincrement > 0
join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
  and a.atttypid in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype)
join pg_class c on c.oid = d.refobjid join pg_namespace n on n.oid = c.relnamespace
where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
  and {of_users}
"""
_EVENT_TRIGGERS = """
select e.evtname as name from pg_event_trigger e where not exists (select from pg_depend d
  where d.classid = 'pg_event_trigger'::regclass and d.objid = e.oid and d.deptype = 'e') order by 1
"""
_HYPERTABLES = """
select d.hypertable_schema as schema, d.hypertable_name as name,
  min(extract(epoch from d.time_interval)) filter (where d.dimension_number = 1) as chunk_s,
  count(*) as dimensions
from timescaledb_information.dimensions d group by 1, 2
"""
_JOBS = """
select hypertable_schema as schema, hypertable_name as name, proc_name as procedure, scheduled,
  extract(epoch from coalesce(config ->> 'drop_after', config ->> 'compress_after')::interval) as after_s
from timescaledb_information.jobs where proc_name in ('policy_retention', 'policy_compression')
"""


class _Piece(BaseModel):
    model_config = ConfigDict(frozen=True)


class LiveIndex(_Piece):
    """`plain`: nothing but a b-tree over columns, not unique. `unique` holds at once."""

    name: str
    definition: str
    primary: bool
    valid: bool
    unique: bool = False
    plain: bool
    columns: tuple[str, ...]


class Named(_Piece):
    """A constraint or a trigger, as the server writes it."""

    name: str
    definition: str


class Sequence(_Piece):
    """Of one column: the last number it gave, and the largest that the column has."""

    column: str
    sequence: str
    last: int
    largest: int


class Job(_Piece):
    """A policy: what it does after so many seconds."""

    procedure: str
    scheduled: bool
    after_s: float | None


class Structure(_Piece):
    """One table of any schema. `chunk_s` is None for one that is no hypertable by time."""

    name: str
    defaults: Mapping[str, str] = {}
    indexes: tuple[LiveIndex, ...] = ()
    constraints: tuple[Named, ...] = ()
    triggers: tuple[Named, ...] = ()
    disabled: tuple[str, ...] = ()  # triggers, an extension's and the server's own too
    rules: tuple[Named, ...] = ()
    collations: Mapping[str, str] = {}  # of columns that have another than their type
    sequences: tuple[Sequence, ...] = ()
    grants: Mapping[str, str] = {}
    granted_columns: tuple[str, ...] = ()
    owner: str = ""
    unlogged: bool = False
    row_security: bool = False
    chunk_s: float | None = None
    dimensions: int = 0
    jobs: tuple[Job, ...] = ()


class Structures(_Piece):
    """Every table by name; whether hypertables are known there, and whether by an edition that has policies."""

    tables: Mapping[str, Structure]
    timescale: bool
    policies: bool
    event_triggers: tuple[str, ...] = ()


def read(query: Query) -> Structures:
    """Ask one database through `query`, which runs one SELECT there. Raises DrError."""
    timescale = has_timescale(query)
    known = HYPERTABLES if timescale else NO_HYPERTABLES
    tables = query(_TABLES.format(own=_OWN, of_users=OF_USERS, chunks=chunks(known)))
    found = {_name(row): dict(row) for row in tables}
    for row in query(_SEQUENCES.format(of_users=OF_USERS)):
        found.get(_name(row), {}).setdefault("sequences", []).append(row)
    policies = False
    if timescale:
        license_of = query("select current_setting('timescaledb.license', true) as called")[0]["called"]
        policies = license_of == "timescale"
        for row in query(_HYPERTABLES):
            found.get(_name(row), {}).update(chunk_s=row["chunk_s"], dimensions=row["dimensions"])
        for row in query(_JOBS) if policies else ():
            found.get(_name(row), {}).setdefault("jobs", []).append(row)
    structures = {name: Structure.model_validate({**row, "name": name}) for name, row in found.items()}
    events = tuple(row["name"] for row in query(_EVENT_TRIGGERS))
    return Structures(tables=structures, timescale=timescale, policies=policies, event_triggers=events)


def _name(row: Mapping[str, Any]) -> str:
    return shown(row["schema"] or PUBLIC, row["name"])
