"""Tables of schema public as a server on a host has them: the live one, or a side cluster beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from inventories.catalog.tables import Table
from runbooks.hosts import Host
from runbooks.probes.postgresql.schema import canonical
from runbooks.table_copy.shape import Shape, parse

_SHAPES = """
with fks as materialized (
  select o.conrelid, o.confrelid, json_build_object('name', o.conname,
    'child', r.relname, 'parent', p.relname,
    'columns', (select json_agg(a.attname order by k.nr) from unnest(o.conkey) with ordinality k(attnum, nr)
       join pg_attribute a on a.attrelid = o.conrelid and a.attnum = k.attnum),
    'parent_columns', (select json_agg(a.attname order by k.nr) from unnest(o.confkey) with ordinality k(attnum, nr)
       join pg_attribute a on a.attrelid = o.confrelid and a.attnum = k.attnum),
    'definition', pg_get_constraintdef(o.oid)) as fk
  from pg_constraint o join pg_class r on r.oid = o.conrelid join pg_class p on p.oid = o.confrelid
  where o.contype = 'f' and r.relnamespace = 'public'::regnamespace)
select coalesce(json_agg(row_to_json(q)), '[]') from (
select c.relname as name,
  (select json_agg(json_build_object('name', attname, 'type', format_type(atttypid, atttypmod),
       'nullable', not attnotnull, 'generated', attgenerated <> '', 'always', attidentity = 'a') order by attnum)
     from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped) as columns,
  coalesce((select json_agg(a.attname order by k.nr)
     from pg_index i, unnest(i.indkey) with ordinality k(attnum, nr), pg_attribute a
     where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid and a.attnum = k.attnum), '[]') as key,
  (select column_name from timescaledb_information.dimensions d
     where d.hypertable_schema = 'public' and d.hypertable_name = c.relname and d.dimension_number = 1
       and d.column_type::text in ('date', 'timestamp with time zone', 'timestamp without time zone')) as time_column,
  coalesce((select json_agg(f.fk) from fks f where f.conrelid = c.oid), '[]') as foreign_keys,
  coalesce((select json_agg(f.fk) from fks f where f.confrelid = c.oid), '[]') as referred_by,
  coalesce((select json_agg(json_build_array(a.attname, s.seq, coalesce(v.last_value, 0)) order by a.attnum)
     from pg_attribute a, lateral (select pg_get_serial_sequence(c.oid::regclass::text, a.attname) as seq) s,
       lateral (select pg_sequence_last_value(s.seq::regclass) as last_value) v
     where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and s.seq is not null), '[]') as sequences,
  c.relpersistence = 'u' as unlogged,
  c.relkind = 'p' as partitioned,
  h.hypertable_name is not null as hypertable,
  case when h.hypertable_name is null then pg_total_relation_size(c.oid)
    else coalesce(hypertable_size(c.oid::regclass), 0) end as size_bytes
from pg_class c left join timescaledb_information.hypertables h
  on h.hypertable_schema = 'public' and h.hypertable_name = c.relname
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') order by 1) q;
"""


@dataclass(frozen=True)
class Server:
    """Where psql finds a server on its host: `connect` are its options, none for the live one."""

    host: Host
    database: str
    connect: str = ""

    def ask(self, sql: str, timeout: float | None = None) -> str:
        """The text that statements print; stops at the first error. Raises DrError."""
        command = f"psql -qAtX -v ON_ERROR_STOP=1 {self.connect} -d %s"
        return self.host.run(command, self.database, user="postgres", stdin=sql, timeout=timeout).text


def shapes(server: Server, timeout: float | None = None) -> dict[str, Shape]:
    """Every table of schema public by name. Raises DrError when the server does not answer."""
    return parse(json.loads(server.ask(_SHAPES, timeout)))


def declared_types(table: Table) -> dict[str, str]:
    """The catalogue's columns with their types as PostgreSQL writes them."""
    return {column.name: canonical(column.type) for column in table.columns}
