"""Rows reach TDengine as they were acknowledged: every value, every instant, whatever characters are in them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.base.config import Table, load_tables
from agents.feed.ticks import SHARES, TOGETHER, Ticks
from agents.tdengine.sql import MAX_BYTES, inserts, literal, subtable
from agents.writing.backend import backend
from agents.writing.batch import encode, rows_of
from inventories.catalog import load_tables as load_catalogue
from inventories.catalog.export import tables_json
from inventories.catalog.tables import Store
from inventories.catalog.tdengine.ddl import database_statement, supertables
from tests.unit import agent_fixtures


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    path = tmp_path_factory.mktemp("tables") / "tables.json"
    path.write_text(tables_json(load_catalogue(), Store.TDENGINE))
    return load_tables(path)


def test_every_row_of_a_batch_is_written_once(tables: dict[str, Table]) -> None:
    batch = encode(tables, Ticks(7).batch(1000))
    statements = list(inserts(batch.parts, tables))
    assert sum(rows for _, rows in statements) == batch.n == 1000
    ids = {int(found) for text, _ in statements for found in re.findall(r"\(\d{18,},(\d+),", text)}
    assert ids == {(7 << 32) + number for number in range(1, 1001)}


def test_rows_that_come_twice_are_sent_once_and_the_last_wins(tables: dict[str, Table]) -> None:
    """The server merges rows of one key and counts one: a queue with a row twice would wait for ever."""
    batch = encode(tables, Ticks(7).batch(500))
    statements = list(inserts([*batch.parts, *batch.parts], tables))
    assert sum(rows for _, rows in statements) == batch.n == 500
    assert sum(len(re.findall(r"\(\d{18,},", text)) for text, _ in statements) == 500
    bar = (1700000000000000000, 1, 1.0, 1.0, 1.0, 1.0, 10, 1.0, "600000", "1m")
    corrected = (bar[0], 2, 1.0, 9.0, *bar[4:])
    (text, rows), = inserts(encode(tables, {"minute_kline": [bar, corrected]}).parts, tables)
    assert rows == 1
    assert "(1700000000000000000,2," in text and "(1700000000000000000,1," not in text


def test_ticks_of_one_instant_are_told_apart_by_their_key(tables: dict[str, Table]) -> None:
    rows = Ticks(7).batch(1000)["tick_data"]
    instants = {(row[0], row[-2]) for row in rows}
    assert len(instants) * TOGETHER >= len(rows) > len(instants) * (TOGETHER - 1)
    assert len({(row[0], row[1], row[-2]) for row in rows}) == len(rows)
    assert tables["tick_data"].key == ("ts", "event_id")


def test_a_row_tells_of_the_same_subtable_only_whether_its_part_of_the_store_is_there(
    tables: dict[str, Table], tmp_path: Path
) -> None:
    parts = encode(tables, Ticks(7).batch(500)).parts
    ticks, table = next(part for part in parts if part.table == "tick_data").chunks(1), tables["tick_data"]
    tdengine = backend(agent_fixtures.config(tmp_path, tdengine="/etc/mystocks-dr/tdengine.json"), "test")
    symbols = {next(rows_of(row))[row.columns.index("symbol")] for row in ticks}
    assert len({tdengine.place(row, table) for row in ticks}) == len(symbols) > 1
    ((statement, _),) = inserts(ticks[:1], tables)
    assert f"`{tdengine.place(ticks[0], table)}`" in statement
    assert {backend(agent_fixtures.config(tmp_path), "test").place(row, table) for row in ticks} == {"tick_data"}


def test_no_bar_of_a_run_overwrites_another() -> None:
    market = Ticks(7)
    bars = [row for _ in range(20) for row in market.batch(500)["minute_kline"]]
    assert len({(row[0], row[-2]) for row in bars}) == len(bars) > 500


def test_statements_stay_below_the_servers_limit(tables: dict[str, Table]) -> None:
    statements = list(inserts(encode(tables, Ticks(7).batch(20_000)).parts, tables))
    assert len(statements) > 1
    assert all(len(text.encode()) < MAX_BYTES + 2000 for text, _ in statements)
    assert all(text.startswith("INSERT INTO `market_data`.") for text, _ in statements)


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=8))
def test_a_tag_with_quotes_or_chinese_in_it_is_written_as_it_is(tag: str) -> None:
    quoted = literal(tag, "binary(20)")
    assert quoted.startswith("'") and quoted.endswith("'")
    inner = re.sub(r"\\(.)", r"\1", quoted[1:-1], flags=re.DOTALL)
    assert inner == tag
    assert not re.search(r"(?<!\\)(\\\\)*'", quoted[1:-1])


def test_null_is_null_and_text_comes_back_as_it_was(tables: dict[str, Table]) -> None:
    row = (1, 2, 1.5, 3, None, None, None, None, None, "a\tb\\c'd", "代码", "SSE")
    part = encode(tables, {"tick_data": [row]}).parts[0]
    assert list(rows_of(part)) == [["1", "2", "1.5", "3", None, None, None, None, None, "a\tb\\c'd", "代码", "SSE"]]
    (text, rows), = inserts([part], tables)
    assert rows == 1
    assert "(1,2,1.5,3,NULL,NULL,NULL,NULL,NULL,'a\tb\\\\c\\'d')" in text
    assert "TAGS ('代码','SSE')" in text


def test_subtables_have_the_same_name_everywhere_and_never_share_one() -> None:
    assert subtable("tick_data", ("600000", "SSE")) == subtable("tick_data", ("600000", "SSE"))
    names = {subtable("t", tags) for tags in (("a", "b"), ("ab", ""), ("", "ab"), (None, "ab"), ("\\N", "x"))}
    assert len(names) == 5


def test_every_supertable_of_the_catalogue_has_a_statement() -> None:
    statements = supertables(load_catalogue())
    assert set(SHARES) <= set(statements)
    assert "`event_id` bigint PRIMARY KEY" in statements["tick_data"]
    assert "PRIMARY KEY" not in statements["minute_kline"]
    durable = database_statement("market_data", keep_days=3650, duration_days=1, replica=1, vgroups=2, durable=True)
    assert "PRECISION 'ns'" in durable
    assert "WAL_LEVEL 2 WAL_FSYNC_PERIOD 0" in durable


def test_a_key_that_tdengine_cannot_have_is_refused() -> None:
    exported = json.loads(tables_json(load_catalogue(), Store.TDENGINE))["tables"]
    assert {name: table["key"] for name, table in exported.items() if len(table["key"]) > 1} == {
        "tick_data": ["ts", "event_id"], "depth_data": ["ts", "event_id"], "level2_snapshot": ["ts", "event_id"],
    }  # fmt: skip
