"""What an operator types about dead letters reaches the host word by word."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from doors.main import DrProgram, arguments
from runbooks import hosts
from runbooks.actions import outbox as act
from runbooks.probes import outbox
from runbooks.probes.outbox import POSTGRESQL, Box


@pytest.fixture(autouse=True)
def _one_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "load", lambda inventory: SimpleNamespace(inventory="mine"))
    monkeypatch.setattr(outbox, "boxes", lambda estate, store: (Box(SimpleNamespace(name="app1"), POSTGRESQL),))


def dr(*words: str) -> int:
    try:
        DrProgram(name="dr", binary="./dr").run(arguments(list(words)))
    except SystemExit as ended:
        return int(str(ended.code))
    return 0


def test_a_letter_is_edited_value_by_value(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[object] = []

    def edit(
        box: Box, number: int, values: Mapping[str, str | None], event: int | None, reason: str
    ) -> Mapping[str, str | None]:
        said.extend((number, dict(values), event, reason))
        return values

    monkeypatch.setattr(act, "edit", edit)
    words = ("--set", "side=BUY", "--set", "remark=a=b c", "--null", "strategy_id", "--reason", "as told")
    assert dr("outbox.dead", "--edit", "7", *words) == 0, capsys.readouterr().err
    assert said == [7, {"side": "BUY", "remark": "a=b c", "strategy_id": None}, None, "as told"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--edit", "7", "--set", "side", "--reason", "r"), "--set takes COLUMN=VALUE"),
        (("--edit", "7", "--reason", "r"), "nothing says what the row is to be"),
        (("--edit", "7", "--retry", "all", "--reason", "r"), "one deed at a time"),
        (("--null", "side"), "--set, --null and --event say how a letter is edited"),
        (("--retry", "seven"), "is no list of numbers"),
        (("--show", "7", "--host", "app9"), "0 outboxes fit"),
        (("--show", "7", "--store", "oracle"), "there is no store 'oracle'"),
    ],
)
def test_a_mistake_is_one_sentence_with_a_hint(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], why: str
) -> None:
    assert dr("outbox.dead", *words) == 2
    *_, sentence, hint = capsys.readouterr().err.strip().splitlines()
    assert why in sentence
    assert hint.startswith("HINT: ")
