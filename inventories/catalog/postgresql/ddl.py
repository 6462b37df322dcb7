"""PostgreSQL statements from the catalogue; every one may be run again without effect.

Identifiers come from the validated catalogue (lower case, digits, underscore) and are quoted all the same,
because words such as `open` or `name` are ordinary column names here.
"""

from __future__ import annotations

from collections.abc import Iterable

from inventories.catalog.tables import Classification, Store, Table, Tables

# What others refer to comes first, so that a schema that stops half way holds the reference data.
_ORDER = (
    Classification.REFERENCE_DATA,
    Classification.META_DATA,
    Classification.MARKET_DATA,
    Classification.DERIVED_DATA,
    Classification.TRANSACTION_DATA,
)
PROBE = "dr_probe"


def schema(tables: Tables, *, writer: str = "writer", reader: str = "reader") -> dict[str, list[str]]:
    """Statements per PostgreSQL table, in the order in which to run them; the probe table comes last."""
    ordered = sorted(tables.of(Store.POSTGRESQL), key=lambda table: _ORDER.index(table.classification))
    statements = {table.name: table_statements(table, writer=writer, reader=reader) for table in ordered}
    return {**statements, PROBE: probe_statements(writer=writer, reader=reader)}


def database_statements(database: str, *, writer: str = "writer", reader: str = "reader") -> list[str]:
    """What the roles need in the database itself; the writer stages its batches in temporary tables."""
    return [
        f"GRANT CONNECT, TEMPORARY ON DATABASE {_quoted(database)} TO {_quoted(writer)}",
        f"GRANT CONNECT ON DATABASE {_quoted(database)} TO {_quoted(reader)}",
        f"GRANT USAGE ON SCHEMA public TO {_quoted(writer)}, {_quoted(reader)}",
    ]


def table_statements(table: Table, *, writer: str = "writer", reader: str = "reader") -> list[str]:
    """CREATE TABLE, hypertable, indexes, grants of one PostgreSQL table."""
    name = f"public.{_quoted(table.name)}"
    columns = [
        f"{_quoted(column.name)} {column.type}{'' if column.nullable else ' NOT NULL'}"
        for column in table.columns
    ]
    body = ", ".join([*columns, f"PRIMARY KEY ({_list(table.key)})"])
    statements = [f"CREATE TABLE IF NOT EXISTS {name} ({body})"]
    if table.hypertable is not None:
        statements.append(_hypertable(table))
    for index in table.indexes:
        index_name = _quoted("_".join(["ix", table.name, *index.columns])[:63])
        statements.append(f"CREATE INDEX IF NOT EXISTS {index_name} ON {name} ({_list(index.columns)})")
    return [*statements, *_grants(name, writer, reader)]


def probe_statements(*, writer: str = "writer", reader: str = "reader") -> list[str]:
    """The table into which runbooks prove that a host takes writes, or that it does not."""
    name = f"public.{PROBE}"
    return [
        f"CREATE TABLE IF NOT EXISTS {name} "
        "(probe_id bigserial PRIMARY KEY, run text, at timestamptz NOT NULL DEFAULT now())",
        *_grants(name, writer, reader),
        f"GRANT USAGE ON SEQUENCE public.{PROBE}_probe_id_seq TO {_quoted(writer)}",
    ]


def without_optional(tables: Tables) -> str:
    """A query for the optional columns that a table which is there has not, or has as ones that may not be missing."""
    wanted = ", ".join(
        f"('{table.name}', '{column.name}', '{column.type}')"
        for table in tables.of(Store.POSTGRESQL)
        for column in table.columns
        if column.nullable
    )
    return (
        "select w.tab, w.col, w.kind, a.attname is null as lacks"  # noqa: S608 - the catalogue was validated
        f" from (values {wanted}) w(tab, col, kind)"
        " join pg_class c on c.relname = w.tab and c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')"
        " left join pg_attribute a on a.attrelid = c.oid and a.attname = w.col and not a.attisdropped"
        " where a.attname is null or a.attnotnull"
    )


def optional_statements(tables: Tables) -> list[str]:
    """Give every table its optional columns: no row is read or written for that, and none can be lost by it."""
    return [
        # Writers queue behind a lock that is waited for.
        "SET LOCAL lock_timeout = '5s'",
        f"""DO $$
DECLARE one record;
BEGIN
  FOR one IN {without_optional(tables)} LOOP
    IF one.lacks THEN
      EXECUTE format('ALTER TABLE public.%I ADD COLUMN %I %s', one.tab, one.col, one.kind);
    ELSE
      EXECUTE format('ALTER TABLE public.%I ALTER COLUMN %I DROP NOT NULL', one.tab, one.col);
    END IF;
  END LOOP;
END $$""",
    ]


def _hypertable(table: Table) -> str:
    assert table.hypertable is not None
    time_column, interval = table.hypertable.time_column, table.hypertable.chunk_interval
    return (
        f"SELECT create_hypertable('public.{_quoted(table.name)}', "
        f"by_range('{time_column}', INTERVAL '{interval}'), "
        "create_default_indexes => false, if_not_exists => true)"
    )


def _grants(name: str, writer: str, reader: str) -> list[str]:
    # No DELETE and no TRUNCATE: the writer cannot lose what it has written.
    return [
        f"GRANT SELECT, INSERT, UPDATE ON {name} TO {_quoted(writer)}",
        f"GRANT SELECT ON {name} TO {_quoted(reader)}",
    ]


def _list(names: Iterable[str]) -> str:
    return ", ".join(_quoted(name) for name in names)


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
