"""Dead letters are looked at, corrected, tried again or given up, and each deed leaves its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.base.config import Table
from agents.base.errors import BadRow
from agents.writing import outbox_cli
from agents.writing.batch import encode
from agents.writing.clock import CLOCK, Clock
from agents.writing.letters import NEWEST, Letters
from agents.writing.outbox import Outbox
from tests.unit.agent_fixtures import config_file, order, setting, tables
from tests.unit.fake_store import ids


@pytest.fixture
def known(tmp_path: Path) -> dict[str, Table]:
    return tables(tmp_path)


@pytest.fixture
def outbox(tmp_path: Path, known: dict[str, Table]) -> Outbox:
    """One order with a side that no column takes, and one setting."""
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.enqueue(encode(known, {"order_records": [order(5, "止损", "SIDEWAYS")]}), known, 7)
    outbox.enqueue(encode(known, {"system_config": [setting(6, "k", "old")]}), known, 7)
    for record in outbox.pending(100):
        outbox.bury(record, "value too long for type character varying(4)")
    return outbox


@pytest.fixture
def letters(outbox: Outbox) -> Letters:
    return Letters(outbox.path)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """The one that every client of this host asks."""
    return Clock(tmp_path / CLOCK, 17)


def waiting(outbox: Outbox) -> list[int]:
    return [event for record in outbox.pending(100) for part in record.parts for event in ids(part)]


def test_a_letter_is_shown_by_its_columns(letters: Letters) -> None:
    (first, second) = letters.every()
    assert (first.tables, second.tables) == ({"order_records": [5, 5, 1]}, {"system_config": [6, 6, 1]})
    assert list(letters.every("system_config")) == [second]
    ((table, row),) = letters.rows(first.id)
    assert (table, row["side"], row["remark"], row["event_id"]) == ("order_records", "SIDEWAYS", "止损", "5")


def test_a_corrected_row_goes_back_under_its_own_number_where_rows_are_only_added(
    letters: Letters, outbox: Outbox, known: dict[str, Table], clock: Clock
) -> None:
    number = next(letters.every()).id
    now = letters.edit(number, {"side": "SELL", "remark": None}, "a typo upstream")
    assert (now["side"], now["remark"]) == ("SELL", None)
    assert letters.retry([number], known, "corrected", clock.reserve) == (1, [])
    (record,) = outbox.pending(100)
    assert "\tSELL\t" in record.parts[0].text
    assert waiting(outbox) == [5]
    deeds = letters.history(number)
    assert [deed["deed"] for deed in deeds] == ["edited", "retried"]
    assert [deed["reason"] for deed in deeds] == ["a typo upstream", "corrected"]
    assert deeds[0]["values"] == {"side": ["SIDEWAYS", "SELL"], "remark": ["止损", None]}


def test_what_was_edited_is_the_newest_of_its_key_and_what_was_not_keeps_its_time(
    letters: Letters, outbox: Outbox, known: dict[str, Table], clock: Clock
) -> None:
    _, second = letters.every()
    letters.retry([second.id], known, "the column is wider now", clock.reserve)
    assert waiting(outbox) == [6]
    outbox.bury(outbox.pending(100)[0], "again")
    letters.edit(second.id, {"config_value": "new"}, "wrong")
    letters.retry([second.id], known, "corrected", clock.reserve)
    (event,) = waiting(outbox)
    assert event > 1 << 60
    assert outbox.pending(100)[0].parts[0].first == event


def test_the_rule_may_be_overridden_but_never_for_rows_that_are_only_added(
    letters: Letters, outbox: Outbox, known: dict[str, Table], clock: Clock
) -> None:
    first, second = letters.every()
    letters.retry([first.id, second.id], known, "all", clock.reserve, NEWEST)
    event, other = sorted(waiting(outbox))
    assert event == 5
    assert other > 1 << 60


def test_what_is_the_newest_now_is_older_than_what_is_saved_a_moment_later(
    letters: Letters, outbox: Outbox, known: dict[str, Table], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the second was beyond every save of the same second; and the host's clock may be behind the ids."""
    before = clock.reserve(1)[0]
    monkeypatch.setattr("time.time", lambda: 1_500_000_000.0)
    monkeypatch.setattr("time.time_ns", lambda: 1_500_000_000 * 10**9)
    _, second = letters.every()
    letters.retry([second.id], known, "as of today", clock.reserve, NEWEST)
    (event,) = waiting(outbox)
    assert before < event < clock.reserve(1)[0]


def test_rows_of_one_letter_keep_their_order(
    letters: Letters, outbox: Outbox, known: dict[str, Table], clock: Clock
) -> None:
    outbox.enqueue(encode(known, {"system_config": [setting(8, "k", "a"), setting(9, "k", "b")]}), known, 7)
    outbox.bury(outbox.pending(100)[0], "refused")
    letters.retry([[*letters.every()][-1].id], known, "all of it", clock.reserve, NEWEST)
    (part,) = outbox.pending(100)[0].parts
    assert part.first < part.last
    assert [line.split("\t")[2] for line in part.text.splitlines() if str(part.last) in line] == ["b"]


def test_what_is_given_up_stays_in_the_journal_and_in_the_account(letters: Letters, outbox: Outbox) -> None:
    first, second = letters.every()
    assert letters.discard([first.id, first.id, 999], "a test order") == 1
    assert list(letters.every()) == [second]
    assert "SIDEWAYS" in str(letters.history(first.id)[0]["data"])
    assert {one.table: (one.dead, one.discarded, one.missing) for one in outbox.accounts()} == {
        "order_records": (0, 1, 0), "system_config": (1, 0, 0),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "event"), [({"event_id": "9"}, None), ({"no_such": "9"}, None), ({"side": "BUY"}, 77)]
)
def test_an_edit_that_cannot_be_is_one_sentence_and_changes_nothing(
    letters: Letters, values: dict[str, str | None], event: int | None
) -> None:
    number = next(letters.every()).id
    before = letters.rows(number)
    with pytest.raises(BadRow):
        letters.edit(number, values, "why", event)
    assert letters.rows(number) == before
    with pytest.raises(BadRow):
        letters.edit(999, {"side": "BUY"}, "why")


def test_the_command_line_does_all_of_it(
    outbox: Outbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config_file(tmp_path)

    def said(*words: str) -> list[object]:
        assert outbox_cli.main(["--config", str(path), *words]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    ((first, second),) = said("dead")  # type: ignore[misc]
    assert said("dead", "--most", "1", "--after", str(first["id"])) == [[second]]
    exported = said("export", "--table", "order_records")
    assert [(line["table"], line["values"]["side"]) for line in exported] == [("order_records", "SIDEWAYS")]  # type: ignore[index]
    number = str(first["id"])
    assert said("edit", number, "--set", "side=BUY", "--null", "remark", "--reason", "typo")[0]["side"] == "BUY"  # type: ignore[index]
    assert said("show", number)[0]["history"][0]["deed"] == "edited"  # type: ignore[index]
    assert said("retry-dead", number) == [{"retried": 1, "damaged": []}]
    assert said("discard", str(second["id"]), "--reason", "old") == [{"discarded": 1}]
    assert said("accounts")[0]["missing"] == 0  # type: ignore[index]
    assert said("status")[0]["lanes"] == {"0": 1}  # type: ignore[index]
