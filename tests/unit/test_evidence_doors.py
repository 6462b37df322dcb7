"""./dr evidence.verify, evidence.export, drills.due, drills.record, history: sentences, hints and exit codes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from doors.main import DrProgram, arguments
from drills.calendar import recording
from drills.evidence import chain, controls, results
from drills.evidence.checking import check
from drills.evidence.controls import load_standards
from drills.evidence.results import Told
from drills.judging.result import Outcome
from inventories.errors import BadInput, Refused
from runbooks.engine.journal import Event, Journal
from tests.unit.evidence_kit import VERSIONS, History, history, told


@dataclass
class Dr:
    """What a command said and ended with."""

    code: int
    out: str
    err: str


Run = Callable[..., Dr]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    made = history(tmp_path)
    monkeypatch.setenv("DR_RUNS", str(made.files.runs))
    monkeypatch.setenv("DR_STATE", str(tmp_path / "home"))
    monkeypatch.setenv("DR_LAB", "none-such")
    return History(replace(made.files, secret=tmp_path / "home" / "evidence"))


@pytest.fixture
def dr(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*typed: str) -> Dr:
        monkeypatch.setattr(sys, "argv", ["dr", *typed])
        code = 0
        try:
            DrProgram(name="dr", binary="./dr").run(arguments(list(typed)))
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capfd.readouterr()
        return Dr(code, said.out, said.err)

    return run


def recent(scenario: str = "primary-power-loss", hours: float = 1, **other: object) -> Told:
    return told(scenario, **other).model_copy(update={"started_at": datetime.now(UTC) - timedelta(hours=hours)})


def test_an_empty_history_is_no_evidence(kept: History, dr: Run) -> None:
    ended = dr("evidence.verify")
    assert (ended.code, ended.err) == (
        1, "The history is empty: nothing was ever drilled.\nHINT: ./dr drill runs one\n",
    )  # fmt: skip


def test_what_holds_is_said_with_the_key_that_signed(kept: History, dr: Run) -> None:
    kept.add(recent(), recent())
    ended = dr("evidence.verify")
    assert ended.code == 0
    assert re.search(r"2 records from .* hold: .* each is signed \(key [0-9a-f]{16}\)\.", ended.out)


def test_an_edited_line_is_a_sentence_a_hint_and_code_1(kept: History, dr: Run) -> None:
    kept.add(recent(), recent())
    kept.write([kept.lines[0].replace(b'"lost":0', b'"lost":1'), kept.lines[1]])
    ended = dr("evidence.verify")
    assert ended.code == 1
    assert ended.err.splitlines()[0] == "record 1 was edited: the signature does not fit what it says."
    assert ended.err.splitlines()[1].startswith("HINT: records before it hold; put the history back from a copy")
    plain = json.loads(dr("evidence.verify", "--json").out)
    assert (plain["sound"], plain["records"], len(plain["troubles"])) == (False, 1, 1)


@pytest.mark.parametrize(
    "typed",
    [
        ("evidence.verify", "--key", "no-such.pem"),
        ("evidence.export", "--control", "nist"),
        ("evidence.export", "--control", "soc2", "--since", "yesterday"),
        ("history", "--what", "weather"),
        ("history", "--since", "1 week"),
        ("drills.due", "--inventory", "no-such"),
        ("drills.record", "--promise", "planned-switchover", "--inventory", "no-such"),
    ],
)
def test_bad_input_is_a_sentence_a_hint_and_code_2(kept: History, dr: Run, typed: tuple[str, ...]) -> None:
    kept.add(recent())
    ended = dr(*typed)
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 2 and "\nHINT: " in ended.err


def test_never_drilled_is_red(kept: History, dr: Run) -> None:
    ended = dr("drills.due")
    assert ended.code == 1
    assert re.search(r"(\d+) of \1 drills are due: \1 never drilled\.", ended.err)
    assert ended.err.splitlines()[-1] == "HINT: ./dr drill --scenario primary-power-loss"
    plain = json.loads(dr("drills.due", "--json").out)
    assert {one["state"] for one in plain["drills"]} == {"never drilled"} and not plain["kept"]


def test_a_trouble_of_the_history_is_told_by_the_calendar(kept: History, dr: Run) -> None:
    kept.add(recent(), recent())
    kept.write(kept.lines[1:])
    assert "HISTORY  record 1 is missing: line 1 is record 2." in dr("drills.due").out


def test_history_lists_drills_newest_first_and_says_what_it_cannot_read(kept: History, dr: Run) -> None:
    kept.add(recent("bad-update", 50), recent("primary-crash", 2), recent(hours=1, twin="leaky-fence", held=True))
    plain = json.loads(dr("history", "--what", "drills", "--json").out)
    names = [one["name"] for one in plain["entries"]]
    assert names == ["primary-power-loss, twin leaky-fence", "primary-crash", "bad-update"]
    assert plain["entries"][0]["outcome"] == "twin held"
    assert len(json.loads(dr("history", "--what", "drills", "--since", "1d", "--json").out)["entries"]) == 2
    everything = dr("history")
    assert everything.code == 1 and "backups are unknown: " in everything.err
    assert "bad-update" in everything.out


def test_runs_come_from_their_journals(kept: History, dr: Run) -> None:
    ran(kept.files.runs / "20261128T110000Z-switchover", "switchover")
    ended = dr("history", "--what", "runs")
    assert ended.code == 0 and re.search(r"runs +switchover +mystocks +passed", ended.out)
    assert ended.out.splitlines()[-1] == "From this machine's files."


# ---- evidence for an auditor


class Text(HTMLParser):
    """What a reader sees, and every address in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.said.append(data)


@pytest.mark.parametrize("control", ["iso22301", "iso27001", "soc2"])
def test_each_control_of_a_standard_has_its_records(kept: History, dr: Run, tmp_path: Path, control: str) -> None:
    promises = sorted(load_recovery_promises())
    kept.add(*(recent(promise) for promise in promises), recent(twin="leaky-fence", held=True, outcome=Outcome.FAILED))
    out = tmp_path / "shown"
    ended = dr("evidence.export", "--control", control, "--out", str(out))
    assert ended.code == 0, ended.err
    plain = json.loads((out / "evidence.json").read_text())
    assert plain["controls"] and all(one["records"] for one in plain["controls"])
    page = Text((out / "evidence.html").read_text())
    assert load_standards()[control].title in page.said and page.links == []
    copied = dr("evidence.verify", "--history", str(out), "--key", str(out / "public.pem"))
    assert copied.code == 0
    assert dr("evidence.export", "--control", control, "--out", str(out)).code == 2, "it replaces nothing"


def load_recovery_promises() -> set[str]:
    from inventories.catalog.load import load_recovery

    return set(load_recovery().scenarios)


def test_a_control_that_nothing_answers_is_a_failure(kept: History, dr: Run, tmp_path: Path) -> None:
    kept.add(recent("primary-crash"))
    ended = dr("evidence.export", "--control", "iso27001", "--out", str(tmp_path / "shown"))
    assert ended.code == 1
    assert "No record answers A.5.29, A.8.13, A.8.16." in ended.err
    assert "No record answers it." in Text((tmp_path / "shown" / "evidence.html").read_text()).said
    ended = dr("evidence.export", "--control", "iso27001", "--since", "2999-01-01", "--out", str(tmp_path / "none"))
    assert ended.code == 1 and "there is nothing to show" in ended.err and not (tmp_path / "none").exists()


def test_a_history_that_does_not_hold_is_not_shown(kept: History, dr: Run, tmp_path: Path) -> None:
    kept.add(recent(), recent(), recent())
    kept.write([kept.lines[0], kept.lines[2]])
    ended = dr("evidence.export", "--control", "soc2", "--out", str(tmp_path / "shown"))
    assert ended.code == 1 and "record 2 is missing" in ended.err and not (tmp_path / "shown").exists()


@pytest.mark.parametrize(
    ("control", "says"),
    [
        ({"says": "x", "promises": ["no-such"]}, "speaks of no-such, which nobody promises"),
        ({"says": "x"}, "nothing would be evidence for it"),
        ({"says": "x", "promises": []}, "promises"),
        ({"says": "x", "twins": True, "owner": "me"}, "owner"),
    ],
)
def test_a_mapping_that_is_wrong_names_its_place(tmp_path: Path, control: object, says: str) -> None:
    path = tmp_path / "controls.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "standards": {"own": {"title": "t", "controls": {"1": control}}}}))
    with pytest.raises(BadInput, match=says):
        controls.load_standards(path)


# ---- a runbook's run that counts as a drill


def ran(folder: Path, procedure: str, outcome: str = "passed", estate: str = "mystocks") -> None:
    folder.mkdir(parents=True)
    with Journal(folder) as journal:
        journal.write(Event.OPENED, procedure=procedure, estate=estate, steps=["assess"])
        journal.write(Event.STEP_STARTED, "assess")
        journal.write(Event.STEP_DONE, "assess", started=0.0, seconds=1.0, says="done", state={})
        if outcome:
            journal.write(Event.FINISHED, outcome=outcome)


@pytest.fixture
def production(kept: History, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.setattr(recording.gather, "versions", lambda _: dict(VERSIONS))
    return SimpleNamespace(name="mystocks", inventory="production", data={})


def take_in(production: SimpleNamespace, kept: History, promise: str, run: str = "", consent: str = "") -> chain.Record:
    return recording.record(production, promise, run, consent, kept.files)  # type: ignore[arg-type]


def test_a_run_counts_once_with_somebodys_consent(kept: History, production: SimpleNamespace) -> None:
    ran(kept.files.runs / "20261128T110000Z-switchover", "switchover")
    with pytest.raises(BadInput, match="with somebody's consent only"):
        take_in(production, kept, "planned-switchover")
    record = take_in(production, kept, "planned-switchover", consent="head of trading: Sunday's window")
    said = results.read(record)
    assert said and (said.place, said.promise, said.scenario) == ("production", "planned-switchover", "switchover")
    assert said.passed and said.consent == "head of trading: Sunday's window" and said.versions == VERSIONS
    assert check(kept.files).sound
    with pytest.raises(Refused, match="in the history already, as record 1"):
        take_in(production, kept, "planned-switchover", consent="again")


def test_a_journal_that_is_edited_afterwards_is_found(kept: History, production: SimpleNamespace) -> None:
    folder = kept.files.runs / "20261128T110000Z-restore-pitr"
    ran(folder, "restore-pitr", "failed")
    assert results.read(take_in(production, kept, "bad-update")).outcome is Outcome.FAILED  # type: ignore[union-attr]
    path = folder / "journal.jsonl"
    path.write_text(path.read_text().replace('"failed"', '"passed"'))
    found = check(kept.files, results=True).troubles
    assert found == (f"{folder.name}/journal.jsonl was edited since record 1 was written",)


def test_what_is_no_drill_of_the_calendar_is_not_taken_in(kept: History, production: SimpleNamespace) -> None:
    ran(kept.files.runs / "a-failover", "failover")
    ran(kept.files.runs / "another-estate", "restore-pitr", estate="other")
    ran(kept.files.runs / "not-over", "restore-pitr", outcome="")
    with pytest.raises(BadInput, match=r"drills no 'primary-power-loss' in production; there it has .*bad-update"):
        take_in(production, kept, "primary-power-loss")
    with pytest.raises(BadInput, match="no finished run of restore-pitr on mystocks"):
        take_in(production, kept, "bad-update")
    with pytest.raises(BadInput, match="no run 'not-over' of restore-pitr"):
        take_in(production, kept, "bad-update", run="not-over")
    lab = SimpleNamespace(name="lab-lab", inventory="lab", data={})
    with pytest.raises(BadInput, match="recorded by itself"):
        take_in(lab, kept, "bad-update")
    unnamed = SimpleNamespace(name="mystocks", inventory="/etc/dr/hosts.py", data={})
    with pytest.raises(BadInput, match="which is none of lab, staging, production"):
        take_in(unnamed, kept, "bad-update")
    assert not kept.files.history.exists()


# ---- the page


def test_a_page_is_made_on_a_machine_that_never_drilled(kept: History, dr: Run, tmp_path: Path) -> None:
    ended = dr("page", "--out", str(tmp_path / "shown"))
    assert ended.code == 0
    assert re.match(r"Not safe\. \d\d promises never drilled: ", ended.out)
    html = (tmp_path / "shown" / "index.html").read_text()
    assert "there is no lab, and no inventory was named" in html
    assert str(tmp_path / "shown" / "index.html") in ended.out
    assert dr("page").code == 0 and (kept.files.runs / "page" / "index.html").exists()


def test_a_page_shows_what_the_history_has(kept: History, dr: Run) -> None:
    kept.add(recent(outcome=Outcome.FAILED, reason="1 of 9 acknowledged rows is lost in order_records"))
    assert dr("page").code == 0
    html = (kept.files.runs / "page" / "index.html").read_text()
    assert "1 of 9 acknowledged rows is lost in order_records" in html
    assert "1 signed records hold" in html
    assert not re.search(r"PRIVATE KEY", html)


def test_a_page_goes_into_a_folder_only(kept: History, dr: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in ("file", "file/below"):
        ended = dr("page", "--out", str(tmp_path / out))
        assert ended.code == 2 and "is no folder" in ended.err and "HINT: --out names the folder" in ended.err
    assert (tmp_path / "file").read_text() == "mine"
    assert dr("page", "--inventory", "no-such").code == 2


def test_verify_and_export_read_the_results_too(kept: History, dr: Run, tmp_path: Path) -> None:
    result = kept.files.runs / "a-run" / "result.json"
    result.parent.mkdir(parents=True)
    result.write_text("{}")
    kept.add(recent(run="a-run", sha256=results.sha256_of(result)))
    result.write_text("{ }")
    for typed in (("evidence.verify",), ("evidence.export", "--control", "soc2", "--out", str(tmp_path / "shown"))):
        ended = dr(*typed)
        assert ended.code == 1 and "a-run/result.json was edited since record 1 was written." in ended.err
