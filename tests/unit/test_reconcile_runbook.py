"""The runbook names what is lacking, sends it only on consent, and proves that nothing is lacking then."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from inventories.errors import BadInput, VerificationFailed
from runbooks.engine.context import Context
from runbooks.hosts import Run
from runbooks.probes import outbox
from runbooks.probes.outbox import POSTGRESQL, Box
from runbooks.probes.reconcile import Lacking, OfTable
from runbooks.procedures import reconcile as runbook
from runbooks.procedures.reconcile import RECONCILE, Reconcile, ReconcileOptions
from tests.unit.marks_kit import host

NONE = Lacking(
    looked=100, lacking=0, sent=0, unknown=0, damaged_segments=0, since=10.0, until=20.0, seconds=0.5, tables={}
)  # fmt: skip
SOME = NONE.model_copy(
    update={"lacking": 4, "tables": {"order_records": OfTable(rows=4, first=11.0, last=12.0, events=(7, 8, 9, 10))}}
)


class Scene:
    """What the shadow says look by look, and what was sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.looks: list[Lacking] = []
        self.asked: list[tuple[float, tuple[str, ...]]] = []
        self.sent: list[tuple[float, tuple[str, ...]]] = []
        self.said: list[str] = []
        self._folder = folder
        box = Box(cast(Any, host("app1", folder)), POSTGRESQL)
        monkeypatch.setattr(outbox, "boxes", lambda estate, store="": (box,) if store in ("", POSTGRESQL) else ())
        monkeypatch.setattr(runbook.probe, "lacking", self._lacking)
        monkeypatch.setattr(runbook.act, "send_again", self._send)

    def _lacking(self, box: Box, since: float, tables: tuple[str, ...], timeout: float) -> Lacking:
        self.asked.append((since, tables))
        return self.looks.pop(0)

    def _send(self, box: Box, since: float, tables: tuple[str, ...], timeout: float) -> int:
        self.sent.append((since, tables))
        return 4

    def context(self, **options: Any) -> Run:
        estate = cast(Any, replace(host("x", self._folder)))
        made = Context(
            estate=estate, options=ReconcileOptions(**options), run_dir=self._folder, say=self.said.append
        )
        return cast(Run, made)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Scene:
    return Scene(monkeypatch, tmp_path)


def test_what_is_lacking_is_named_aloud_and_each_row_in_the_runs_folder(scene: Scene, tmp_path: Path) -> None:
    scene.looks = [SOME]
    state = runbook.assess(scene.context(), Reconcile())
    assert state.lacking == {"app1/postgresql": 4} and state.primary == "app1/postgresql"
    assert any("4 rows of order_records" in line and "event 7, 8, 9 and 1 more" in line for line in scene.said)
    assert json.loads((tmp_path / "lacking-app1-postgresql.json").read_text()) == {"order_records": [7, 8, 9, 10]}
    assert scene.sent == []


def test_without_consent_the_run_ends_before_anything_is_written() -> None:
    writing = [step for step in RECONCILE.steps if not step.observes]
    assert [step.name for step in writing] == ["send", "replay"]
    assert all(step.option == "yes" for step in RECONCILE.steps[1:]) and RECONCILE.steps[0].option == ""


def test_it_is_sent_and_looked_for_once_more(scene: Scene) -> None:
    scene.looks = [NONE]
    state = Reconcile(lacking={"app1/postgresql": 4})
    state = runbook.send(scene.context(yes=True, since="2026-11-28 10:00:00Z", tables=("order_records",)), state)
    assert scene.sent == [(1795860000.0, ("order_records",))]
    told = runbook.prove(scene.context(yes=True), state).told
    assert told == (
        "PostgreSQL's outbox on app1: 4 rows were lacking, 4 were sent again; of 100 none is lacking now",
    )


def test_where_nothing_is_lacking_nothing_is_sent(scene: Scene) -> None:
    scene.looks = [NONE]
    state = runbook.assess(scene.context(), Reconcile())
    send = RECONCILE.steps[1]
    assert send.when is not None and not send.when(scene.context(), state)
    assert runbook.send(scene.context(), state).sent == {}


def test_a_row_that_is_lacking_still_fails_the_run(scene: Scene) -> None:
    scene.looks = [SOME]
    with pytest.raises(VerificationFailed, match=r"4 rows .* still not in the store, such as event 7 of order_records"):
        runbook.prove(scene.context(), Reconcile())


def test_a_shadow_that_keeps_nothing_is_told(scene: Scene) -> None:
    scene.looks = [NONE.model_copy(update={"since": None, "looked": 0})]
    runbook.assess(scene.context(), Reconcile())
    assert "keeps nothing that was acknowledged in that time" in scene.said[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"since": "yesterday"}, "is no time"),
        ({"since": "2026-11-28 10:00:00"}, "has no time zone"),
        ({"tables": ("nobody",)}, "the catalogue has no table nobody in postgresql"),
        ({"store": "redis"}, "there is no store 'redis'"),
    ],
)
def test_bad_input_is_told_before_any_host_is_asked(scene: Scene, options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        runbook.begins(scene.context(**options))
