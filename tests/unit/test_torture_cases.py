"""The torture schema's files are read as they are meant, and none of their cases is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.torture import cases, refusals
from tests.unit import torture_here

KINDS = cases.load()
LAID = [case for kind in KINDS.values() for case in kind.cases]


def test_every_file_makes_cases_or_takes_away_what_it_made_by_itself() -> None:
    for kind in (*KINDS.values(), *cases.load_apart().values()):
        assert kind.load, kind.name
        assert bool(kind.cases) is not bool(kind.clean), kind.name
    assert len(LAID) > 200


def test_every_table_is_made_by_one_case_and_every_case_is_tried_in_a_mode() -> None:
    tables = [table for case in LAID for table in case.tables]
    assert len(tables) == len(set(tables))
    assert [case for case in LAID if not case.modes or not case.make] == []


def test_what_is_not_refused_in_a_mode_is_spoilt_or_lost_first() -> None:
    """A restore that did nothing would pass otherwise."""
    idle = [case for case in LAID if not case.damage and set(case.modes) - {"drop", "beside"} - set(case.refused)]
    assert idle == []


def test_each_field_case_of_a_restore_has_its_row() -> None:
    apart = {kind.says.partition(":")[0] for kind in cases.load_apart().values()}
    assert apart | {case.seen_as for case in LAID} >= {f"F{number}" for number in (*range(6, 14), 16)}


def test_what_databases_of_one_server_share_is_changed_only_where_live_and_copy_have_each_their_own() -> None:
    """A role that is renamed for one is renamed for the other: the case could never be refused."""
    shared = {
        case.name for case in LAID if re.search(r"\b(ROLE|TABLESPACE)\b", case.damage + case.drop + case.armed)
    }  # fmt: skip
    here = {case.name for kind in torture_here.kinds().values() for case in kind.cases}
    assert shared
    assert shared == {case.name for case in LAID if case.two_servers}
    assert {case.name for case in LAID if "create_hypertable" not in case.make} - here == shared


def test_an_odd_name_is_read_whole() -> None:
    assert next(case for case in LAID if case.name == "newline_and_tab").table == 'tor_names."a\nb\tc"'
    assert next(case for case in LAID if case.name == "double_quotes_in_every_name").table == (
        '"Tor ""Schéma"".names"."say ""hello"""'
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("CREATE TABLE a ();", "the first line says"),
        ("-- A kind.\n--# damage\nDELETE FROM a;", "before the first case"),
        ("-- A kind.\n--# one | a\n--# refused upsert | no key", "no modes"),
        ("-- A kind.\n--# one | a\n--# refused merge", "for no reason"),
        ("-- A kind.\n--# one | a\n--# one | b", "no case of its own name"),
        ("-- A kind.\n--# one | a\n--# told | 5 missing", "begins with a bar"),
        ("-- A kind.\n--# one", "no case of its own name"),
    ],
)
def test_a_file_that_is_written_wrongly_is_told_by_name(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.sql"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=words) as told:
        cases.parse(path)
    assert "bad.sql" in str(told.value)


def test_facts_of_a_case_are_read(tmp_path: Path) -> None:
    path = tmp_path / "kind.sql"
    path.write_text(
        "-- A kind.\nCREATE SCHEMA s;\n--# one | s.a | s.b\nCREATE TABLE s.a ();\n"
        "--# refused merge drop | no key | s.a\n"
        '--# same s.c "s d"."e f"\n--# told 5 missing | with s.c\n--# changes\n--# damage\nDELETE FROM s.a;\n'
        "--# clean\nDROP SCHEMA s CASCADE;\n",
        encoding="utf-8",
    )
    kind = cases.parse(path)
    (one,) = kind.cases
    assert (kind.shared, kind.clean) == ("CREATE SCHEMA s;\n", "DROP SCHEMA s CASCADE;\n")
    assert (one.tables, one.make, one.damage) == (("s.a", "s.b"), "CREATE TABLE s.a ();\n", "DELETE FROM s.a;\n")
    assert one.refused == {"merge": ("no key", "s.a"), "drop": ("no key", "s.a")}
    assert one.same == ("s.c", '"s d"."e f"')
    assert one.told == ("5 missing", "with s.c")
    assert (one.changes, one.modes) == ((), ("merge", "replace", "beside"))
    assert one.loss == "DROP TABLE s.a, s.b CASCADE;\n"


def test_the_page_of_refusals_has_every_reason_that_a_case_shows() -> None:
    assert refusals.reasons()
    assert refusals.on_page() == refusals.table(), "python -m tests.torture.refusals writes it anew"
