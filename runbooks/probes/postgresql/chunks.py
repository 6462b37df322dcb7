"""What a hypertable's chunks lack of what the hypertable has: each is a table of its own, with its own indexes."""

from __future__ import annotations

from dataclasses import dataclass

from runbooks.probes.postgresql.content import Query, has_timescale
from runbooks.probes.postgresql.table_facts import HYPERTABLES, OF_USERS
from runbooks.table_copy.names import shown

# Catalogues alone: what is asked costs by the number of chunks, not of rows, and locks none of them.
_LACKS = """
with chunks as materialized (
  select i.inhparent as parent, c.oid, c.relname, c.relpersistence
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
    join pg_class p on p.oid = i.inhparent join pg_namespace n on n.oid = p.relnamespace
  where c.relkind = 'r' and {of_users} and i.inhparent in ({hypertables})),
indexes as materialized (
  select i.indrelid as rel, i.indisunique and i.indimmediate as uniq, (select string_agg(a.attname, ', ' order by k.nr)
      from unnest(i.indkey) with ordinality k(attnum, nr)
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum) as columns
  from pg_index i where i.indisvalid and i.indisready and i.indislive and i.indpred is null and i.indexprs is null
    and (i.indrelid in (select oid from chunks) or i.indrelid in (select parent from chunks))),
lacks as (
  select parent, 'persistence of chunks' as what, 'logged' as expected, relname from chunks where relpersistence = 'u'
  union all select ch.parent, 'range of chunks', 'a constraint', ch.relname from chunks ch
    where not exists (select from pg_constraint o where o.conrelid = ch.oid and o.contype = 'c' and o.convalidated)
  union all select ch.parent, format('%sindex of chunks on (%s)', case when p.uniq then 'unique ' end, p.columns),
      'one', ch.relname from chunks ch join indexes p on p.rel = ch.parent
    where not exists (select from indexes i where i.rel = ch.oid and i.columns = p.columns and i.uniq >= p.uniq))
select n.nspname as schema, c.relname as name, l.what, l.expected, count(*) as chunks, min(l.relname) as example
from lacks l join pg_class c on c.oid = l.parent join pg_namespace n on n.oid = c.relnamespace
group by 1, 2, 3, 4 order by 1, 2, 3
"""


@dataclass(frozen=True)
class Lack:
    """`what` so many chunks of a table lack, and the name of one of them."""

    table: str
    what: str
    expected: str
    chunks: int
    example: str


def read(query: Query, hypertables: str = "") -> tuple[Lack, ...]:
    """`hypertables`: a SELECT of their numbers; TimescaleDB's own without one. Raises DrError."""
    if not hypertables and not has_timescale(query):
        return ()
    rows = query(_LACKS.format(hypertables=hypertables or HYPERTABLES, of_users=OF_USERS))
    return tuple(
        Lack(shown(row["schema"], row["name"]), row["what"], row["expected"], int(row["chunks"]), row["example"])
        for row in rows
    )
