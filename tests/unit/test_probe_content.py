"""What restore-pitr says to be in a side cluster: every table of every schema, whatever it is called."""

from __future__ import annotations

import json
from typing import Any

from agents.postgresql.side import cluster
from runbooks.probes.postgresql import content, tables
from tests.unit.copying_kit import LIVE, Two


def asked(two: Two) -> content.Query:
    def query(sql: str) -> list[dict[str, Any]]:
        wrapped = f"SELECT coalesce(json_agg(row_to_json(q)), '[]') FROM ({sql}) q;"
        found: list[dict[str, Any]] = json.loads(two.of(LIVE).ask(wrapped))
        return found

    return query


def test_tables_of_every_schema_are_told_and_partitions_with_their_table(two: Two) -> None:
    two.sql(
        "CREATE SCHEMA odd", """CREATE TABLE odd."a;b ""c"" d'e" (id int, at date)""",
        """INSERT INTO odd."a;b ""c"" d'e" VALUES (1, '2026-01-02')""",
        "CREATE TABLE t (id int) PARTITION BY RANGE (id)", "CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (9)",
        "INSERT INTO t VALUES (1), (2)",
    )  # fmt: skip

    told = [str(one) for one in content.look(asked(two))]
    assert """odd."a;b ""c"" d'e": 1 rows, newest 2026-01-02""" in told
    assert "t: 2 rows" in told
    assert not [line for line in told if line.startswith("t_1")]


def test_chunks_are_told_with_their_hypertable_whatever_schema_they_are_in(two: Two) -> None:
    two.sql(
        # As TimescaleDB notes it: no server of this machine has the extension.
        "CREATE SCHEMA _timescaledb_catalog", "CREATE SCHEMA pieces",
        "CREATE TABLE _timescaledb_catalog.hypertable (schema_name name, table_name name)",
        "CREATE TABLE ticks (at date, id int)",
        "INSERT INTO _timescaledb_catalog.hypertable VALUES ('public', 'ticks')",
        "CREATE TABLE pieces.tick_1 () INHERITS (ticks)", "INSERT INTO pieces.tick_1 VALUES ('2026-01-02', 1)",
        "CREATE TABLE elder (id int)", "CREATE TABLE heir () INHERITS (elder)",
    )  # fmt: skip
    told = [str(one) for one in content.look(asked(two))]
    assert {"elder: 0 rows", "heir: 0 rows", "ticks: 1 rows, newest 2026-01-02"} <= set(told)
    names = tables.names(two.of(LIVE))
    assert {"elder", "heir", "ticks"} <= names
    assert [name for name in (*told, *names) if "tick_1" in name] == []


def test_a_name_with_a_semicolon_is_no_second_statement() -> None:
    assert ";" not in cluster._QUOTED.sub("", """select ';' from "a;b""c;d";""".rstrip(";"))
    assert ";" in cluster._QUOTED.sub("", "select 'a'; select 'b'")
