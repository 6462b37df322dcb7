"""The trading system's kinds of queries to TDengine: each asked for itself, timed, and shown beside the baseline's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from agents.tdengine.session import TdengineError
from agents.validation import questions as agent
from agents.validation.asked import BadRequest
from inventories.catalog import load_tables
from inventories.errors import BadInput, TargetFailed
from runbooks.backups import tdengine_validation
from runbooks.backups.tdengine_validation import Validation
from runbooks.hosts import Estate, Host, Ran
from runbooks.probes.tdengine import restore as td_restore
from runbooks.tdengine.selection import TdSelection
from runbooks.validation import td_samples, times
from runbooks.validation.difference import Check, Looked
from runbooks.validation.td_samples import SAMPLES
from tests.unit.test_tdengine_runbooks import SAID

NEWEST = 1_795_000_000_000_000_000
AS_DECLARED = Looked(Check.STRUCTURE, "supertables", 5)
ROWS = [(NEWEST - 1, 10.5, 100, None), (NEWEST, 10.6, 200, 2120.0)]


class Server:
    """Answers a pick with the newest tick, anything else with two rows; refuses what `refuses` is in."""

    def __init__(self, newest: tuple[Any, ...] | None = (NEWEST, "6000'00.SH"), refuses: str = "nothing") -> None:
        self.newest, self.refuses, self.asked = newest, refuses, list[str]()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        self.asked.append(sql)
        if self.refuses in sql:
            raise TdengineError("Invalid column name (0x2602)", "", 0x2602)
        if "LAST_ROW" in sql:
            return [] if self.newest is None else [self.newest]
        return list(ROWS)


class Backup:
    """The backup host: its program is the real one, in this process."""

    name = "backup1"

    def __init__(self, server: Server) -> None:
        self.server = server

    def run(self, command: str, *args: object, stdin: str = "", **_: object) -> Ran:
        assert "agents.validation.questions" in command
        ticks = iter(range(1000))
        said = agent.answers(self.server, json.loads(stdin), lambda: next(ticks) / 1000)
        return Ran(0, json.dumps(said), "", 0.1)

    def __str__(self) -> str:
        return self.name


def ask(server: Server) -> td_samples.Asked:
    return td_samples.ask(cast(Host, Backup(server)), "market_data", tuple(SAMPLES), 60)


def test_each_is_asked_of_the_newest_symbol_and_timed() -> None:
    server = Server()
    found = ask(server)
    assert set(found.ms) == set(SAMPLES) and all(ms == pytest.approx(1) for ms in found.ms.values())
    assert not found.refused and not found.nothing and found.rows == 6
    ranged = next(sql for sql in server.asked if sql.startswith("SELECT ts, price"))
    assert f"symbol = '6000\\'00.SH' AND ts > {NEWEST - 86400 * 10**9} AND ts <= {NEWEST}" in ranged
    assert "FROM `market_data`.tick_data" in ranged


def test_one_that_is_refused_ends_no_other_and_is_told() -> None:
    found = ask(Server(refuses="INTERVAL"))
    assert set(found.refused) == {"K-lines of five minutes"} and len(found.ms) == 2
    (told,) = td_samples_judged(found)
    assert (told.check, told.table, told.what) == (Check.SAMPLE, "tick_data", "K-lines of five minutes")
    assert told.found == "Invalid column name (0x2602)"


def td_samples_judged(found: td_samples.Asked) -> tuple[Any, ...]:
    return tdengine_validation.samples.judge(found, {}, (), SAMPLES).differences


@pytest.mark.parametrize("newest", [None, (None, None)])
def test_an_empty_store_has_nothing_to_ask_of_which_is_said(newest: tuple[Any, ...] | None) -> None:
    found = ask(Server(newest))
    looked = tdengine_validation.samples.judge(found, {}, (), SAMPLES)
    assert looked.sound and not found.ms
    assert looked.undecided.count("found nothing to ask of") == len(SAMPLES)


@pytest.mark.parametrize("wrong", [[], {"a": "SELECT 1"}, {"a": {"sql": "DROP DATABASE x"}},
                                   {"a": {"sql": "SELECT 1", "pick": "DELETE FROM x"}}])  # fmt: skip
def test_nothing_but_queries_is_asked(wrong: Any) -> None:
    server = Server()
    with pytest.raises(BadRequest):
        agent.answers(server, wrong)
    assert server.asked == []


def test_those_whose_tables_are_not_looked_at_are_not_asked() -> None:
    known = load_tables()
    assert td_samples.fitting(known, ()) == tuple(SAMPLES)
    assert td_samples.fitting(known, ("depth_data",)) == ()


def test_times_are_kept_of_one_estate(tmp_path: Path) -> None:
    kept = tmp_path / "one" / "kept.json"
    assert times.took(kept, "here") == {}
    times.save(kept, "here", {"time range": 3.5})
    assert times.took(kept, "here") == {"time range": 3.5} and times.took(kept, "there") == {}
    kept.write_text("{", encoding="utf-8")
    assert times.took(kept, "here") == {}
    with pytest.raises(BadInput, match="no sample query had anything to answer"):
        times.save(kept, "here", {})


class TestValidate:
    """As `./dr validate` asks: beside the comparison with a backup."""

    @pytest.fixture
    def validated(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        tables = {"tick_data": {"rows": 10, "missing": 0, "other": 0, "live": 10}}
        whole = td_restore.parse({**SAID, "tables": tables, "missing": []})
        monkeypatch.setattr(tdengine_validation.servers, "hosts", lambda estate: ("tsdb1",))
        monkeypatch.setattr(tdengine_validation.backups, "is_there", lambda estate: True)
        monkeypatch.setattr(tdengine_validation.restore, "compare", lambda *_: whole)
        self.dead = {"app1": 0, "app2": 0}
        monkeypatch.setattr(tdengine_validation.outbox, "boxes", lambda *_: tuple(self.dead))
        monkeypatch.setattr(
            tdengine_validation.outbox, "status",
            lambda box: type("Outbox", (), {"pending_rows": 0, "dead_rows": self.dead[box]})(),
        )  # fmt: skip

        monkeypatch.setattr(tdengine_validation.td_structure, "look", lambda *_: AS_DECLARED)

        def look(server: Any, **more: Any) -> Validation:
            estate = type("E", (), {"name": "here", "backup": Backup(server), "app": None})()
            return tdengine_validation.validate(cast(Estate, estate), TdSelection(), **more)

        return look

    def test_times_stand_beside_those_that_were_saved(self, validated: Any, tmp_path: Path) -> None:
        kept = tmp_path / "kept.json"
        first: Validation = validated(Server(), kept=kept, save=True)
        assert first.sound and "baseline" not in first.render()
        text = validated(Server(), kept=kept).render()
        assert "sample: 3 queries with 6 rows, no difference; time range 1.0 ms (baseline 1.0 ms), " in text

    def test_a_dead_letter_of_any_application_host_counts(self, validated: Any, tmp_path: Path) -> None:
        self.dead["app2"] = 3
        found: Validation = validated(Server(), kept=tmp_path / "none")
        assert not found.sound and "3 dead letters" in found.brief

    def test_a_refused_one_is_a_difference(self, validated: Any, tmp_path: Path) -> None:
        found: Validation = validated(Server(refuses="INTERVAL"), kept=tmp_path / "none")
        assert not found.sound
        assert "the first: sample: tick_data: K-lines of five minutes: expected an answer, found Invalid" in found.brief

    def test_a_host_without_the_program_is_told_and_the_rest_too(
        self, validated: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def gone(*_: object, **__: object) -> Mapping[str, Any]:
            raise TargetFailed("backup1: No module named agents.validation.questions")

        monkeypatch.setattr(td_samples.questions, "ask", gone)
        found: Validation = validated(Server(), kept=tmp_path / "none")
        assert not found.sound and "No module named" in found.render() and SAID["sentence"][1:] in found.render()
