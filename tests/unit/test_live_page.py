"""./dr page --serve: what is served, to whom, when the estate is asked, and what a browser makes of a running drill."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from drills.board.answer import answer
from drills.board.page import render
from drills.judging.result import Outcome
from drills.live import hub as hubs
from drills.live.hub import Hub, Made
from drills.live.serve import Server
from inventories.errors import BadInput, TargetFailed
from tests.unit import board_kit, live_kit
from tests.unit.browser_kit import CHROMIUM, Browser, browser
from tests.unit.test_bad_input import ROOT, Machine, assert_told, machine
from tests.unit.test_board import AXE, dom

__all__ = ["machine"]


@dataclass
class Estate:
    """What is asked for a page, and how often it was."""

    root: Path
    asked: int = 0
    said: list[str] = field(default_factory=list)
    trouble: str = ""

    def make(self) -> Made:
        self.asked += 1
        if self.trouble:
            raise TargetFailed(self.trouble)
        facts = board_kit.good(self.root / str(self.asked))
        at = datetime.now(UTC) + timedelta(seconds=self.asked)
        return Made(render(replace(facts, at=at, estate=f"asked-{self.asked}"), live=True), at.isoformat())


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    return Estate(tmp_path / "estate")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def hub(estate: Estate, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setattr(hubs, "LOOKS_EVERY_S", 0.0)
    return Hub(runs, estate.make, estate.said.append, estate.make())


@contextmanager
def served(hub: Hub) -> Iterator[Server]:
    server = Server(0)
    thread = threading.Thread(target=server.serve, args=(hub,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(10)


def waited(hub: Hub, asked: int, estate: Estate) -> None:
    """So often the estate was asked, and no more."""
    ends = time.monotonic() + 10
    while estate.asked < asked and time.monotonic() < ends:
        hub.drill()
        time.sleep(0.02)
    for _ in range(5):
        hub.drill()
        time.sleep(0.02)
    assert estate.asked == asked


# ---- the hub


def test_the_estate_is_asked_anew_while_somebody_looks_and_never_while_a_drill_runs(
    hub: Hub, estate: Estate, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited(hub, 1, estate)
    monkeypatch.setattr(hubs, "MADE_EVERY_S", 0.0)
    drill = live_kit.running(runs)
    waited(hub, 1, estate)
    drill.end()
    waited(hub, 1, estate)  # the process that drilled still lives, and may begin the next round
    monkeypatch.setattr(hubs, "running", lambda _: None)
    monkeypatch.setattr(hubs, "MADE_EVERY_S", 60.0)
    hub._made = -60.0
    waited(hub, 2, estate)


def test_a_drill_that_has_ended_has_the_page_made_anew_at_once(
    hub: Hub, estate: Estate, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drill = live_kit.running(runs)
    waited(hub, 1, estate)
    drill.end(Outcome.FAILED)
    monkeypatch.setattr("drills.live.course.alive", lambda _: False)
    waited(hub, 2, estate)
    assert json.loads(hub.drill())["outcome"] == "failed", "how it ended stands until another begins"


def test_a_page_that_cannot_be_made_leaves_the_one_before(hub: Hub, estate: Estate) -> None:
    before, estate.trouble = hub.page, "the history cannot be read"
    hub._made = -60.0
    waited(hub, 2, estate)
    assert hub.page is before
    assert estate.said == ["WARNING: the page could not be made anew: the history cannot be read"]


# ---- the server


def asked(server: Server, path: str, host: str = "127.0.0.1:1", method: str = "GET") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, headers={"Host": host})
    return connection.getresponse()


def test_it_serves_the_page_to_this_machine_alone(hub: Hub) -> None:
    with served(hub) as server:
        assert server.server_address[0] == "127.0.0.1"
        answered = asked(server, "/")
        assert answered.read().decode() == hub.page.html
        assert "default-src 'none'" in answered.headers["Content-Security-Policy"]
        assert answered.headers["Cache-Control"] == "no-store"
        codes = {path: asked(server, path).status for path in ("/..%2f", "/index.html", "/?x", "/events/")}
        assert set(codes.values()) == {404}
        assert asked(server, "/", "localhost").status == 200
        for foreign in ("evil.example:8850", "127.0.0.1.evil.example", ""):
            assert asked(server, "/", foreign).status == 403, "a name that leads here is no name of ours"
        assert asked(server, "/", method="POST").status == 501


def test_events_are_told_as_they_come_and_survive_one_who_goes(
    hub: Hub, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drills.live.serve.LOOKS_EVERY_S", 0.05)
    with served(hub) as server:
        asked(server, "/events").close()
        told = asked(server, "/events")
        assert told.headers["Content-Type"] == "text/event-stream"
        lines = [told.readline().decode().strip() for _ in range(6)]
        assert lines == ["event: drill", "data: null", "", "event: page", f"data: {hub.page.at}", ""]
        live_kit.running(runs)
        assert told.readline() == b"event: drill\n"
        data = json.loads(told.readline().decode().removeprefix("data: "))
        assert (data["phase"], data["report"]) == ("the feed writes", f"runs/{live_kit.RUN}/report.html")


def test_a_port_that_cannot_be_had_is_bad_input() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(BadInput, match=f"port {taken.getsockname()[1]} cannot be had") as told:
            Server(taken.getsockname()[1])
        assert told.value.hint == "--port 0 takes a free one"
    with pytest.raises(BadInput, match="65536 is no port"):
        Server(65536)


@pytest.mark.parametrize(
    ("words", "told", "hint"),
    [
        (["--port", "8850"], ["--port belongs to --serve"], "./dr page --serve --port 8850"),
        (["--serve", "--port", "many"], ["'many' is no port"], "--port 8850"),
        (["--serve", "--port", "70000"], ["70000 is no port"], "--port 8850"),
        (["--serve", "--out", "there"], ["--out belongs to a page that is written"], "--serve"),
    ],
)
def test_a_mistake_is_told_before_anybody_is_asked(
    machine: Machine, words: list[str], told: list[str], hint: str
) -> None:
    assert_told(machine.dr("page", *words, "--inventory", machine.inventory), 2, *told, hint=hint)


def test_the_command_serves_until_it_is_ended_and_asks_no_estate_beside_a_drill(machine: Machine) -> None:
    drill = live_kit.running(machine.folder / "runs")
    with begun(machine) as (process, address):
        connection = http.client.HTTPConnection(address, timeout=30)
        connection.request("GET", "/")
        html = connection.getresponse().read().decode()
        assert "a drill runs, and asking would change what it measures" in dom(html).one("main").text
        assert dom(html).one("html").attrs["data-title"] == "Estate nobodys"
        connection.request("GET", "/events")
        told = connection.getresponse()
        assert told.readline() == b"event: drill\n"
        assert json.loads(told.readline().decode().removeprefix("data: "))["run"] == drill.folder.name
        polite = min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == polite, "a drill comes first"
        second = machine.dr("page", "--serve", "--port", address.split(":")[1], "--inventory", machine.inventory)
        assert_told(second, 2, f"port {address.split(':')[1]} cannot be had: Address already in use", hint="--port 0")
        process.terminate()
        assert process.wait(30) == 0


@contextmanager
def begun(machine: Machine) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """./dr page --serve on a free port, with host and port of its address."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("DR_")}
    ours = {"DR_STATE": str(machine.folder / "state"), "DR_RUNS": str(machine.folder / "runs")}
    process = subprocess.Popen(
        [sys.executable, "-m", "doors.main", "page", "--serve", "--port", "0", "--inventory", machine.inventory],
        cwd=ROOT, env={**clean, **ours}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("page: http://127.0.0.1:"), line
        yield process, line.split("//")[1].split("/")[0]
    finally:
        process.kill()
        process.wait()


# ---- the page


def test_the_served_page_alone_asks_its_server(tmp_path: Path) -> None:
    facts = board_kit.good(tmp_path)
    still, live = render(facts), render(facts, live=True)
    assert "EventSource" in live and "EventSource" not in still and "/events" not in still
    assert dom(live).one("section", id="drill").attrs["hidden"] == ""
    assert not dom(still).all("section", id="drill")


in_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here to look at the page with")


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Browser]:
    with browser(tmp_path / "profile") as made:
        yield made


def pictured(tab: Browser, name: str) -> None:
    """For whoever wants to see it: DR_PICTURES names a folder."""
    if folder := os.environ.get("DR_PICTURES"):
        for scheme in ("light", "dark"):
            tab.scheme(scheme)
            tab.picture(Path(folder) / f"{name}-{scheme}.png")
        tab.picture(Path(folder) / f"{name}-narrow.png", 380, 1100)


@in_browser
def test_a_browser_follows_a_drill_from_its_first_phase_to_its_end(
    hub: Hub, estate: Estate, runs: Path, tab: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drills.live.serve.LOOKS_EVERY_S", 0.1)
    live_kit.past(runs)
    with served(hub) as server:
        tab.go(server.address)
        tab.until("document.getElementById('verdict')")
        assert tab.text("drill") == "", "no drill runs"
        drill = live_kit.running(runs)
        tab.until("!document.getElementById('drill').hidden")
        tab.until("document.getElementById('live-phase').textContent == 'the feed writes'")
        assert tab.text("live-fault") == "not yet"
        assert tab.text("live-left").startswith("About ")
        calm, out = live_kit.ledger()
        drill.rows(calm + out)
        drill.writer.mark("fault", time.monotonic())
        drill.writer.hearing(lambda _: None)("fault: <b>the plug</b>")
        tab.until("document.getElementById('live-phase').textContent == 'broken, and not noticed yet'")
        tab.until("document.getElementById('live-rows').innerText.includes('outbox')")
        rows = tab.text("live-rows").split("\t")
        assert rows[0] == "PostgreSQL" and rows[2] == rows[3] != "0" and rows[4] == "outbox"
        assert tab.text("live-says") == "fault: <b>the plug</b>", "whatever a drill says is text"
        assert "not of now" in tab.text("live-before"), "a page that says safe is older than the fault"
        first = tab.text("live-fault")
        tab.until(f"document.getElementById('live-fault').textContent > {first!r}")
        assert 0 < tab.js("document.getElementById('live-bar').value") < 1
        pictured(tab, "running")
        drill.end()
        tab.until("document.getElementById('live-phase').textContent == '✓ passed'")
        assert tab.text("live-before") == ""
        assert tab.text("live") == "The drill is over" and live_kit.RUN in tab.text("live-says")
        pictured(tab, "over")


@in_browser
def test_a_browser_shows_a_page_that_was_made_anew_and_a_server_that_is_gone(
    hub: Hub, estate: Estate, tab: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drills.live.serve.LOOKS_EVERY_S", 0.1)
    with served(hub) as server:
        tab.go(server.address)
        tab.until("document.documentElement && document.documentElement.dataset.title == 'Estate asked-1'")
        assert tab.text("lost") == ""
        tab.js("document.querySelector('#board details').open = true")
        tab.js("document.querySelector('#board [tabindex=\"0\"]').focus()")
        focused = tab.js("document.activeElement.outerHTML")
        hub._made = -60.0
        tab.until("document.documentElement.dataset.title == 'Estate asked-2'")
        tab.until("document.title.includes('asked-2')")
        safe = answer(board_kit.good(estate.root / "again"))
        assert tab.text("verdict").replace("\n", "").replace("\xa0", "") == f"{safe.word}{safe.sentence}"
        assert tab.js("document.querySelectorAll('#board').length") == 1
        assert tab.js("document.querySelector('#board details').open"), "what somebody reads stays open"
        assert tab.js("document.activeElement.outerHTML") == focused
        assert tab.js("document.documentElement.dataset.made") == hub.page.at
    tab.until("!document.getElementById('lost').hidden")
    assert "Nobody serves this page any more" in tab.text("lost")
    pictured(tab, "lost")


@in_browser
@pytest.mark.skipif(not AXE.is_file(), reason="AXE_CORE names no axe.min.js (npm install axe-core)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_a_running_drill(hub: Hub, runs: Path, tab: Browser, scheme: str) -> None:
    drill = live_kit.running(runs)
    drill.rows(live_kit.ledger()[0])
    drill.writer.mark("fault", time.monotonic())
    with served(hub) as server:
        tab.go(server.address)
        tab.scheme(scheme)
        tab.until("document.getElementById('live-rows') && document.getElementById('live-rows').innerText")
        tab.ask("Page.setBypassCSP", enabled=True)
        tab.js(AXE.read_text() + "; 0")
        wanted = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
        found = tab.js(
            f"axe.run(document, {{runOnly: {json.dumps(wanted)}}}).then(found => [found.passes.length, "
            "...found.violations.map(one => one.id + ': ' + one.nodes.map(node => node.html).join(' | '))])"
        )
        assert found[0] > 10 and found[1:] == []
