"""What the store would refuse for ever is refused before it is acknowledged, with row, column and reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from zoneinfo import ZoneInfo

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.base.config import Column, Table
from agents.base.errors import BadConfig
from agents.client.kinds import MAX_BYTES, NULL
from agents.client.prepare import Checker, Refused
from agents.tdengine.sql import rows_of

SHANGHAI = "Asia/Shanghai"


def ids(sound: Sequence[int]) -> range:
    return range(1, len(sound) + 1)


def told(kind: str, value: object, tdengine: bool = False, keep_days: float | None = None, **rules: object) -> str:
    """The text of one value in a column of this type, or why it is refused."""
    prepared = checker(kind, tdengine, keep_days, **rules).prepare([{"v": value}], ids)
    if prepared.refused:
        assert [(one.row, one.column) for one in prepared.refused] == [(0, "v")]
        assert not prepared.pieces
        return f"refused: {prepared.refused[0].reason}"
    return prepared.pieces[0].batch.parts[0].text.rstrip("\n").partition("\t")[2]


def checker(kind: str, tdengine: bool = False, keep_days: float | None = None, **rules: object) -> Checker:
    nullable = bool(rules.pop("nullable", False))
    column = replace(Column("v", kind, nullable), **rules)  # type: ignore[arg-type]
    columns = (Column("event_id", "bigint", False), column)
    return Checker(Table("t", "d", "c", columns, ("event_id",), "ignore", keep_days=keep_days), tdengine)


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("bigint", 5, "5"), ("bigint", 5.0, "5"), ("bigint", "5", "5"), ("bigint", Decimal("5"), "5"),
        ("bigint", numpy.int64(5), "5"), ("smallint", -32768, "-32768"), ("tinyint", 127, "127"),
        ("double precision", 0.1, "0.1"), ("double precision", 3, "3"), ("double precision", "1e3", "1000.0"),
        ("double precision", numpy.float32(0.5), "0.5"), ("double precision", float("-inf"), "-Infinity"),
        ("real", 1e38, "1e+38"),
        ("numeric(18,4)", 10.5, "10.5"), ("numeric(18,4)", Decimal("10.5"), "10.5000"),
        ("numeric(18,4)", "10.50000", "10.5000"), ("numeric(18,4)", 0.1 + 0.2, "0.30000000000000004"),
        ("numeric(4,2)", 99.991, "99.99"), ("numeric(4,2)", Decimal("9E+1"), "90.00"),
        ("numeric(4,4)", 0.5, "0.5000"),
        ("varchar(3)", "abc", "abc"), ("varchar(2)", "中文", "中文"), ("nchar(2)", "中文", "中文"),
        ("text", "a\tb\\c\nd", "a\\tb\\\\c\\nd"), ("text", "\\N", "\\\\N"), ("text", numpy.str_("x"), "x"),
        ("boolean", True, "t"), ("boolean", 0, "f"), ("boolean", numpy.bool_(True), "t"),
        ("date", date(2026, 11, 20), "2026-11-20"), ("date", datetime(2026, 11, 20), "2026-11-20"),
        ("date", "2026-11-20", "2026-11-20"), ("date", numpy.datetime64("2026-11-20"), "2026-11-20"),
        ("timestamptz", datetime(2026, 1, 2, 3, tzinfo=timezone.utc), "2026-01-02T03:00:00+00:00"),
        ("timestamptz", "2026-01-02 03:04:05.5Z", "2026-01-02T03:04:05.500000+00:00"),
        ("timestamptz", "2026-01-02T03:04+0800", "2026-01-02T03:04:00+08:00"),
        ("jsonb", {"a": [1, None]}, '{"a": [1, null]}'), ("jsonb", '{"a": "\\\\u0000"}', '{"a": "\\\\\\\\u0000"}'),
        ("jsonb", [1.5], "[1.5]"), ("jsonb", "7", "7"),
        ("jsonb", "[1e131071, 1e-16383, 0e999999, -1.5E+3]", "[1e131071, 1e-16383, 0e999999, -1.5E+3]"),
        ("jsonb", "1" * 5000, "1" * 5000), ("numeric(1000,0)", 7, "7"), ("numeric(1000,0)", 10**400, f"{10**400}"),
    ],
)  # fmt: skip
def test_a_value_that_fits_is_written_as_it_is(kind: str, value: object, text: str) -> None:
    assert told(kind, value) == text


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        ("bigint", 1 << 63, "outside"), ("smallint", 40000, "outside"), ("bigint", 1.5, "not a whole number"),
        ("bigint", True, "not a whole number"), ("bigint", "five", "not a whole number"),
        ("bigint", None, "is missing"),
        ("bigint", float("nan"), "NaN"), ("bigint", float("inf"), "not a whole number"),
        ("double precision", "abc", "not a number"), ("double precision", "1e999", "out of range"),
        ("double precision", "1e-999", "out of range"), ("double precision", True, "not a number"),
        ("double precision", 10**400, "out of range"), ("real", 1e39, "out of range"), ("real", 1e-60, "out of range"),
        ("numeric(18,4)", 1e15, "holds less than"), ("numeric(4,2)", 99.999, "rounds to more"),
        ("numeric(18,4)", Decimal("0.00001"), "keeps 4 decimals"), ("numeric(18,4)", "10.12345", "keeps 4 decimals"),
        ("numeric(18,4)", Decimal("Infinity"), "infinite"), ("numeric(18,4)", Decimal("1E+999999"), "holds less"),
        ("numeric(18,4)", float("inf"), "infinite"), ("numeric(18,4)", "1,5", "not a number"),
        ("varchar(3)", "abcd", "4 characters"), ("binary(3)", "中文", "6 bytes"), ("binary(1)", "BUY", "3 bytes"),
        ("text", 600000, "not text"), ("text", b"x", "bytes"), ("text", "a\0b", "NUL"),
        ("text", "\ud800", "no valid Unicode"), ("text", "x" * (MAX_BYTES + 1), "the most for one value"),
        ("boolean", "yes", "not true or false"), ("boolean", 2, "not true or false"),
        ("date", datetime(2026, 11, 20, 9), "a time and not a date"), ("date", "20261120", "not a date"),
        ("date", 20261120, "not a date"),
        ("timestamptz", datetime(2026, 1, 2), "without a time zone"), ("timestamptz", date(2026, 1, 2), "not a time"),
        ("timestamptz", "2026-13-02T00:00:00Z", "no time"), ("timestamptz", "yesterday", "not a time"),
        ("timestamptz", 1_700_000_000, "not a time"),
        ("jsonb", {"a": float("nan")}, "no JSON"), ("jsonb", {"a": Decimal("1")}, "no JSON"),
        ("jsonb", "{", "no JSON"), ("jsonb", '{"a": NaN}', "NaN is no number"), ("jsonb", {"a": "\0"}, "NUL"),
        ("jsonb", '"\\ud800"', "no valid Unicode"), ("jsonb", {"a": "\ud800"}, "no valid Unicode"),
        ("jsonb", "[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("jsonb", '{"a": 1e999999}', "holds the number 1e999999, 131072 digits before and 16383 after the point"),
        ("jsonb", "-1e131072", "holds the number"), ("jsonb", "[1E-16384]", "holds the number"),
        ("jsonb", "0e-16384", "holds the number"), ("jsonb", "1" * 131_073, "11111...1111111111, 131072 digits before"),
        ("jsonb", "1e" + "9" * 30, "holds the number 1e999"), ("jsonb", {"a": json.loads("1e999999")}, "no JSON"),
    ],
)  # fmt: skip
def test_a_value_that_no_store_would_take_is_refused(kind: str, value: object, why: str) -> None:
    assert told(kind, value).startswith("refused: ")
    assert why in told(kind, value)


def test_an_infinite_or_missing_number_is_nothing_that_tdengine_can_read() -> None:
    assert told("double", float("inf"), tdengine=True) == "refused: is infinite"
    assert told("double", float("nan"), tdengine=True, nan="keep") == "refused: is NaN, and may not be missing"
    assert told("double", float("nan"), tdengine=True, nan="keep", nullable=True) == NULL


def test_a_time_older_than_tdengine_keeps_is_refused_and_one_that_it_keeps_is_nanoseconds() -> None:
    now = datetime.now(timezone.utc).replace(microsecond=123456)
    ns = int(now.timestamp()) * 10**9 + 123456000
    assert told("timestamp", now, tdengine=True, keep_days=10) == str(ns)
    assert told("timestamp", ns + 7, tdengine=True, keep_days=10) == str(ns + 7)
    assert "older than the 10 days" in told("timestamp", now - timedelta(days=11), tdengine=True, keep_days=10)
    assert "older than the 10 days" in told("timestamp", ns // 10**6, tdengine=True, keep_days=10)  # milliseconds
    assert "64 bits" in told("timestamp", datetime(2400, 1, 1, tzinfo=timezone.utc), tdengine=True, keep_days=10)


def test_a_naive_time_is_read_in_the_zone_that_the_catalogue_declares() -> None:
    assert told("timestamptz", datetime(2026, 1, 2, 9, 30), zone=SHANGHAI) == "2026-01-02T09:30:00+08:00"
    assert told("timestamptz", "2026-01-02 09:30", zone=SHANGHAI) == "2026-01-02T09:30:00+08:00"
    aware = datetime(2026, 1, 2, 9, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert told("timestamptz", aware, zone=SHANGHAI) == "2026-01-02T09:30:00+01:00"


@pytest.mark.parametrize("local", [datetime(2026, 10, 25, 2, 30), datetime(2026, 3, 29, 2, 30)])
def test_a_naive_time_that_is_there_twice_or_never_is_refused(local: datetime) -> None:
    assert "twice or never" in told("timestamptz", local, zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ({"nullable": True}, NULL), ({"nullable": True, "nan": "keep"}, "NaN"),
        ({"nullable": True, "nan": "refuse"}, "refused: is NaN"), ({}, "refused: is NaN, and may not be missing"),
    ],
)  # fmt: skip
def test_nan_is_what_the_catalogue_says(rules: dict[str, object], text: str) -> None:
    assert told("double precision", float("nan"), **rules) == text
    assert told("double precision", numpy.float64("nan"), **rules) == text
    assert told("double precision", numpy.float32("nan"), **rules) == text


def test_a_text_is_one_of_the_values_that_the_catalogue_lists() -> None:
    assert told("varchar(4)", "BUY", values=("BUY", "SELL")) == "BUY"
    assert told("varchar(4)", "HOLD", values=("BUY", "SELL")) == "refused: is 'HOLD', none of BUY, SELL"


def test_a_type_of_a_newer_catalogue_is_told_when_the_client_opens() -> None:
    with pytest.raises(BadConfig, match="uuid"):
        checker("uuid")


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.decimals(), st.text(), st.binary(), st.dates(),
    st.datetimes(), st.datetimes(timezones=st.just(timezone.utc)), st.lists(st.integers()), st.just(object()),
    st.dictionaries(st.text(), st.one_of(st.text(), st.floats(), st.none())),
)  # fmt: skip
KINDS = (
    "smallint", "integer", "bigint", "real", "double precision", "boolean", "text", "date", "timestamptz", "jsonb",
    "varchar(5)", "numeric(6,2)",
)  # fmt: skip


@given(kind=st.sampled_from(KINDS), values=st.lists(VALUES, min_size=1, max_size=4), nullable=st.booleans())
@settings(deadline=None)  # a busy machine is no finding
def test_many_values_are_judged_as_each_of_them_alone(kind: str, values: list[object], nullable: bool) -> None:
    """The fast way for columns that are all alike says nothing else, and each text is one line and one field."""
    one_by_one = [told(kind, value, nullable=nullable) for value in values]
    prepared = checker(kind, nullable=nullable).prepare([{"v": value} for value in values], ids)
    together = [""] * len(values)
    for refused in prepared.refused:
        assert isinstance(refused, Refused)
        together[refused.row] = f"refused: {refused.reason}"
    for piece in prepared.pieces:
        lines = piece.batch.parts[0].text.split("\n")[:-1]
        assert [line.count("\t") for line in lines] == [1] * len(lines)
        for row, line in zip(piece.rows, lines, strict=True):
            together[row] = line.partition("\t")[2]
    assert [_as_number(text) for text in together] == [_as_number(text) for text in one_by_one]


def _as_number(text: str) -> object:
    """One way writes 10.5 where the other writes 10.50."""
    try:
        return Decimal(text).quantize(Decimal("0.01")) if "refused" not in text else text
    except ArithmeticError:
        return text


def test_json_comes_back_as_it_was() -> None:
    document = {"名": "x\ty\\", "n": [1, 2.5, None, True]}
    prepared = checker("jsonb").prepare([{"v": document}], ids)
    ((_, text),) = rows_of(prepared.pieces[0].batch.parts[0])
    assert json.loads(text or "") == document


class Side(str, Enum):
    BUY = "BUY"


class Lots(int, Enum):
    ROUND = 100


class Plain(Enum):
    BUY = "BUY"


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("varchar(4)", Side.BUY, "BUY"), ("text", Plain.BUY, "BUY"), ("jsonb", Side.BUY, "refused: is no JSON"),
        ("jsonb", {"side": Side.BUY}, '{"side": "BUY"}'), ("integer", Lots.ROUND, "100"),
        ("numeric(18,4)", Lots.ROUND, "100.0000"), ("double precision", Lots.ROUND, "100"),
    ],
)  # fmt: skip
def test_a_member_of_an_enumeration_is_its_value_and_not_its_name(kind: str, value: object, text: str) -> None:
    assert told(kind, value).startswith(text)
    assert told("text", Side.BUY, values=("BUY", "SELL")) == "BUY"


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("kind", ["bigint", "numeric(18,4)", "double precision", "text", "date", "timestamp"])
def test_a_number_that_python_itself_does_not_write_out_is_refused_in_a_few_letters(kind: str, sign: int) -> None:
    reason = told(kind, sign * 10**5000, tdengine=kind == "timestamp")
    assert reason.startswith("refused: ")
    assert "16610 bits" in reason and len(reason) < 120


def test_a_moment_of_numpy_keeps_its_nanoseconds_and_its_gap() -> None:
    moment = numpy.datetime64("2026-11-27T01:30:00.123456789")
    assert told("timestamp", moment, tdengine=True, zone="UTC") == "1795743000123456789"
    assert told("timestamptz", moment, zone="UTC") == "2026-11-27T01:30:00.123456+00:00"
    assert told("timestamptz", numpy.datetime64("NaT"), nullable=True) == NULL
    assert told("timestamp", numpy.datetime64("20000-01-01", "us"), tdengine=True, zone="UTC").startswith("refused")


def test_a_document_of_any_size_is_judged_by_its_length_first(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = "[" + "1," * (MAX_BYTES // 2) + "1]"
    monkeypatch.setattr(json, "loads", None)  # would take many times the memory
    assert told("jsonb", huge).startswith(f"refused: is a document of {len(huge)} characters, ")
    assert told("jsonb", {"a": "x" * MAX_BYTES}).startswith("refused: is a document of")
