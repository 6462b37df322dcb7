"""How many locks a server has room for, and how many one statement takes on the table with the most chunks."""

from __future__ import annotations

from dataclasses import dataclass

from runbooks.hosts import Host

# Every chunk of a hypertable, every partition, and each of their indexes is locked by itself.
_SQL = """
with recursive below(root, part) as (
  select i.inhparent, i.inhrelid from pg_inherits i join pg_class c on c.oid = i.inhparent and c.relkind in ('r', 'p')
    where not exists (select from pg_inherits above where above.inhrelid = i.inhparent)
  union all select b.root, i.inhrelid from below b join pg_inherits i on i.inhparent = b.part
), parts as (select root, count(*) as parts from below group by root),
indexed as (select b.root, count(*) as indexes from below b join pg_index x on x.indrelid = b.part group by b.root),
wanted as (
  select root, parts, 1 + parts + coalesce(indexes, 0) as locks from parts left join indexed using (root)
  order by 3 desc limit 1
)
select current_setting('max_locks_per_transaction')::bigint * (current_setting('max_connections')::bigint
    + current_setting('max_prepared_transactions')::bigint + current_setting('autovacuum_max_workers')::bigint + 1
    + current_setting('max_worker_processes')::bigint + current_setting('max_wal_senders')::bigint) as capacity,
  (select root::regclass::text from wanted) as name, coalesce((select parts from wanted), 0) as parts,
  coalesce((select locks from wanted), 0) as locks
"""


@dataclass(frozen=True)
class LockRoom:
    """`table` has the most chunks or partitions, `parts` of them (empty and 0 where there is none): one statement on
    all of them takes `locks` of the `capacity` that all sessions share.
    """

    capacity: int
    table: str
    parts: int
    locks: int

    @property
    def used_percent(self) -> float:
        return 100.0 * self.locks / max(1, self.capacity)


def look(host: Host, database: str, timeout: float | None = None) -> LockRoom:
    """Raises DrError when the server does not answer."""
    row = host.query(_SQL, database, timeout)[0]
    return LockRoom(row["capacity"], row["name"] or "", row["parts"], row["locks"])
