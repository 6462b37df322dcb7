"""The journal keeps no secret, and the mask finds every wrapped one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from inventories.errors import BadInput, TargetFailed
from runbooks.engine import journal
from runbooks.engine.context import Context, Options
from runbooks.engine.journal import FILE_NAME, Event, Journal
from runbooks.engine.masking import MASK, Mask, secrets_in
from runbooks.engine.runner import run
from tests.unit.engine_kit import BUDGETS, Bench, Trail, World, procedure, step

SECRET = 'pa"ss wörd'


class Keyed(Options):
    password: SecretStr = SecretStr(SECRET)


@pytest.mark.parametrize("how", ["options", "context"])
def test_a_secret_is_in_no_journal_no_error_and_no_word_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("DR_STATE", str(tmp_path / "state"))

    def leaks(context: Context[Any, Any], _state: Trail) -> Trail:
        context.say(f"connecting with password={SECRET}")
        raise TargetFailed(f"cannot connect to host=pg1 password={SECRET}", f"is {SECRET} right?")

    bench = Bench(World(tmp_path / "world"), tmp_path)
    (run_dir := tmp_path / "run").mkdir()
    secrets = (SecretStr(SECRET),) if how == "context" else ()
    options = Keyed() if how == "options" else Options()
    result = run(
        procedure(step("assess", action=leaks)),
        bench.context(run_dir, options, secrets=secrets),
        budgets=BUDGETS,
    )
    written = [str(record) for record in journal.read(run_dir).records]
    assert "password=" in "".join(written), "the test must have something to hide"
    assert not [text for text in (*written, *bench.heard, result.render(), repr(result)) if SECRET in text]


def test_secrets_are_found_inside_models_and_collections() -> None:
    assert set(secrets_in({"a": [Keyed()], "b": (SecretStr("x"),)})) == {SECRET, "x"}


def test_a_secret_that_contains_another_is_masked_whole() -> None:
    mask = Mask()
    mask.learn([SecretStr("abc"), SecretStr("abcdef"), SecretStr("")])
    assert mask.data({"abc": ["xabcdefx", 1]}) == {MASK: [f"x{MASK}x", 1]}


def test_records_carry_sequence_both_clocks_and_data(tmp_path: Path) -> None:
    with Journal(tmp_path) as written:
        written.write(Event.OPENED, procedure="p")
        written.write(Event.STEP_STARTED, "fence", budget="quick")
    first, second = journal.read(tmp_path).records
    assert (first.seq, second.seq, second.step, second.data) == (1, 2, "fence", {"budget": "quick"})
    assert first.at.endswith("+00:00")
    assert first.mono <= second.mono


def test_a_reopened_journal_goes_on_counting_after_a_torn_line(tmp_path: Path) -> None:
    with Journal(tmp_path) as written:
        written.write(Event.OPENED)
    with (tmp_path / FILE_NAME).open("a") as file:
        file.write('{"seq": 2, "at": "2026-')
    with Journal(tmp_path) as written:
        written.write(Event.RESUMED)
    contents = journal.read(tmp_path)
    assert [record.seq for record in contents.records] == [1, 2]
    assert contents.torn == ""


def test_the_journal_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    Journal(tmp_path).close()
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o077 == 0


def test_a_missing_journal_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read the journal"):
        journal.read(tmp_path)


def test_a_step_puts_on_record_what_it_did_beside_its_action(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_STATE", str(tmp_path / "state"))

    def notes(context: Context[Any, Any], state: Trail) -> Trail:
        context.note("removed", what_was="a stone")
        return state

    bench = Bench(World(tmp_path / "world"), tmp_path)
    (run_dir := tmp_path / "run").mkdir()
    run(procedure(step("fence", action=notes)), bench.context(run_dir), budgets=BUDGETS)
    records = journal.read(run_dir).records
    (noted,) = [record for record in records if record.event == Event.NOTED]
    assert (noted.step, noted.data) == ("fence", {"what": "removed", "what_was": "a stone"})
    assert records[records.index(noted) + 1].event != Event.NOTED
