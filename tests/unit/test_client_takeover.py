"""A queue that the trading system left: what is in it is saved once, what cannot be is named and stays."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agents.base.config import Column
from agents.base.errors import BadConfig, OutboxFull
from agents.client import Client, FailureRecoveryQueue, imported, takeover
from agents.client import client as client_module
from agents.client.imported import Imported, ImportedUnusable, SecondFull
from agents.client.recovery_queue import QueueUnusable
from agents.client.takeover import Taken, take_over
from agents.writing.writer import Writer
from inventories.catalog import load_tables
from tests.unit.client_kit import client, lines, records, setting, ticks_file
from tests.unit.test_catalog import CLASSIFICATIONS

CREATED = "2026-11-20 02:30:00"
SECOND = 1_795_141_800


@pytest.fixture
def saves(tmp_path: Path) -> Any:
    with client(tmp_path) as one:
        yield one


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


def put(path: Path, *data: object, classification: str = "system_config", created: object = CREATED) -> None:
    """As the trading system's own code does."""
    FailureRecoveryQueue(str(path))
    connection = sqlite3.connect(path)
    with connection:
        for one in data:
            text = one if isinstance(one, (str, bytes)) else json.dumps(one)
            names = "classification, target_database, data_json, created_at"
            statement = f"INSERT INTO outbox_queue ({names}) VALUES (?, 'x', ?, ?)"
            connection.execute(statement, (classification, text, created))
    connection.close()


def told(setting_: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) for name, value in setting_.items()}


def states(path: Path) -> list[tuple[int, str, int]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT id, status, retry_count FROM outbox_queue ORDER BY id").fetchall()
    finally:
        connection.close()


def test_pending_items_are_saved_in_order_and_marked(saves: Client, path: Path, tmp_path: Path) -> None:
    put(path, {"table_name": "system_config", "data": [told(setting("a")), told(setting("b"))], "kwargs": {}})
    put(path, {"operation_type": "save", "data": [told(setting("c"))], "error": "x"})
    taken = take_over(saves, path)
    assert (taken.items, taken.rows, taken.by_outbox, taken.by_store, taken.left) == (2, 3, 3, 0, 0)
    assert states(path) == [(1, "completed", 0), (2, "completed", 0)]
    found = lines(tmp_path)
    assert [row["config_key"] for row in found] == ["a", "b", "c"]
    ids = [int(row["event_id"]) for row in found]
    assert ids == sorted(set(ids))
    assert {event >> 32 for event in ids} == {SECOND}
    assert take_over(saves, path) == Taken()


def test_an_item_is_as_old_as_it_says_so_that_nothing_newer_is_overwritten(
    saves: Client, path: Path, tmp_path: Path
) -> None:
    newer = saves.save("system_config", [setting("a", "new")]).event_ids[0]
    put(path, [told(setting("a", "old"))])
    take_over(saves, path)
    assert int(lines(tmp_path)[1]["event_id"]) < newer


def test_taken_over_twice_it_is_the_same_rows(saves: Client, path: Path, tmp_path: Path) -> None:
    """A crash between the acknowledgement and the mark; also where a row beside them was refused the first time."""
    put(path, [told(setting("a")), told(setting("b" * 65)), told(setting("c"))])
    take_over(saves, path)
    FailureRecoveryQueue(str(path)).retry_failed()
    take_over(saves, path)
    first, second = lines(tmp_path)[:2], lines(tmp_path)[2:]
    assert first == second
    assert [int(row["event_id"]) & 3 for row in first] == [0, 2]


def events(tmp_path: Path) -> dict[str, set[int]]:
    """Event ids by the row's key."""
    found: dict[str, set[int]] = {}
    for row in lines(tmp_path):
        found.setdefault(row["config_key"], set()).add(int(row["event_id"]))
    return found


def test_items_of_one_number_and_second_in_two_files_are_two_and_each_file_is_taken_once(
    saves: Client, path: Path, tmp_path: Path
) -> None:
    """Two processes had a queue each: under one event id the store would take the second row for the first."""
    other = tmp_path / "other.db"
    put(path, [told(setting("a"))], [told(setting("b"))])
    put(other, [told(setting("c"))], [told(setting("d"))])
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    assert [take_over(saves, one).rows for one in (path, other, copy)] == [2, 2, 2]
    found = events(tmp_path)
    assert set(found) == set("abcd")
    assert all(len(ids) == 1 for ids in found.values()), "the copy brings the same rows"
    assert len(set.union(*found.values())) == 4
    assert max(found["a"]) < min(found["b"])
    assert {event >> 32 for ids in found.values() for event in ids} == {SECOND}


def test_numbers_that_are_far_apart_are_not_one(saves: Client, path: Path, tmp_path: Path) -> None:
    put(path, [told(setting("a"))])
    with closing(sqlite3.connect(path)) as queue:
        queue.execute("UPDATE sqlite_sequence SET seq = 32768")
        queue.commit()
    put(path, [told(setting("b"))])
    take_over(saves, path)
    assert [number for number, _, _ in states(path)] == [1, 32769]
    assert len(set.union(*events(tmp_path).values())) == 2


def test_a_corrected_row_is_another_and_those_beside_it_stay_what_they_are(
    saves: Client, path: Path, tmp_path: Path
) -> None:
    put(path, [told(setting("a")), told(setting("b" * 65)), told(setting("a"))])
    take_over(saves, path)
    with closing(sqlite3.connect(path)) as queue:
        queue.execute("UPDATE outbox_queue SET status = 'pending', data_json = replace(data_json, ?, 'b')", ("b" * 65,))
        queue.commit()
    take_over(saves, path)
    found = events(tmp_path)
    assert len(found["a"]) == 2, "two rows alike are two"
    assert min(found["b"]) > max(found["a"]), "and those two came again as they were"
    assert [len(found[key]) for key in found] == [2, 1]


def test_hosts_give_different_ids_and_a_full_second_is_told(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app1").mkdir()
    (tmp_path / "app2").mkdir()
    one, other = Imported(tmp_path / "app1", 17), Imported(tmp_path / "app2", 18)
    assert not set(one.event_ids(SECOND, (1, "x"), [1, 2])) & set(other.event_ids(SECOND, (1, "x"), [1, 2]))
    monkeypatch.setattr(imported, "A_SECOND", 3)
    assert len(one.event_ids(SECOND, (2, "x"), [3])) == 1
    with pytest.raises(SecondFull):
        one.event_ids(SECOND, (2, "x"), [4])
    assert len(one.event_ids(SECOND + 1, (2, "x"), [4])) == 1


def test_without_what_knows_the_rows_nothing_is_taken(saves: Client, path: Path, tmp_path: Path) -> None:
    (tmp_path / imported.NAME).write_text("no database" * 1000)
    put(path, [told(setting("a"))])
    with pytest.raises(ImportedUnusable, match="not a database") as refused:
        take_over(saves, path)
    assert refused.value.hint
    assert states(path) == [(1, "pending", 0)]


def sample(column: Column) -> object:
    """A value of this column as JSON has it."""
    kind = column.type.partition("(")[0]
    if kind in ("timestamptz", "timestamp"):
        return "2026-11-20 09:30:00"  # as pandas prints a naive one
    if kind in ("boolean", "bool"):
        return True
    if kind == "date":
        return "2026-11-20"
    if kind == "jsonb":
        return {"a": [1, None]}
    return "x" if kind in ("text", "varchar", "binary", "nchar") else 1


def test_items_of_every_classification_find_their_table(tmp_path: Path, path: Path) -> None:
    """All 34, and the older names: each with the columns that its table cannot do without, and with all of them."""
    ticks_file(tmp_path)
    nodes = {"nodes": [{"name": "127.0.0.1", "port": 1}], "database": "d", "user": "u", "passfile": "x"}
    (tmp_path / "tdengine.json").write_text(json.dumps(nodes))
    names = sorted(" ".join(CLASSIFICATIONS.values()).split())
    with client(tmp_path) as one:
        for name in names:
            table = one.table(name)
            columns = [column for column in (*table.columns, *table.tags) if column.name != "event_id"]
            whole = {column.name: sample(column) for column in columns}
            least = {column.name: whole[column.name] for column in columns if not column.nullable}
            frame = {"table_name": f"{name}_of_today", "data": [whole, least], "kwargs": {}}
            put(path, frame, classification=name)
        taken = take_over(one, path)
    assert (taken.items, taken.rows, taken.set_aside) == (len(names), 2 * len(names), [])
    waiting = {part.table for name in ("outbox.db", "outbox-tdengine.db") for one in records(tmp_path, name)
               for part in one.parts}  # fmt: skip
    assert waiting == set(load_tables().tables)


@pytest.mark.parametrize(
    ("data", "n"),
    [
        (told(setting("a")), 1), ({"data": told(setting("a"))}, 1),
        ({name: [value, value] for name, value in told(setting("a")).items()}, 2),
        ({"data": {name: {"0": value, "1": value} for name, value in told(setting("a")).items()}}, 2),
        ({"columns": ["config_key", "config_value", "updated_at"], "index": [0], "data": [["a", "v", CREATED]]}, 1),
    ],
)  # fmt: skip
def test_rows_are_found_however_the_item_holds_them(
    saves: Client, path: Path, tmp_path: Path, data: object, n: int
) -> None:
    put(path, data)
    taken = take_over(saves, path)
    assert (taken.rows, taken.set_aside) == (n, [])
    assert {row["config_key"] for row in lines(tmp_path)} == {"a"}


@pytest.mark.parametrize(
    ("data", "words", "why"),
    [
        ("{half", {}, "no JSON"), (b"\xff\xfe", {}, "no JSON"), ('{"data": []}', {}, "no rows"),
        ('"text"', {}, "no rows"),
        ({"config_key": ["a", "b"], "config_value": ["v"]}, {}, "columns are not of one length"),
        ({"columns": ["config_key", "config_value"], "data": [["a"]]}, {}, "row 0 has 1 values for 2 columns"),
        ({"columns": ["config_key", "config_key"], "data": [["a", "b"]]}, {}, "config_key is there twice"),
        ('[{"config_key": "a", "config_key": "b", "config_value": "v"}]', {}, "config_key is there twice"),
        ("[1]", {}, "int is no row"), ('{"operation_type": "load", "data": [1]}', {}, "a load"),
        ({"data": [{"config_key": "a"}]}, {"classification": "weather"}, "weather is no table"),
        ([{"config_key": "a"}], {"created": "someday"}, "nobody knows how old"),
        ([{"config_key": "a"}], {"created": "2199-01-01"}, "still to come"),
        ([{"config_key": "a"}], {"created": None}, "nobody knows how old"),
        ([{"config_key": "a\ud800", "config_value": "v", "updated_at": CREATED}], {}, "no valid Unicode"),
        ([{"config_key": "a\0", "config_value": "v", "updated_at": CREATED}], {}, "NUL"),
        ({"config_key": ["a", "b"], "config_value": ["v"], "updated_at": [CREATED, CREATED]}, {}, "not of one length"),
        ({"config_key": {"0": "a", "1": "b"}, "config_value": {"0": "v"}}, {}, "not have the same rows"),
        ({"config_key": {"monday": "a"}, "config_value": {"monday": "v"}}, {}, "config_key is dict"),
        ({"columns": ["config_key", "config_value"], "data": [["a"]]}, {}, "has 1 values for 2 columns"),
        ({"columns": ["config_key", "config_value"], "data": ["ab"]}, {}, "has 1 values for 2 columns"),
        ({"columns": ["config_key", "config_key"], "data": [["a", "b"]]}, {}, "config_key is there twice"),
        ({"columns": ["config_value"], "index": ["a"], "data": [["v"]]}, {}, "its index holds values"),
        ({"data": [{"config_key": "a"}], "kwargs": {"mystocks_dr_event_ids": [1, 2]}}, {}, "not one for each row"),
    ],
)  # fmt: skip
def test_a_damaged_item_is_named_and_holds_up_no_other(
    saves: Client, path: Path, tmp_path: Path, data: object, words: dict[str, Any], why: str
) -> None:
    put(path, data, **words)
    put(path, [told(setting("sound"))])
    taken = take_over(saves, path)
    assert [row["config_key"] for row in lines(tmp_path)] == ["sound"]
    ((number, said),) = [(one.id, one.why) for one in taken.set_aside]
    assert number == 1
    assert why in said
    assert states(path) == [(1, "failed", 1), (2, "completed", 0)]


def test_a_file_with_nothing_in_it_is_told_as_that(saves: Client, tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(QueueUnusable, match="is empty: nothing was ever put into it") as error:
        take_over(saves, empty)
    assert "half written" in error.value.hint
    assert empty.stat().st_size == 0


def test_what_nobody_can_take_now_is_left_pending(
    saves: Client, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Writer, batch: Any, late: bool) -> Any:
        raise OutboxFull("The outbox takes no more.", "Free space.")

    monkeypatch.setattr(client_module.ClientWriter, "write", full)
    put(path, [told(setting("a"))], [told(setting("b"))])
    taken = take_over(saves, path)
    assert (taken.items, taken.left, taken.why_left) == (0, 2, "The outbox takes no more.")
    assert [status for _, status, _ in states(path)] == ["pending", "pending"]


def test_a_file_that_cannot_be_written_is_taken_over_and_says_that_nothing_is_marked(
    saves: Client, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(path, [told(setting("a"))], [told(setting("b"))])
    real = sqlite3.connect
    monkeypatch.setattr(
        "agents.client.recovery_queue.sqlite3.connect",
        lambda address, **words: real(
            address.replace("mode=rw", "mode=ro") if "queue.db" in str(address) else address, **words
        ),
    )
    taken = take_over(saves, path)
    assert (taken.items, taken.rows, taken.left, taken.marked) == (2, 2, 0, False)
    assert len(lines(tmp_path)) == 2


def test_the_program_says_what_it_did_and_ends_with_1_where_something_was_set_aside(
    tmp_path: Path, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client(tmp_path).close()
    put(path, [told(setting("a"))])
    assert takeover.main(["--config", str(tmp_path / "agent.json"), str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 1
    put(path, "{half")
    assert takeover.main(["--config", str(tmp_path / "agent.json"), str(path)]) == 1
    assert json.loads(capsys.readouterr().out)["set_aside"][0]["id"] == 2
    with pytest.raises(BadConfig, match="no file"):
        takeover.main(["--config", str(tmp_path / "agent.json"), str(tmp_path / "nowhere.db")])
    (tmp_path / "other.db").write_text("x" * 5000)
    with pytest.raises(QueueUnusable, match="not a database"):
        takeover.main(["--config", str(tmp_path / "agent.json"), str(tmp_path / "other.db")])
