"""The trading system's own configuration becomes catalogue entries; what somebody has to decide is told, each once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from invoke.exceptions import Exit

from agents.base.config import load_tables as load_exported
from agents.feed.market import Market, fitted
from agents.feed.ticks import Ticks
from agents.writing.batch import encode
from doors import catalogue as door
from inventories.catalog import load_tables
from inventories.catalog.export import tables_json
from inventories.catalog.foreign import Proposal, alone, append, listed, propose
from inventories.catalog.load import TABLES
from inventories.catalog.postgresql import ddl
from inventories.catalog.tables import Classification, Store, Table, Tables
from inventories.catalog.tdengine import ddl as td_ddl
from inventories.errors import BadInput
from tests.unit.test_readme import parse

ROOT = Path(__file__).resolve().parents[2]
THEIRS = ROOT.parent / "shared" / "mystocks"

# In the format of the trading system's file.
NEWS = """
  - database_type: 'PostgreSQL'
    database_name: 'quant_research'
    table_name: 'stock_news'
    is_timescale_hypertable: true
    time_column: 'published_at'
    classification: 'stock_news'
    description: '新闻'
    retention: 30
    columns:
      - {name: 'news_id', type: 'BIGINT', primary_key: true, auto_increment: true}
      - {name: 'symbol', type: 'VARCHAR', length: 20, nullable: false, comment: '代码'}
      - {name: 'published_at', type: 'TIMESTAMP', nullable: false}
      - {name: 'source', type: 'VARCHAR', length: 30}
      - {name: 'title', type: 'VARCHAR'}
      - {name: 'price', type: 'FLOAT'}
      - {name: 'score', type: 'NUMERIC', precision: 8, scale: 4}
      - {name: 'weight', type: 'DECIMAL'}
      - {name: 'api_key', type: 'VARCHAR', length: 64}
      - {name: 'shape', type: 'GEOMETRY'}
      - {name: 'created_at', type: 'TIMESTAMP', default: 'CURRENT_TIMESTAMP'}
    indexes:
      - {name: 'uk', columns: ['symbol', 'source'], unique: true}
      - {name: 'ix', columns: ['published_at']}
"""
BARS = """
  - database_type: 'TDengine'
    database_name: 'market_data'
    table_name: 'minute_kline_5min'
    is_super_table: true
    classification: 'tick_data'
    columns:
      - {name: 'ts', type: 'TIMESTAMP', nullable: false}
      - {name: 'open', type: 'FLOAT'}
      - {name: 'volume', type: 'BIGINT'}
      - {name: 'symbol', type: 'VARCHAR', length: 20, is_tag: true}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return written(tmp_path / "table_config.yaml", NEWS + BARS)


def written(path: Path, tables: str, rest: str = "monitoring: {enable: true}\n") -> Path:
    path.write_text(f"version: '2.0'\ntables:\n{tables}\n{rest}", encoding="utf-8")
    return path


def table(proposal: Proposal, name: str) -> Table:
    found = next(draft.table for draft in proposal.new if draft.source.name == name)
    assert found is not None
    return found


def told(proposal: Proposal, where: str) -> list[str]:
    return [str(one) for one in proposal.decisions if one.where == where]


def test_every_column_tag_index_and_hypertable_is_taken(config: Path) -> None:
    proposal = propose(load_tables(), config)
    news, bars = table(proposal, "stock_news"), table(proposal, "minute_kline_5min")
    assert [(column.name, column.type, column.nullable) for column in news.columns] == [
        ("event_id", "bigint", False), ("symbol", "varchar(20)", False), ("published_at", "timestamptz", False),
        ("source", "varchar(30)", False), ("title", "text", True), ("price", "double precision", True),
        ("score", "numeric(8,4)", True), ("weight", "numeric(24,8)", True), ("api_key", "varchar(64)", True),
        ("created_at", "timestamptz", True),
    ]  # fmt: skip
    assert (news.key, news.on_conflict.value) == (("symbol", "source", "published_at"), "newest")
    assert news.hypertable is not None
    assert news.hypertable.time_column == "published_at"
    assert [index.columns for index in news.indexes] == [("published_at",)]
    assert bars.supertable is not None
    assert [(tag.name, tag.type) for tag in bars.supertable.tags] == [("symbol", "binary(20)")]
    assert (bars.key, bars.store) == (("ts", "event_id"), Store.TDENGINE)
    assert bars.classification is Classification.MARKET_DATA


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("stock_news.news_id", "unsafe: stock_news.news_id is numbered by the server"),
        ("stock_news.published_at", "unsafe: stock_news.published_at is a time without a zone"),
        ("stock_news", "contradicts: stock_news has the key symbol, source without published_at"),
        ("stock_news.source", "contradicts: stock_news.source is part of the key and may be missing"),
        ("stock_news.title", "does not fit: stock_news.title is VARCHAR of no characters; text"),
        ("stock_news.price", "unsafe: stock_news.price is FLOAT, which holds"),
        ("stock_news.weight", "does not fit: stock_news.weight is NUMERIC without precision"),
        ("stock_news.api_key", "unsafe: stock_news.api_key looks like a credential"),
        ("stock_news.shape", "does not fit: stock_news.shape is GEOMETRY"),
        ("stock_news", "not taken: stock_news has defaults for created_at"),
        ("stock_news", "not taken: stock_news says retention, which nothing here reads"),
        ("stock_news", "does not fit: stock_news says stock_news, which nobody knows; taken as meta_data"),
        ("minute_kline_5min", "unsafe: minute_kline_5min is keyed by its time alone"),
        ("minute_kline_5min", "contradicts: minute_kline_5min calls its data tick_data"),
        ("minute_kline_5min.open", "unsafe: minute_kline_5min.open is FLOAT, which holds seven digits"),
        ("table_config.yaml", "not taken: table_config.yaml says monitoring besides its tables"),
    ],
)  # fmt: skip
def test_what_does_not_fit_contradicts_or_is_unsafe_is_told(config: Path, where: str, sentence: str) -> None:
    found = told(propose(load_tables(), config), where)
    assert [one for one in found if one.startswith(sentence)], found


def test_nothing_is_told_twice_and_alike_columns_are_one_line(config: Path) -> None:
    proposal = propose(load_tables(), config)
    assert len(proposal.decisions) == len(set(proposal.decisions))
    (line,) = [one for one in listed(proposal.decisions) if "time without a zone" in one]
    assert "stock_news.published_at, created_at is" in line


def test_without_a_natural_key_a_table_is_append_only(tmp_path: Path) -> None:
    text = NEWS.replace("unique: true", "unique: false")
    proposal = propose(load_tables(), written(tmp_path / "c.yaml", text))
    news = table(proposal, "stock_news")
    assert (news.key, news.on_conflict.value) == (("event_id", "published_at"), "ignore")
    assert [one for one in told(proposal, "stock_news") if "has no natural key" in one]


def test_a_table_that_is_there_stays_as_it_is_and_every_difference_is_told(tmp_path: Path) -> None:
    text = """
  - database_type: PostgreSQL
    table_name: account_funds
    classification: account_funds
    columns:
      - {name: account_id, type: VARCHAR, length: 30, primary_key: true}
      - {name: record_date, type: DATE, primary_key: true}
      - {name: total_assets, type: NUMERIC, precision: 24, scale: 4, nullable: false}
      - {name: daily_pnl, type: NUMERIC, precision: 15, scale: 2}
"""
    proposal = propose(load_tables(), written(tmp_path / "c.yaml", text, rest=""))
    assert (proposal.new, dict(proposal.there)) == ((), {"account_funds": "account_funds"})
    (change,) = proposal.changes
    assert ([column.name for column in change.added], change.eased) == (["daily_pnl"], ("cash_balance", "market_value"))
    assert [str(one) for one in proposal.decisions] == [
        "contradicts: account_funds.account_id is varchar(30); varchar(20) as in account_funds",
        "does not fit: account_funds.daily_pnl is numeric(15,2) and has no column in account_funds; added, optional",
        "contradicts: account_funds.cash_balance is needed by account_funds, and their rows have none; optional from"
        " now on",
        "contradicts: account_funds.market_value is needed by account_funds, and their rows have none; optional from"
        " now on",
    ]
    path = tmp_path / "tables.yaml"
    path.write_text(TABLES.read_text(encoding="utf-8"), encoding="utf-8")
    append(proposal, path)
    funds = load_tables(path)["account_funds"]
    assert [(column.name, column.type, column.nullable) for column in funds.columns] == [
        ("event_id", "bigint", False), ("account_id", "varchar(20)", False), ("record_date", "date", False),
        ("total_assets", "numeric(24,4)", False), ("cash_balance", "numeric(24,4)", True),
        ("frozen_cash", "numeric(24,4)", True), ("market_value", "numeric(24,4)", True),
        ("total_pnl", "numeric(24,4)", True), ("daily_pnl", "numeric(15,2)", True),
    ]  # fmt: skip
    before, after = (one.read_text(encoding="utf-8").splitlines() for one in (TABLES, path))
    assert len(after) == len(before) + 1
    assert len(set(after) - set(before)) == 3 - 1  # two of the three new lines are one: the same line twice


def test_two_files_that_differ_are_told_and_not_chosen_between(config: Path, tmp_path: Path) -> None:
    recovery = tmp_path / "recovery.yaml"
    recovery.write_text(
        "tables:\n"
        "  - {db: postgresql, name: stock_news, type: standard, schema: 'symbol VARCHAR(16), body TEXT'}\n"
        "  - {db: postgresql, name: halts, type: standard,"
        " schema: 'id SERIAL PRIMARY KEY, ts TIMESTAMP, price NUMERIC(10, 2) NOT NULL'}\n"
    )
    proposal = propose(load_tables(), config, recovery)
    assert told(proposal, "stock_news.symbol") == [
        "contradicts: stock_news.symbol is VARCHAR(20), in the recovery file VARCHAR(16); VARCHAR(20)"
    ]
    assert told(proposal, "stock_news.body") == ["contradicts: stock_news.body is in the recovery file alone; left out"]
    assert told(proposal, "stock_news.score")[0].startswith("contradicts: stock_news.score is not in the recovery file")
    halts = table(proposal, "halts")
    assert halts.core
    assert table(proposal, "stock_news").core
    assert [(column.name, column.type) for column in halts.columns] == [
        ("event_id", "bigint"), ("ts", "timestamptz"), ("price", "numeric(10,2)"),
    ]  # fmt: skip


def test_new_entries_are_appended_and_the_catalogue_is_one_still(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "tables.yaml"
    path.write_text(TABLES.read_text(encoding="utf-8"), encoding="utf-8")
    proposal = propose(load_tables(), config)
    append(proposal, path)
    after = load_tables(path)
    assert set(after.tables) == {*load_tables().tables, "stock_news", "minute_kline_5min"}
    assert path.read_text(encoding="utf-8").startswith(TABLES.read_text(encoding="utf-8").rstrip())
    assert "# decide: unsafe: stock_news.news_id" in path.read_text(encoding="utf-8")
    assert "# 代码" in path.read_text(encoding="utf-8")
    assert "stock_news" in ddl.schema(after)
    assert "minute_kline_5min" in td_ddl.supertables(after)
    before = path.read_text(encoding="utf-8")
    with pytest.raises(BadInput, match="would be no catalogue"):
        append(proposal, path)
    assert path.read_text(encoding="utf-8") == before
    assert list(tmp_path.glob(".tables*")) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no set of keys"), ("tables: []", "lists no tables"), ("tables: [1]", "table 1 is no set"),
        ("tables: [{table_name: a, database_type: MySQL}]", "a is for mysql database"),
        ("tables: [{database_type: PostgreSQL}]", "has no name"),
        ("tables: [{table_name: a, database_type: PostgreSQL}]", "a has no columns"),
        ("tables: [{table_name: a, database_type: PostgreSQL, columns: [{name: b}]}]", "without a name or a type"),
        ("tables: [{name: a, db: postgresql, schema: 'b'}]", "has the column 'b'"),
        ("tables: [{table_name: a, db: postgresql, columns: [{name: b, type: INT, length: x}]}]", "no number"),
        ("a: [", "no YAML"), ("\udcff", "not UTF-8"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_of_theirs_is_one_sentence(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BadInput, match=why) as error:
        propose(load_tables(), path)
    assert error.value.hint
    assert "\n" not in str(error.value)
    with pytest.raises(BadInput, match="cannot be read"):
        propose(load_tables(), tmp_path / "nowhere.yaml")


def test_a_name_that_is_none_of_ours_is_told_and_holds_up_no_other(tmp_path: Path) -> None:
    text = NEWS + NEWS.replace("stock_news", "Stock-News") + NEWS
    proposal = propose(load_tables(), written(tmp_path / "c.yaml", text))
    assert [draft.source.name for draft in proposal.new] == ["stock_news"]
    assert told(proposal, "Stock-News") == [
        "does not fit: Stock-News is no name of ours (lower case, digits, underscore); left out"
    ]
    assert "contradicts: stock_news is there twice; the first one" in told(proposal, "stock_news")


def test_the_door_shows_writes_nothing_by_itself_and_refuses_what_contradicts(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DR_CALLER_CWD", str(tmp_path))
    before = TABLES.read_bytes()
    take: Any = door.take.body
    take(None, "table_config.yaml", out="mine.yaml", whole=True)
    assert "2 tables are in mine.yaml, 0 are there already" in capsys.readouterr().out
    assert set(load_tables(tmp_path / "mine.yaml").tables) == {"stock_news", "minute_kline_5min"}
    take(None, "table_config.yaml")
    assert "  stock_news:\n    store: postgresql" in capsys.readouterr().out
    assert TABLES.read_bytes() == before
    for words in ({"out": "mine.yaml"}, {"whole": True, "write": True}):
        with pytest.raises(Exit) as ended:
            take(None, "table_config.yaml", **words)
        assert ended.value.code == 2
    assert parse(["catalog.import", "x.yaml", "--disaster-recovery", "y.yaml", "--whole"]) == ["catalog.import"]


@pytest.mark.skipif(not THEIRS.is_dir(), reason="the trading system's own files are not beside the repository")
def test_all_of_the_trading_system_s_tables_become_a_catalogue(tmp_path: Path) -> None:
    files = THEIRS / "table_config.yaml", THEIRS / "disaster_recovery_config.yaml"
    names = {one["table_name"] for one in yaml.safe_load(files[0].read_text())["tables"]}
    names |= {one["name"] for one in yaml.safe_load(files[1].read_text())["tables"]}
    proposal = propose(load_tables(), *files, whole=True)
    assert {draft.source.name for draft in proposal.new} == names
    text = alone(proposal.new, "Asia/Shanghai")
    tables = type(load_tables()).model_validate(yaml.safe_load(text))
    assert len(tables.core) == 16
    both = propose(load_tables(), *files)
    assert {draft.source.name for draft in both.new} | set(both.there) == names
    assert told(both, "data_sources.api_key")
    path = tmp_path / "tables.yaml"
    path.write_text(TABLES.read_text(encoding="utf-8"), encoding="utf-8")
    append(both, path)
    after = load_tables(path)
    for one in yaml.safe_load(files[0].read_text())["tables"]:
        entry = after[both.there.get(one["table_name"], one["table_name"])]
        known = {column.name for column in (*entry.columns, *(entry.supertable.tags if entry.supertable else ()))}
        assert {column["name"] for column in one["columns"] if not column.get("auto_increment")} <= known
    # What the drills write has room in it as before.
    for store, source in ((Store.POSTGRESQL, Market(1)), (Store.TDENGINE, Ticks(1))):
        (tmp_path / "tables.json").write_text(tables_json(after, store))
        known = load_exported(tmp_path / "tables.json")
        batch = encode(known, fitted(known, source.batch(100)))
        assert {part.columns for part in batch.parts} == {names_of(after, part.table) for part in batch.parts}


def names_of(tables: Tables, name: str) -> tuple[str, ...]:
    entry = tables[name]
    return tuple(column.name for column in (*entry.columns, *(entry.supertable.tags if entry.supertable else ())))
