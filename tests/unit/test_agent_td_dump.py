"""The second engine of TDengine backups: what it packs comes back, and a count that does not add up is no dump."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from agents.base.errors import AgentError
from agents.tdengine.backup import dump_pack

pytest.importorskip("numpy")
from agents.jobs import in_step, leases, proofs, second
from agents.jobs.in_step import Reading
from agents.jobs.leases import Lease
from agents.jobs.proofs import Proof
from agents.tdengine.backup import dump, dump_tool, scan, schema
from agents.tdengine.backup.file import Broken
from agents.tdengine.backup.settings import Settings
from tests.unit.jobs_kit import backup_host
from tests.unit.td_kit import place

pytestmark = pytest.mark.skipif(not shutil.which("zstd"), reason="zstd is not installed")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("secret\n")
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    folder = tmp_path / "plain"
    (folder / "data").mkdir(parents=True)
    (folder / "dbs.sql").write_text("CREATE DATABASE ...")
    (folder / "data" / "贵州茅台.avro").write_bytes(b"rows" * 100_000)
    return folder


def test_what_was_packed_comes_back_and_is_not_readable_in_between(tmp_path: Path, plain: Path, key: Path) -> None:
    packed, back = tmp_path / "dump", tmp_path / "back"
    expected = dump_pack.pack(plain, packed, key, 1)
    assert expected["bytes"] == packed.stat().st_size
    assert b"CREATE DATABASE" not in packed.read_bytes()
    back.mkdir()
    dump_pack.unpack(packed, back, key, expected)
    assert (back / "data" / "贵州茅台.avro").read_bytes() == b"rows" * 100_000
    assert len(dump_pack.read(packed, key, expected)) == 4


def test_a_byte_that_flipped_and_a_file_that_is_cut_off_are_found_before_anything_is_unpacked(
    tmp_path: Path, plain: Path, key: Path
) -> None:
    packed, back = tmp_path / "dump", tmp_path / "back"
    expected = dump_pack.pack(plain, packed, key, 1)
    back.mkdir()
    data = bytearray(packed.read_bytes())
    data[100] ^= 1
    packed.write_bytes(bytes(data))
    with pytest.raises(AgentError, match="is not what was written"):
        dump_pack.unpack(packed, back, key, expected)
    packed.write_bytes(bytes(data[:-1]))
    with pytest.raises(AgentError, match=f"instead of {len(data)}"):
        dump_pack.unpack(packed, back, key, expected)
    packed.unlink()
    with pytest.raises(AgentError, match="cannot be read"):
        dump_pack.read(packed, key, expected)
    assert list(back.iterdir()) == []


def test_another_key_opens_nothing(tmp_path: Path, plain: Path, key: Path) -> None:
    packed = tmp_path / "dump"
    expected = dump_pack.pack(plain, packed, key, 1)
    key.write_text("another\n")
    with pytest.raises(AgentError, match="cannot be opened"):
        dump_pack.read(packed, key, expected)


@pytest.mark.parametrize(("rows", "fine"), [(99, False), (100, True), (105, True), (110, True), (111, False)])
def test_rows_that_came_meanwhile_may_be_in_it_and_no_others_may_lack(rows: int, fine: bool) -> None:
    before, after = {"tick_data": 60, "depth_data": 40}, {"tick_data": 70, "depth_data": 40}
    if fine:
        dump._account(before, after, rows)
    else:
        with pytest.raises(AgentError, match=f"brought {rows} rows, the server has 100 to 110"):
            dump._account(before, after, rows)


def test_a_table_that_taosdump_cannot_take_is_named_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended at the first DECIMAL, whatever other tables there were."""
    tables: dict[str, dict[str, Any]] = {
        "tick_data": {"columns": [["ts", "TIMESTAMP", True], ["price", "DOUBLE", False]], "tags": [["s", "BIGINT"]]},
        "exact": {"columns": [["ts", "TIMESTAMP", True], ["price", "DECIMAL(18, 4)", False]], "tags": []},
    }
    assert dump.undumped(tables, {}) == {"exact": "taosdump knows no DECIMAL(18, 4) (price)"}
    said: list[list[str]] = []

    def ran(server: object, words: list[str], scratch: Path) -> str:
        said.append(words)
        return "9 row(s) dumped out!"

    monkeypatch.setattr(dump_tool, "_run", ran)
    server: Any = "whoever"
    for number, only in enumerate(((), ("tick_data",))):
        assert dump_tool.out(server, "market_data", tmp_path / str(number), tmp_path, only) == 9
    assert [words[2:] for words in said] == [["-D", "market_data"], ["market_data", "tick_data"]]
    found = dump.Dump("l", 1, 2, "3", "d", {}, {}, 1, {"bytes": 1}, "k", 1.0, dump.undumped(tables, {}))
    assert found.sentence.endswith("NOT in it: exact: taosdump knows no DECIMAL(18, 4) (price)")


@pytest.mark.parametrize(
    ("name", "column", "subtable", "odd"),
    [
        ("o'q", "v", "", "o'q"), ("o", "v", "c'1", "c'1"), ('o"q', "v", "", 'o"q'), ("o\\q", "v", "", "o\\q"),
        ("o", 'v"w', "", 'v"w'), ("o", "v\\w", "", "v\\w"), ("o", "v'w", "", ""), ("表-1 a", "v.w", "", ""),
    ],
)  # fmt: skip
def test_a_name_that_taosdump_cannot_write_leaves_out_its_table(
    name: str, column: str, subtable: str, odd: str
) -> None:
    """Each was tried on a real server; a quote in a column's name is none of them."""
    columns = [["ts", "TIMESTAMP", True], [column, "INT", False]]
    tables: dict[str, dict[str, Any]] = {name: {"columns": columns, "tags": []}}
    told = dump.undumped(tables, {name: subtable} if subtable else {})
    assert told == ({name: f"taosdump cannot write the name {odd}"} if odd else {})


@pytest.mark.parametrize("kind", ["DOUBLE", "FLOAT", "GEOMETRY(100)"])
def test_a_tag_of_which_taosdump_writes_six_decimals_leaves_out_its_table(kind: str) -> None:
    """0.1234567890123456 came back as 0.123457, and every count was right."""
    columns = [["ts", "TIMESTAMP", True], ["g", kind, False]]
    tables: dict[str, dict[str, Any]] = {
        "tagged": {"columns": columns[:1], "tags": [["t", kind]]}, "kept": {"columns": columns, "tags": []},
    }  # fmt: skip
    assert dump.undumped(tables, {}) == {"tagged": f"taosdump cuts a tag of {kind} (t)"}


def test_a_tag_that_taosdump_would_write_as_another_text_leaves_out_its_table() -> None:
    r"""Each was tried on a real server: a\b came back with a backspace in it, and a JSON tag ended the restore."""

    class Tags:
        def rows(self, statement: str) -> list[tuple[str, str, str]]:
            if statement.endswith(r"LIKE '%\\\\%'"):
                return [("texts", "t", "VARCHAR(40)"), ("objects", "j", "JSON(16382)"), ("bytes", "b", "VARBINARY(9)")]
            assert statement.endswith(r"LIKE '%\'%'")
            return [("names", "t", "NCHAR(40)"), ("quotes", "j", "JSON(16382)")]

    session: Any = Tags()
    assert dump._changed(session, "market_data") == {
        "texts": "taosdump cannot write a backslash in a tag (t)",
        "objects": "taosdump cannot write a backslash in a tag (j)",
        "quotes": "taosdump cannot write a quote in a tag (j)",
    }


class Asked:
    """A server with two supertables, of which one has tags that taosdump writes as other values."""

    server, tagged = "3.3.7.5", True

    def __init__(self) -> None:
        self.statements: list[str] = []

    def __call__(self, *_: object) -> Asked:
        return self

    def __enter__(self) -> Asked:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        self.statements.append(statement)
        if "COUNT(*)" in statement:
            return [(7 if "kept" in statement else 1000,)]
        return [("tagged", "t", "VARCHAR(40)")] if self.tagged and "ins_tags" in statement else []


@pytest.mark.parametrize(("tagged", "rows"), [(True, 7), (False, 1007)])
def test_after_a_dump_only_the_tables_that_are_in_it_are_counted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tagged: bool, rows: int
) -> None:
    """What looks through every tag of every subtable is asked once."""
    settings, server = place(tmp_path), Asked()
    server.tagged = tagged
    dumps = dump.Dumps(settings)
    dumps.folder.mkdir()
    columns = [["ts", "TIMESTAMP", True], ["v", "INT", False]]
    tables = {name: {"columns": columns, "tags": [["t", "VARCHAR(40)"]]} for name in ("kept", "tagged")}
    given: list[list[str]] = []

    def out(_: object, database: str, plain: Path, scratch: Path, only: list[str]) -> int:
        given.append(list(only))
        server.statements.append("taosdump")
        plain.mkdir()
        (plain / "dbs.sql").write_text("CREATE DATABASE ...")
        return rows

    monkeypatch.setattr(Settings, "server", lambda self: "whoever")
    monkeypatch.setattr(dump, "RawSession", server)
    monkeypatch.setattr(schema, "tables", lambda session, database: tables)
    monkeypatch.setattr(scan, "options", lambda session, database: {"keep": "3650d"})
    monkeypatch.setattr(dump_tool, "out", out)
    made = dumps.take()
    after = server.statements[server.statements.index("taosdump") + 1 :]
    assert given == [["kept"] if tagged else []]
    assert (made.rows, list(made.left_out)) == (rows, ["tagged"] if tagged else [])
    assert after == [f"SELECT COUNT(*) FROM `market_data`.`{name}`" for name in made.counts]
    assert len([one for one in server.statements if "LIKE" in one]) == 3


@pytest.mark.parametrize("said", ["", "OK: Database market_data dumped\nOK: 0 row(s) dumped out!\n"])
def test_a_dump_of_nothing_is_no_dump(said: str) -> None:
    with pytest.raises(AgentError, match="dumped no row"):
        dump_tool._counted(dump_tool._OUT, said, "dumped no row of market_data")


def test_the_database_is_made_with_what_a_dump_forgets() -> None:
    options = {
        "precision": "ns", "keep": "3650d,3650d,3650d", "duration": "10d", "replica": "1", "vgroups": "2",
        "wal_level": "2", "wal_fsync_period": "0",
    }  # fmt: skip
    assert dump.create_statement("beside", options) == (
        "CREATE DATABASE `beside` PRECISION 'ns' KEEP 3650d,3650d,3650d DURATION 10d REPLICA 1 VGROUPS 2 "
        "WAL_LEVEL 2 WAL_FSYNC_PERIOD 0"
    )


def test_two_dumps_stay_and_older_ones_until_a_newer_one_was_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot be read stands for none, and nothing goes under a lease."""
    (tmp_path / "host").mkdir()
    jobs, settings = backup_host(tmp_path / "host").settings, place(tmp_path)
    dumps, labels = dump.Dumps(settings), [f"2026010{day}-000000D" for day in (1, 2, 3, 4)]
    broken = {labels[2]}
    monkeypatch.setattr(in_step, "ask", lambda database: [Reading("pg1", 0.0, True)])

    def verify(self: dump.Dumps, label: str = "") -> dump.Dump:
        if label in broken:
            raise Broken("it is not what was written", "")
        return dump.Dump(label, 1.0, 2.0, "3.3", "market_data", {}, {}, 1, {"bytes": 1}, "", 1.0)

    monkeypatch.setattr(dump.Dumps, "verify", verify)
    for label in labels:
        (dumps.folder / label).mkdir(parents=True)
    assert "no backup was ever restored and found whole" in second.told(dumps.let_go(jobs))
    proofs.append(Proof(labels[3], 5.0, True), dumps.proofs)
    leases.hold(Lease("x", "o", "a restore reads it", None, 60.0), jobs.leases)
    assert "a restore reads it" in second.told(dumps.let_go(jobs))
    leases.release("x", jobs.leases)
    assert second.told(dumps.let_go(jobs)) == f"; let go: {labels[0]}"
    assert dumps.labels() == labels[1:], "two that can be read, and the one that cannot"
