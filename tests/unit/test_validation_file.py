"""The same rows in PostgreSQL, SQLite and a Parquet export have the same hash, by a rule that is spelt twice."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from inventories.catalog import load_tables
from inventories.catalog.tables import Column
from inventories.errors import BadInput
from runbooks.table_copy.names import quoted
from runbooks.table_copy.source import plain_settings
from runbooks.validation import beside_file, canonical, file_rows
from runbooks.validation.canonical import NoValue
from runbooks.validation.difference import Looked
from tests.unit.postgres_server import Server
from tests.unit.validation_kit import Validated, validated

KNOWN = load_tables()
ZONE = "Asia/Shanghai"
EAST = timezone(timedelta(hours=8))
NOON = datetime(2026, 11, 27, 12, 0, 0, 123456, EAST)
BARS, CONFIG = KNOWN["daily_kline"], KNOWN["strategy_parameters"]
# Type -> (a literal of PostgreSQL, the same value as other stores may have it).
SAME: Mapping[str, Sequence[tuple[str, Sequence[Any]]]] = {
    "bigint": [("9223372036854775807", [2**63 - 1, "9223372036854775807"]), ("-5", [-5, "-5", -5.0])],
    "numeric(18,4)": [
        ("1.000", [1, 1.0, "1", "1.0", "1.000", Decimal("1.00000")]),
        ("-0.0", [0, -0.0, "0.000", Decimal("-0")]),
        ("0.3", [0.1 + 0.2, "0.30004"]),
        ("1.00005", ["1.0001", Decimal("1.00005"), 1.00005]),
        ("-1.00005", ["-1.0001", Decimal("-1.00005")]),
        ("1200", [1200, 1.2e3, "1.2E3", "1200.00"]),
        ("99999999999999.9999", ["99999999999999.9999", Decimal("99999999999999.9999")]),
        ("'NaN'", [float("nan"), "NaN"]),
    ],
    "double precision": [
        ("0.1", [0.1, "0.1", "0.10000000000000001"]), ("'-0'", [0, -0.0, 0.0]), ("'NaN'", [float("nan"), "nan"]),
        ("'Infinity'", [float("inf")]), ("1e300", [1e300, "1E+300"]),
    ],
    "real": [("0.1", [0.1, "0.1", 0.10000000149011612])],
    "boolean": [("true", [True, 1, "t", "true"]), ("false", [False, 0, "f"])],
    "text": [("'a b '", ["a b ", b"a b "]), ("''", [""]), ("'贵州''茅台'", ["贵州'茅台"])],
    "date": [("'2026-11-27'", [date(2026, 11, 27), "2026-11-27"]), ("'infinity'", ["infinity"])],
    "timestamptz": [
        ("'2026-11-27 04:00:00.123456+00'", [
            NOON, NOON.astimezone(UTC), NOON.replace(tzinfo=None), "2026-11-27 12:00:00.123456",
            "2026-11-27T04:00:00.123456Z", "2026-11-27 12:00:00.123456+08", "2026-11-27 05:30:00.123456000+01:30",
            1_795_752_000_123_456_000,
        ]),
        ("'1969-12-31 23:59:59.5+00'", ["1969-12-31 23:59:59.5Z", -500_000_000]),
        ("'-infinity'", ["-infinity"]),
    ],
    "jsonb": [
        ("""'{"bb": 1.0, "a": [true, null, {"y": 1e2, "x": "\\u00e9\\n\\"\\u0001"}], "ab": -0}'""", [
            '{"ab": -0, "a":[true,null,{"x":"é\\n\\"\\u0001","y":100}],"bb":1.0}',
            '{"a": 3, "ab": 0, "bb": 1.0, "a": [true, null, {"y": 100, "x": "\\u00e9\\n\\"\\u0001"}]}',
        ]),
        ("'[]'", ["[]", []]), ("'\"x\"'", ['"x"']), ("'{\"a\": 1}'", [{"a": 1}]),
    ],
}  # fmt: skip
OTHER: Sequence[tuple[str, Any, Any]] = [
    ("numeric(18,4)", "1.0001", "1.0002"), ("double precision", 0.1, 0.30000000000000004 - 0.2), ("text", "a", "A"),
    ("text", "a", "a "), ("jsonb", '{"a": 1.0}', '{"a": 1.00}'), ("jsonb", "[1, 2]", "[2, 1]"),
    ("timestamptz", "2026-11-27 12:00:00Z", "2026-11-27 12:00:00.000000001Z"),
]  # fmt: skip


def column(kind: str) -> Column:
    return Column(name="v", type=kind, nullable=True)


@pytest.fixture
def database(copying_server: Server) -> Iterator[Validated]:
    with validated(copying_server, 200) as made:
        made.sql(
            "INSERT INTO strategy_parameters SELECT i, 's' || i, 1, "
            "'{\"b\": [1.0, 2], \"a\": \"x\"}', i % 2 = 0, '2026-11-27 04:00:00.25+00' FROM generate_series(1, 9) i",
            "UPDATE daily_kline SET amount = NULL WHERE event_id % 3 = 0",
        )
        yield made


class TestTheRule:
    """Spelt in SQL and in Python, it is one."""

    @pytest.mark.parametrize("kind", SAME)
    def test_every_spelling_of_a_value_has_the_servers_text(self, database: Validated, kind: str) -> None:
        for written, others in SAME[kind]:
            value = f"SELECT '<' || {canonical.expression(column(kind))} || '>' FROM (SELECT {written}::{kind} AS v) t"
            said = database.asked.ask(f"{plain_settings()}{value};")
            for other in others:
                assert f"<{canonical.text(column(kind), other, ZONE)}>" == said, (kind, written, other)

    @pytest.mark.parametrize(("kind", "one", "other"), OTHER)
    def test_other_values_have_other_texts(self, kind: str, one: Any, other: Any) -> None:
        assert canonical.text(column(kind), one, ZONE) != canonical.text(column(kind), other, ZONE)

    @pytest.mark.parametrize(
        ("kind", "value"),
        [("bigint", 1.5), ("bigint", "x"), ("numeric(18,4)", "x"), ("boolean", 2), ("text", 5), ("date", "27.11.2026"),
         ("timestamptz", "noon"), ("jsonb", "{"), ("jsonb", '{"a": NaN}'), ("real", 1e300), ("date", NOON)],
    )  # fmt: skip
    def test_what_is_no_value_of_its_type_is_told(self, kind: str, value: Any) -> None:
        with pytest.raises(NoValue, match=f"v is .* is no {kind.split('(')[0]}"):
            canonical.text(column(kind), value, ZONE)

    def test_a_time_without_zone_is_nobodys_where_none_is_declared(self) -> None:
        with pytest.raises(NoValue, match="it has no zone"):
            canonical.text(column("timestamptz"), "2026-11-27 12:00:00", None)
        own = column("timestamptz").model_copy(update={"zone": "UTC"})
        assert canonical.text(own, "1970-01-01 00:00:01", ZONE) == "1000000"

    def test_null_is_an_absent_column_and_no_empty_text(self) -> None:
        assert canonical.row({"b": None, "a": "1"}) == canonical.row({"a": "1"}) == "a=1:1;"
        assert canonical.row({"a": ""}) != canonical.row({})
        assert canonical.row({"a": "1;b=1:2"}) != canonical.row({"a": "1", "b": "2"})

    def test_the_servers_sums_are_those_of_the_rows(self, database: Validated) -> None:
        said = "'row ' || i"
        asked = f"SELECT {canonical.sums_expression(said)} FROM generate_series(1, 500) i"
        [row] = database.asked.query(asked)
        ours = [canonical.halves(f"row {i}") for i in range(1, 501)]
        assert (row["one"], row["other"]) == (str(sum(one for one, _ in ours)), str(sum(other for _, other in ours)))


def exported(database: Validated, name: str) -> list[dict[str, Any]]:
    """Rows as a client has them: Decimal, date, datetime."""
    names = [one.name for one in KNOWN[name].columns]
    found = database.sql(f"SELECT {', '.join(map(quoted, names))} FROM {name}")
    return [dict(zip(names, row, strict=True)) for row in found]


def to_sqlite(path: Path, name: str, rows: Sequence[Mapping[str, Any]], without: Sequence[str] = ()) -> None:
    """As others write it: money as REAL, moments as local texts without a zone, json with other white space."""
    names = [one for one in rows[0] if one not in without]
    listed = ", ".join(f'"{one}"' for one in names)
    with closing(sqlite3.connect(path)) as made, made:
        made.execute(f'CREATE TABLE "{name}" ({listed})')
        made.executemany(
            f'INSERT INTO "{name}" VALUES ({", ".join("?" * len(names))})',
            [[_stored(row[one]) for one in names] for row in rows],
        )


def _stored(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return value.astimezone(EAST).strftime("%Y-%m-%d %H:%M:%S.%f")
    if isinstance(value, dict):
        return str(value).replace("'", '"')
    return value.isoformat() if isinstance(value, date) else value


def looked(database: Validated, path: Path, *names: str) -> Looked:
    wanted = beside_file.tables(path, KNOWN, names, True)
    return beside_file.compare(database.asked, path, KNOWN, wanted, 60)


def told(found: Looked) -> list[str]:
    return [f"{one.table}: {one.what}: {one.expected}: {one.found}" for one in found.differences]


class TestSqlite:
    """A database of SQLite."""

    @pytest.fixture
    def file(self, database: Validated, tmp_path: Path) -> Path:
        for name in ("daily_kline", "strategy_parameters", "order_records"):
            without = ("remark",) if name == "order_records" else ()
            to_sqlite(tmp_path / "kept.db", name, exported(database, name), without)
        return tmp_path / "kept.db"

    def test_the_same_rows_differ_in_nothing(self, database: Validated, file: Path) -> None:
        found = looked(database, file, "daily_kline", "strategy_parameters", "order_records")
        assert told(found) == [] and found.number == 20 + 9 + 200 and found.sound

    def test_a_value_is_told_with_key_column_and_both_values(self, database: Validated, file: Path) -> None:
        database.sql("UPDATE daily_kline SET close = 10.9999 WHERE event_id = 3000017")
        [(day,)] = database.sql("SELECT trade_date::text FROM daily_kline WHERE event_id = 3000017")
        assert told(looked(database, file, "daily_kline")) == [
            f"daily_kline: row symbol=G17.SIM, trade_date={day}: close: 11: 10.9999"
        ]

    def test_rows_that_are_only_on_one_side_are_told(self, database: Validated, file: Path) -> None:
        database.sql(
            "DELETE FROM strategy_parameters WHERE strategy_id = 's3'",
            "INSERT INTO strategy_parameters SELECT 100, 'new', 1, '{}', true, now()",
        )
        assert told(looked(database, file, "strategy_parameters")) == [
            "strategy_parameters: row strategy_id=new, parameter_version=1: no such row: a row",
            "strategy_parameters: row strategy_id=s3, parameter_version=1: a row: no such row",
        ]

    def test_two_rows_that_swapped_a_value_are_told(self, database: Validated, file: Path) -> None:
        database.sql(
            "UPDATE order_records o SET quantity = p.quantity FROM order_records p "
            "WHERE (o.event_id, p.event_id) IN ((17, 22), (22, 17))"
        )
        assert len(told(looked(database, file, "order_records"))) == 2

    def test_a_row_that_is_there_twice_is_told(self, database: Validated, file: Path) -> None:
        with closing(sqlite3.connect(file)) as made, made:
            made.execute("INSERT INTO strategy_parameters SELECT * FROM strategy_parameters LIMIT 1")
        assert told(looked(database, file, "strategy_parameters"))[0].endswith(": 2 rows: a row")

    def test_rows_of_one_key_that_are_others_are_told_beside_a_row_that_differs(
        self, database: Validated, file: Path
    ) -> None:
        database.sql(
            "ALTER TABLE strategy_parameters DROP CONSTRAINT strategy_parameters_pkey",
            "INSERT INTO strategy_parameters SELECT * FROM strategy_parameters WHERE strategy_id = 's3'",
            "UPDATE strategy_parameters SET is_active = NOT is_active WHERE strategy_id = 's4'",
        )
        with closing(sqlite3.connect(file)) as made, made:
            made.execute("CREATE TABLE more AS SELECT * FROM strategy_parameters WHERE strategy_id = 's3'")
            made.execute("UPDATE more SET event_id = 999")
            made.execute("INSERT INTO strategy_parameters SELECT * FROM more")
        assert [one.partition(", ")[0] for one in told(looked(database, file, "strategy_parameters"))] == [
            "strategy_parameters: row strategy_id=s3", "strategy_parameters: row strategy_id=s4",
        ]  # fmt: skip

    def test_days_with_too_many_rows_are_told_as_days(
        self, database: Validated, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(beside_file, "MOST", 1)
        database.sql("DELETE FROM order_records WHERE event_id % 5 = 0")
        [one] = told(looked(database, file, "order_records"))
        assert one.startswith("order_records: rows of 20") and one.endswith(": 40 as in the file: 0, or others")

    def test_what_the_file_has_and_the_catalogue_has_not_is_bad_input(self, database: Validated, file: Path) -> None:
        with closing(sqlite3.connect(file)) as made, made:
            made.execute("ALTER TABLE daily_kline ADD COLUMN turnover")
            made.execute("UPDATE order_records SET quantity = 'many' WHERE event_id = 1")
        with pytest.raises(BadInput, match="turnover is no column of daily_kline in the catalogue"):
            looked(database, file, "daily_kline")
        with pytest.raises(BadInput, match="row 1 of order_records: quantity is 'many', which is no bigint"):
            looked(database, file, "order_records")
        with pytest.raises(BadInput, match="has no table fund_flow"):
            looked(database, file, "fund_flow")

    def test_without_a_word_the_tables_that_both_have_are_compared(self, file: Path) -> None:
        names = tuple(table.name for table in KNOWN.tables.values() if table.store.value == "postgresql")
        found = {table.name for table in beside_file.tables(file, KNOWN, names, False)}
        assert found == {"daily_kline", "strategy_parameters", "order_records"}

    def test_no_row_on_either_side_proves_nothing(self, database: Validated, tmp_path: Path) -> None:
        to_sqlite(tmp_path / "none.db", "fund_flow", [dict.fromkeys(("event_id", "flow_id"))])
        with closing(sqlite3.connect(tmp_path / "none.db")) as made, made:
            made.execute("DELETE FROM fund_flow")
        assert not looked(database, tmp_path / "none.db", "fund_flow").sound


class TestParquet:
    """A Parquet export."""

    def test_without_pyarrow_it_is_said_what_to_install(
        self, database: Validated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
        (tmp_path / "x.parquet").write_bytes(b"PAR1")
        with pytest.raises(BadInput, match="pyarrow, which reads it, is not installed") as error:
            looked(database, tmp_path / "x.parquet", "daily_kline")
        assert error.value.hint == ".venv/bin/pip install pyarrow"

    @pytest.mark.parametrize("unit", ["us", "ns"])
    @pytest.mark.parametrize("zone", ["UTC", "America/New_York", None])
    def test_the_same_rows_differ_in_nothing(
        self, database: Validated, tmp_path: Path, unit: str, zone: str | None
    ) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        for name in ("order_records", "daily_kline"):
            rows = exported(database, name)
            if zone is None:
                rows = [{k: v.astimezone(EAST).replace(tzinfo=None) if isinstance(v, datetime) else v
                         for k, v in row.items()} for row in rows]  # fmt: skip
            table = pyarrow.Table.from_pylist(rows)
            if name == "order_records":
                at = table.schema.get_field_index("order_time")
                table = table.set_column(at, "order_time", table["order_time"].cast(pyarrow.timestamp(unit, zone)))
            parquet.write_table(table, tmp_path / f"{name}.parquet")
            found = looked(database, tmp_path / f"{name}.parquet", name)
            assert told(found) == [] and found.sound

    def test_nobody_knows_whose_rows_they_are_without_a_word(self, tmp_path: Path) -> None:
        (tmp_path / "x.parquet").write_bytes(b"PAR1")
        with pytest.raises(BadInput, match="nobody said which"):
            beside_file.tables(tmp_path / "x.parquet", KNOWN, ("daily_kline",), False)


def test_what_is_neither_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    for name, why in (("x.csv", "neither a SQLite database nor a Parquet file"), ("none.db", "there is no file")):
        with pytest.raises(BadInput, match=why):
            file_rows.tables(tmp_path / name)


def test_a_database_whose_schema_is_damaged_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "kept.db"
    with closing(sqlite3.connect(path)) as made, made:
        made.execute("CREATE TABLE daily_kline (a)")
    data = bytearray(path.read_bytes())
    data[100:] = bytes(len(data) - 100)  # all that follows the file's header
    path.write_bytes(data)
    with pytest.raises(BadInput, match=r"kept\.db cannot be read: "):
        beside_file.tables(path, KNOWN, ("daily_kline",), False)
