"""The catalogue.

The committed files hold what the design promises, and every mistake is one sentence with its place.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agents.base.config import load_tables as load_exported
from agents.base.errors import BadRow
from agents.client.prepare import table_named
from inventories.catalog import load_recovery, load_tables
from inventories.catalog.export import tables_json
from inventories.catalog.load import RECOVERY, TABLES
from inventories.catalog.postgresql import ddl
from inventories.catalog.recovery import _cron
from inventories.catalog.tables import Classification, OnConflict, Store
from inventories.errors import BadInput, ExitCode


def changed(source: Path, tmp_path: Path, dotted: str, value: Any) -> Path:
    """The committed file with one value replaced; `...` removes the key."""
    raw = yaml.safe_load(source.read_text(encoding="utf-8"))
    *parents, last = dotted.split("/")
    place = raw
    for part in parents:
        place = place[int(part)] if part.isdigit() else place[part]
    key: Any = int(last) if last.isdigit() else last
    if value is ...:
        del place[key]
    else:
        place[key] = value
    path = tmp_path / source.name
    path.write_text(yaml.safe_dump(raw, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def sentence(error: pytest.ExceptionInfo[BadInput]) -> str:
    text = str(error.value)
    assert error.value.exit_code is ExitCode.BAD_INPUT
    assert "\n" not in text
    assert text.endswith(".")
    assert error.value.hint
    return text


def test_the_sixteen_core_tables_are_five_of_tdengine_and_eleven_of_postgresql() -> None:
    core = load_tables().core
    assert sum(t.store is Store.TDENGINE for t in core) == 5
    assert sum(t.store is Store.POSTGRESQL for t in core) == 11


def test_every_postgresql_table_has_an_event_id_and_every_table_a_key_it_declares() -> None:
    for table in load_tables().tables.values():
        assert all(table.column(name) is not None for name in table.key)
        column = table.column("event_id")
        assert column is not None
        assert (column.type, column.nullable) == ("bigint", False)


def test_every_scenario_of_the_drills_has_its_objectives_and_no_loss_is_promised() -> None:
    scenarios = load_recovery().scenarios
    assert set(scenarios) == {
        "primary-power-loss", "primary-crash", "standby-loss", "primary-partition", "planned-switchover",
        "standby-loss-of-several", "double-loss", "async-primary-loss",
        "site-power-loss", "app-power-loss", "app-disk-loss", "backup-power-loss", "offsite-loss",
        "dropped-table", "bad-update", "dropped-table-delayed", "bad-update-delayed", "cluster-loss", "offsite-only",
        "silent-archive-failure", "damaged-backup", "disk-full",
        "tdengine-crash", "both-stores-down", "tdengine-host-loss", "tdengine-dropped-supertable",
        "tdengine-late-rows", "sqlite-corruption", "sqlite-host-loss", "backup-deleted",
    }  # fmt: skip
    assert {objectives.rpo_rows for objectives in scenarios.values()} == {0}
    assert scenarios["primary-power-loss"].rto_s == 5


def test_the_keys_of_the_seed_are_kept() -> None:
    seed = load_recovery().disaster_recovery
    assert (seed.backup_strategy.value, seed.validation_schedule) == ("incremental", "daily")
    assert (seed.recovery_time_objective, seed.recovery_time_objective_s) == ("3min", 180)


@pytest.mark.parametrize(
    ("dotted", "value", "expected"),
    [
        ("tables/symbols/stoer", "x", "tables.symbols.stoer is 'x'"),
        ("tables/symbols/store", "oracle", "tables.symbols.store is 'oracle'"),
        ("tables/symbols/core", "yes", "tables.symbols.core is 'yes'"),
        ("tables/symbols/classification", "market", "tables.symbols.classification is 'market'"),
        ("tables/symbols/on_conflict", "never", "tables.symbols.on_conflict is 'never'"),
        ("tables/symbols/on_conflict", "ignore", "tables.symbols.on_conflict is 'ignore', but"),
        (
            "tables/symbols/key",
            ["ticker"],
            "tables.symbols.key is 'ticker', but the table has no such column",
        ),
        ("tables/symbols/key", ["symbol", "symbol"], "a column is named twice"),
        ("tables/symbols/key", ["sector"], "a key column cannot be nullable"),
        ("tables/symbols/key", [], "tables.symbols.key is []"),
        ("tables/symbols/key", "symbol", "tables.symbols.key is 'symbol'"),
        ("tables/symbols/columns", [], "tables.symbols.columns is []"),
        (
            "tables/symbols/columns/0",
            ...,
            "tables.symbols.columns.event_id is empty, but every PostgreSQL table",
        ),
        (
            "tables/symbols/columns/0/type",
            "integer",
            "tables.symbols.columns.event_id is 'integer', but every",
        ),
        ("tables/symbols/columns/1/type", "varchar", "tables.symbols.columns.symbol.type is 'varchar', but"),
        ("tables/symbols/columns/1/name", "name", "is 'name', but a column of that name is there already"),
        ("tables/symbols/columns/1/name", 'x"; drop', "tables.symbols.columns.1.name is 'x\"; drop'"),
        (
            "tables/symbols/indexes/0/columns",
            ["city"],
            "tables.symbols.indexes is 'city', but the table has no",
        ),
        ("tables/symbols/supertable", {"tags": [{"name": "a", "type": "int"}]}, "PostgreSQL has none"),
        (
            "tables/symbols/retention_days",
            30,
            "tables.symbols.retention_days is 30, but reference_data cannot",
        ),
        ("tables/order_records/retention_days", 30, "retention_days is 30, but transaction_data cannot"),
        ("tables/order_records/compress_after_days", 7, "compress_after_days is 7, but transaction_data"),
        ("tables/model_outputs/compress_after_days", 5000, "is 5000, but rows are dropped after 1095 days"),
        ("tables/model_outputs/hypertable", ..., "only hypertables have chunks"),
        ("tables/model_outputs/retention_days", -1, "tables.model_outputs.retention_days is -1"),
        (
            "tables/order_records/key",
            ["event_id"],
            "time_column is 'order_time', but it is not part of the key",
        ),
        ("tables/order_records/hypertable/time_column", "price", "is 'price', but the table has no date"),
        ("tables/order_records/hypertable/chunk_interval", "daily", "chunk_interval is 'daily'"),
        ("tables/tick_data/supertable", ..., "tables.tick_data.supertable is empty, but every TDengine"),
        (
            "tables/tick_data/hypertable",
            {"time_column": "ts", "chunk_interval": "1 day"},
            "TDengine has none",
        ),
        ("tables/tick_data/key", ["event_id"], "a supertable needs its timestamp first"),
        ("tables/symbols/name", "x", "tables.symbols.name is 'x', but the key is the name"),
        ("tables/symbols", None, "tables.symbols is empty"),
        ("tables", {}, "tables is {}"),
        ("tables", ..., "tables is missing"),
        ("version", 2, "version is 2"),
    ],
)
def test_a_mistake_in_tables_yaml_names_file_path_and_value(
    tmp_path: Path, dotted: str, value: Any, expected: str
) -> None:
    path = changed(TABLES, tmp_path, dotted, value)
    with pytest.raises(BadInput) as error:
        load_tables(path)
    assert sentence(error).startswith(str(path))
    assert expected in str(error.value)


SQLITE = {
    "engine": "restic", "strategy": "full", "schedule": {"full": "15 * * * *"},
    "retention": {"full_copies": 24, "days": 14},
}  # fmt: skip


@pytest.mark.parametrize(
    ("dotted", "value", "expected"),
    [
        ("scenarios/standby-loss/rpo_rows", -1, "scenarios.standby-loss.rpo_rows is -1"),
        ("scenarios/standby-loss/rto_s", 0, "scenarios.standby-loss.rto_s is 0"),
        ("scenarios/standby-loss/rto_s", "5", "scenarios.standby-loss.rto_s is '5'"),
        ("scenarios/standby-loss/rto_s", float("nan"), "scenarios.standby-loss.rto_s is nan"),
        ("scenarios/standby-loss/rto_s", 181, "is 181.0, but disaster_recovery.recovery_time_objective"),
        ("scenarios/standby-loss/rpo", 0, "scenarios.standby-loss.rpo is 0"),
        ("disaster_recovery/recovery_time_objective", "3 minutes", "recovery_time_objective is '3 minutes'"),
        ("disaster_recovery/backup_strategy", "none", "disaster_recovery.backup_strategy is 'none'"),
        ("disaster_recovery/validation_schedule", ..., "disaster_recovery.validation_schedule is missing"),
        (
            "stores/postgresql/schedule/full",
            "every day",
            "stores.postgresql.schedule.full is 'every day', but",
        ),
        ("stores/postgresql/schedule/full", "61 0 * * *", "is '61 0 * * *', but it is no cron expression"),
        ("stores/postgresql/schedule/full", ..., "strategy incremental needs full too"),
        ("stores/postgresql/retention/full_copies", 0, "retention.full_copies is 0"),
        ("stores/oracle", {}, "stores.oracle"),
        ("stores/sqlite", SQLITE, "stores.sqlite is 'restic', but no job of the backup host takes such backups"),
        ("stores/tdengine/schedule/offsite", "0 1 * * *", "is '0 1 * * *', but no job does that for tdengine"),
        ("stores/tdengine/schedule/verify", ..., "is '40 23 * * *', but nothing may expire without verify"),
        ("stores/postgresql/schedule/prove", ..., "is '30 23 * * *', but nothing may expire without prove"),
        ("limits/max_full_proof_age_d", 0, "limits.max_full_proof_age_d is 0"),
        ("budgets/promote", 0, "budgets.promote is 0"),
        ("budgets/Promote", 5, "budgets.Promote is 'Promote'"),
        ("limits/max_loss_bytes", -5, "limits.max_loss_bytes is -5"),
        ("limits/max_loss_bytes", True, "limits.max_loss_bytes is True"),
        ("marks/keep_days", 29, "marks.keep_days is 29, but stores.postgresql.retention keeps backups for 28 days"),
        ("marks/keep_days", 0, "marks.keep_days is 0"),
        ("drills", ..., "drills is missing"),
        ("drills/calendar", {}, "drills.calendar is {}"),
        ("drills/calendar/bad-update", ..., "nobody drills bad-update, and a promise that is not drilled is none"),
        ("drills/calendar/bad-update", {}, "drills.calendar.bad-update is {}"),
        ("drills/calendar/flood", {"lab": {"every": "7d"}}, "scenarios promises nothing of that name"),
        ("drills/calendar/bad-update/lab/every", "weekly", "drills.calendar.bad-update.lab.every is 'weekly'"),
        ("drills/calendar/bad-update/moon", {"every": "7d"}, "drills.calendar.bad-update.moon"),
        ("drills/calendar/bad-update/lab/by", "restore-pitr", "but in a lab the drill itself counts"),
        ("drills/calendar/bad-update/production/by", ..., "but nothing is broken on purpose in production"),
        ("drills/trend/runs", 1, "drills.trend.runs is 1"),
        ("drills/trend/grows_by", 0, "drills.trend.grows_by is 0"),
        ("drills/twins", "often", "drills.twins is 'often'"),
    ],
)
def test_a_mistake_in_recovery_yaml_names_file_path_and_value(
    tmp_path: Path, dotted: str, value: Any, expected: str
) -> None:
    path = changed(RECOVERY, tmp_path, dotted, value)
    with pytest.raises(BadInput) as error:
        load_recovery(path)
    assert expected in sentence(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"version: 1\ntables: [\n", "line 3"),
        (b"version: 1\nversion: 1\n", "line 2: the key 'version' is given twice"),
        (b"tables:\n  a: {}\n  a: {}\n", "line 3: the key 'a' is given twice"),
        (b"1: 2\n", "the key 1 is no text"),
        (b"", "is empty, not a mapping"),
        (b"- a\n", "not a mapping"),
        (b"\xff\xfe", "is not UTF-8 at byte 0"),
        (b"a: \x00", "no YAML"),
        (b"a: !!python/object:os.system x\n", "line 1"),
    ],
)
def test_a_file_that_is_no_proper_yaml_is_one_sentence(tmp_path: Path, text: bytes, expected: str) -> None:
    path = tmp_path / "tables.yaml"
    path.write_bytes(text)
    with pytest.raises(BadInput) as error:
        load_tables(path)
    assert expected in sentence(error)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as error:
        load_tables(tmp_path / "none.yaml")
    assert "cannot be read" in sentence(error)


@pytest.mark.parametrize("expression", ["* * * * *", "*/5 0-6 1,15 * 0", "30 18 * * 6", "0 8-18/2 * * 1-5"])
def test_ordinary_cron_expressions_are_accepted(expression: str) -> None:
    assert _cron(expression) == expression


@given(st.text(max_size=20))
def test_no_text_makes_the_cron_check_fall_over(text: str) -> None:
    try:
        _cron(text)
    except Exception as error:
        assert type(error).__name__ == "PydanticCustomError"


def test_ddl_can_be_repeated_and_creates_reference_data_first() -> None:
    schema = ddl.schema(load_tables())
    assert list(schema)[:3] == ["symbols", "constituents", "trade_calendar"]
    assert list(schema)[-1] == ddl.PROBE
    assert len(schema) == len(load_tables().of(Store.POSTGRESQL)) + 1
    for statements in schema.values():
        for statement in statements:
            repeatable = statement.startswith("GRANT") or "IF NOT EXISTS" in statement
            assert repeatable or "if_not_exists => true" in statement


def test_ddl_of_a_hypertable_names_time_column_and_interval() -> None:
    statements = ddl.table_statements(load_tables()["order_records"], writer="w", reader="r")
    assert 'PRIMARY KEY ("event_id", "order_time")' in statements[0]
    assert "by_range('order_time', INTERVAL '1 day')" in statements[1]
    assert statements[-2:] == [
        'GRANT SELECT, INSERT, UPDATE ON public."order_records" TO "w"',
        'GRANT SELECT ON public."order_records" TO "r"',
    ]


def test_index_names_are_distinct_and_fit() -> None:
    statements = [
        s for part in ddl.schema(load_tables()).values() for s in part if s.startswith("CREATE INDEX")
    ]
    names = [statement.split('"')[1] for statement in statements]
    assert len(set(names)) == len(names) > 10
    assert max(map(len, names)) < 63


def test_the_writer_may_not_delete() -> None:
    statements = [s for part in ddl.schema(load_tables()).values() for s in part if '"writer"' in s]
    assert statements
    assert not [s for s in statements if "DELETE" in s or "TRUNCATE" in s or "ALL" in s]


def test_the_export_is_stable_and_holds_what_the_agents_need() -> None:
    text = tables_json(load_tables())
    assert text == tables_json(load_tables(TABLES))
    exported = json.loads(text)["tables"]
    assert "tick_data" not in exported
    for name, table in exported.items():
        assert table["on_conflict"] in {policy.value for policy in OnConflict}
        assert set(table["key"]) <= {column["name"] for column in table["columns"]}, name


# What the trading system calls its data today, by class, and the names that it used before.
CLASSIFICATIONS = {
    Classification.MARKET_DATA: (
        "tick_data minute_kline order_book_depth level2_snapshot index_quotes daily_kline depth_data realtime_quotes"
    ),
    Classification.REFERENCE_DATA: (
        "symbols_info industry_class concept_class index_constituents trade_calendar fundamental_metrics dividend_data"
        " shareholder_data market_rules contract_info constituent_info"
    ),
    Classification.DERIVED_DATA: (
        "technical_indicators quant_factors model_output trade_signals backtest_results risk_metrics"
        " quantitative_factors model_outputs trading_signals"
    ),
    Classification.TRANSACTION_DATA: (
        "order_records trade_records position_history realtime_positions realtime_account fund_flow order_queue"
        " transaction_records position_records account_funds"
    ),
    Classification.META_DATA: (
        "data_source_status task_schedule strategy_params system_config data_quality_metrics user_config"
        " task_schedules strategy_parameters"
    ),
}
IN_TDENGINE = {"tick_data", "minute_kline", "order_book_depth", "depth_data", "level2_snapshot", "index_quotes"}


def test_every_classification_and_every_older_name_leads_to_one_table_of_its_class(tmp_path: Path) -> None:
    routes: dict[str, str] = {}
    for store in Store:
        path = tmp_path / f"{store.value}.json"
        path.write_text(tables_json(load_tables(), store))
        known = load_exported(path)
        for name in " ".join(CLASSIFICATIONS.values()).split():
            with contextlib.suppress(BadRow):
                routes.setdefault(name, table_named(name, known).name)
                assert (store is Store.TDENGINE) == (name in IN_TDENGINE), name
    wanted = {name: klass for klass, names in CLASSIFICATIONS.items() for name in names.split()}
    assert len(wanted) == 34 + 12
    assert {name for name in wanted if name not in routes} == set()
    assert {name: load_tables()[routes[name]].classification for name in wanted} == wanted
    older = {"depth_data": "order_book_depth", "transaction_records": "trade_records", "model_outputs": "model_output"}
    assert {routes[name] == routes[newer] for name, newer in older.items()} == {True}


@pytest.mark.parametrize(
    ("dotted", "value", "why"),
    [
        ("tables/symbols/aliases", ["tick_data"], "that name leads to tick_data"),
        ("tables/symbols/subclassification", "order_records", "that name leads to"),
        ("naive_times", "Mars/Olympus", "no such time zone"),
        ("tables/symbols/columns/1/zone", "Asia/Shanghai", "no moment in time"),
        ("tables/symbols/columns/1/nan", "keep", "does not hold it soundly"),
        ("tables/order_records/columns/9/values", ["1"], "only a text has values"),
        ("tables/order_records/columns/6/nan", "zero", "'missing', 'keep' or 'refuse'"),
    ],
)  # fmt: skip
def test_a_rule_for_values_that_contradicts_is_one_sentence(
    tmp_path: Path, dotted: str, value: object, why: str
) -> None:
    with pytest.raises(BadInput) as error:
        load_tables(changed(TABLES, tmp_path, dotted, value))
    assert why in sentence(error)


def test_rules_for_values_reach_the_hosts(tmp_path: Path) -> None:
    path = changed(TABLES, tmp_path, "tables/order_records/columns/6/values", ["BUY", "SELL"])
    tables = load_tables(path)
    (tmp_path / "tables.json").write_text(tables_json(tables, keep_days=7))
    table = load_exported(tmp_path / "tables.json")["order_records"]
    by_name = {column.name: column for column in table.columns}
    assert by_name["side"].values == ("BUY", "SELL")
    assert (by_name["order_time"].zone, by_name["price"].zone) == ("Asia/Shanghai", "")
    assert table.keep_days == 7
    assert table.classifications == ("order_records",)
