"""./dr page: the answer, and what a browser makes of the page: its content, never its pixels."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from drills.board.answer import Colour, answer
from drills.board.facts import Facts
from drills.board.page import render, write
from drills.board.shapes import timeline, trends
from runbooks.judge.feasibility import Verdict
from tests.unit import board_kit as kit
from tests.unit.evidence_kit import NOW, history, told

Kind = Callable[[Path], Facts]
KINDS: tuple[Kind, ...] = (kit.good, kit.bad, kit.unknown, kit.empty)
MOST_BYTES = 300 * 1024


@dataclass
class Element:
    tag: str
    attrs: dict[str, str]
    parts: list[str | Element] = field(default_factory=list)

    @property
    def text(self) -> str:
        said = "".join(one if isinstance(one, str) else one.text for one in self.parts if not _unseen(one))
        return " ".join(said.split())

    def all(self, tag: str, **wanted: str) -> list[Element]:
        """In the page's order; `_class` is one of the element's classes."""
        found = []
        for one in self.parts:
            if isinstance(one, Element):
                found += [one] if one.tag == tag and one.fits(wanted) else []
                found += one.all(tag, **wanted)
        return found

    def fits(self, wanted: dict[str, str]) -> bool:
        classes = self.attrs.get("class", "").split()
        return all(
            value in classes if name == "_class" else self.attrs.get(name) == value for name, value in wanted.items()
        )

    def one(self, tag: str, **wanted: str) -> Element:
        (found,) = self.all(tag, **wanted)
        return found


def _unseen(one: str | Element) -> bool:
    return isinstance(one, Element) and one.tag in ("script", "style")


class Dom(HTMLParser):
    VOID = ("meta", "br", "link", "img", "input")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].parts.append(made)
        if tag not in self.VOID:
            self.open.append(made)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].parts.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.open[-1].parts.append(data)


def dom(html: str) -> Element:
    return Dom(html).root


# ---- the answer


def test_it_is_safe_only_where_everything_is_known_and_good(tmp_path: Path) -> None:
    safe = answer(kit.good(tmp_path))
    assert (safe.colour, safe.causes) == (Colour.GOOD, ())
    assert safe.sentence.startswith("Every objective is met, and every promise was drilled in time.")


def test_a_machine_that_never_drilled_is_not_safe(tmp_path: Path) -> None:
    safe = answer(kit.empty(tmp_path))
    assert (safe.word, safe.colour) == ("Not safe", Colour.BAD)
    never = len(kit.promised())
    says = rf"{never} promises never drilled: primary-power-loss, .* and {never - 4} more\."
    assert re.match(says, safe.sentence)
    assert safe.causes[0].commands[0] == "./dr drill --scenario primary-power-loss"


def test_what_nobody_can_tell_is_neither_good_nor_bad(tmp_path: Path) -> None:
    safe = answer(kit.unknown(tmp_path))
    assert (safe.word, safe.colour) == ("Nobody can tell", Colour.UNKNOWN)
    assert {cause.colour for cause in safe.causes} == {Colour.UNKNOWN}
    says = " ".join(cause.says for cause in safe.causes)
    assert "backup1 does not answer" in says and "proven with other code, another catalogue or other versions" in says


def test_what_is_bad_comes_first_and_says_what_to_run(tmp_path: Path) -> None:
    safe = answer(kit.bad(tmp_path))
    colours = [cause.colour for cause in safe.causes]
    assert colours == sorted(colours, key=lambda colour: colour is not Colour.BAD)
    assert safe.causes[0].says.startswith("pg2 as a standby")
    told_of = {cause.says.partition(":")[0]: cause.commands for cause in safe.causes}
    assert told_of["1 promise failed the last time"] == ("./dr drill --scenario bad-update",)
    assert told_of["1 promise never drilled"] == ("./dr drill --scenario disk-full",)
    assert told_of["2 promises not drilled in time"][0] == "./dr drill --scenario site-power-loss"
    assert any("cluster-loss would take 300.0 s, promised 60 s" in cause.says for cause in safe.causes)
    assert any("grows slower" in cause.says and cause.colour is Colour.UNKNOWN for cause in safe.causes)


@pytest.mark.parametrize(
    ("change", "colour"),
    [
        ({"now": None, "why_not_seen": "nobody answers"}, Colour.UNKNOWN),
        ({"plan": None, "why_no_plan": "nobody answers"}, Colour.UNKNOWN),
        ({"plan": kit.plan(Verdict.UNKNOWN)}, Colour.UNKNOWN),
        ({"plan": kit.plan(Verdict.TOO_SLOW)}, Colour.BAD),
    ],
)
def test_each_part_alone_takes_the_good_answer_away(
    tmp_path: Path, change: dict[str, object], colour: Colour
) -> None:
    assert answer(replace(kit.good(tmp_path), **change)).colour is colour  # type: ignore[arg-type]


def test_what_is_silent_is_told_once(tmp_path: Path) -> None:
    why = "backup1 does not answer at 192.0.2.31"
    silent = replace(kit.status(), repository=None, unknown={"repository": why, "copies": "did not answer in time"})
    says = [cause.says for cause in answer(replace(kit.good(tmp_path), now=kit.seen(silent))).causes]
    assert [one for one in says if why in one] == [f"backup repository: {why}, promised answers"]
    assert "copies is unknown: did not answer in time" in says


def test_a_history_that_does_not_hold_is_not_safe(tmp_path: Path) -> None:
    facts = kit.good(tmp_path)
    broken = replace(facts, due=replace(facts.due, troubles=("record 3 is missing: line 3 is record 4",)))
    assert answer(broken).colour is Colour.BAD
    assert "record 3 is missing" in dom(render(broken)).one("section", **{"aria-labelledby": "evidence"}).text
    nothing = replace(facts, due=replace(facts.due, rows=()))
    assert answer(nothing).colour is Colour.BAD, "an empty calendar proves nothing"


# ---- the page


@pytest.mark.parametrize("kind", KINDS)
def test_it_asks_nobody_and_is_small(tmp_path: Path, kind: Kind) -> None:
    html = render(kind(tmp_path))
    assert len(html.encode()) <= MOST_BYTES
    page = dom(html)
    for tag in ("img", "link", "iframe", "object", "video", "audio", "embed", "form"):
        assert page.all(tag) == []
    addresses = [value for one in every(page) for name, value in one.attrs.items() if name in ("src", "href", "action")]
    assert addresses == ["#todo"]
    assert not re.search(r"url\(|@import|https?:|fetch\(|XMLHttpRequest|import\(|WebSocket|sendBeacon", html)


def every(element: Element) -> Iterator[Element]:
    for one in element.parts:
        if isinstance(one, Element):
            yield one
            yield from every(one)


@pytest.mark.parametrize("kind", KINDS)
def test_who_does_not_see_it_is_told_the_same(tmp_path: Path, kind: Kind) -> None:
    page = dom(render(kind(tmp_path)))
    assert page.one("html").attrs["lang"] == "en" and page.one("head").one("title").text
    assert len(page.all("main")) == len(page.all("h1")) == 1
    ids = [one.attrs["id"] for one in every(page) if "id" in one.attrs]
    assert len(ids) == len(set(ids))
    assert all(one.attrs.get("aria-labelledby") in ids for one in page.all("section"))
    for table in page.all("table"):
        assert table.one("caption").text
        assert all(one.attrs.get("scope") in ("col", "row") for one in table.all("th"))
    drawn = [one for one in page.all("svg") if one.attrs.get("aria-hidden") != "true"]
    assert all(one.attrs.get("role") == "img" and one.attrs.get("aria-label") for one in drawn)
    scrolled = page.all("div", _class="table")
    assert all(one.attrs.get("tabindex") == "0" and one.attrs.get("aria-label") for one in scrolled)
    coloured = [one for one in every(page) if set(one.attrs.get("class", "").split()) & {"good", "bad", "unknown"}]
    assert all(one.text for one in coloured), "a colour is never alone"


def test_the_matrix_has_a_line_for_each_promise_with_its_age_and_result(tmp_path: Path) -> None:
    facts = kit.bad(tmp_path)
    section = dom(render(facts)).one("section", **{"aria-labelledby": "promises"})
    lines = {row.all("th")[0].text: row for row in section.all("tr") if row.all("th", scope="row")}
    for row in facts.due.rows:
        name = row.wanted.scenario if row.wanted.twin or row.wanted.scenario == row.wanted.promise else None
        if name:
            assert row.state.value in lines[name].text
    assert "✗failed" in lines["bad-update"].text and kit.LOST in lines["bad-update"].text
    assert "✗overdue9 days ago" in lines["site-power-loss"].text
    assert "./dr drill --scenario disk-full" in lines["disk-full"].text
    assert "✗too slow300.0 of 60 s" in lines["cluster-loss"].text
    assert "There is no inventory production here" in section.text


def test_roles_loss_and_outbox_are_told(tmp_path: Path) -> None:
    page = dom(render(kit.bad(tmp_path)))
    now = page.one("section", **{"aria-labelledby": "now"}).text
    assert "Estate record: pg1 is primary" in now
    assert "pg1takes the writes" in now and "pg2unreachable" in now and "Degraded." in now
    outboxes = page.one("section", **{"aria-labelledby": "outbox"}).text
    assert "1,234 rows wait, the oldest for 90 s" in outboxes and "the stock tracker77 rows wait" in outboxes


def test_backups_lie_on_a_line_with_their_gaps(tmp_path: Path) -> None:
    line = timeline(kit.bad(tmp_path))
    assert line and len(line.lanes) == 1 and len(line.lanes[0].marks) == 9
    (gap,) = line.gaps
    assert gap.title == "no backup for 96 h, 2026-11-22 11:00 to 2026-11-26 11:00 UTC"
    xs = [mark.x for mark in line.lanes[0].marks]
    assert xs == sorted(xs) and not any(gap.x + 1 < x < gap.x + gap.width - 1 for x in xs)
    section = dom(render(kit.bad(tmp_path / "2"))).one("section", **{"aria-labelledby": "backups"})
    assert f"Gap: {gap.title}" in section.text
    assert kit.good(tmp_path / "3") and not timeline(kit.good(tmp_path / "4")).gaps  # type: ignore[union-attr]


def test_the_time_since_the_newest_backup_is_a_gap_too(tmp_path: Path) -> None:
    facts = replace(kit.good(tmp_path), backups=kit.backups(missing=(0, 1)))
    line = timeline(facts)
    assert line and line.gaps[0].title.endswith("to now UTC")


@pytest.mark.parametrize(("there", "says"), [((), "There is no backup."), (None, "Unknown. nobody answers")])
def test_no_backup_and_nobody_to_ask_are_two_things(tmp_path: Path, there: object, says: str) -> None:
    facts = replace(kit.good(tmp_path), backups=there, why_no_backups="nobody answers")
    assert says in dom(render(facts)).one("section", **{"aria-labelledby": "backups"}).text


def test_trends_are_drawn_for_what_was_measured_the_slower_ones_first(tmp_path: Path) -> None:
    found = trends(kit.bad(tmp_path).due.rows)
    assert found[0].name == "primary-crash" and "159 % above the median" in found[0].grown
    assert len(found[0].dots) == 13 and found[0].dots[-1].last
    assert [dot.y for dot in found[0].dots[:-1]] == [found[0].dots[0].y] * 12
    assert found[0].dots[-1].y < found[0].dots[0].y, "what takes longer is drawn higher"
    assert found[0].promised is not None and found[0].promised < found[0].dots[-1].y
    assert "disk-full" not in {one.name for one in found}
    section = dom(render(kit.empty(tmp_path / "2"))).one("section", **{"aria-labelledby": "trend"})
    assert "No drill in the history has measured a recovery time." in section.text


def test_whatever_a_drill_says_is_text(tmp_path: Path) -> None:
    kept = history(tmp_path)
    kept.add(told(outcome="failed", reason="<script>alert(1)</script> & \"quotes\""))
    html = render(kit.facts(kept))
    assert "<script>alert" not in html and "&lt;script&gt;alert(1)" in html


def test_it_says_its_time_plainly(tmp_path: Path) -> None:
    when = dom(render(kit.good(tmp_path))).one("p", _class="when").text
    assert when == "Made 2026-11-28 12:00 UTC.It counts until 2026-11-28 12:30 UTC."


def test_it_is_replaced_whole(tmp_path: Path) -> None:
    facts = kit.good(tmp_path)
    path = write(facts, tmp_path / "page")
    before = path.read_text()
    assert write(replace(facts, estate="other"), tmp_path / "page").read_text() != before
    assert [one.name for one in path.parent.iterdir()] == ["index.html"]


# ---- in a browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here to look at the page with")


def browsed(path: Path, *options: str) -> Element:
    """The page as a browser has made it, its script included."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", *options, "--dump-dom", path.as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return dom(ran.stdout)


@in_browser
@pytest.mark.parametrize("kind", KINDS)
def test_a_browser_shows_what_was_written(tmp_path: Path, kind: Kind) -> None:
    facts = replace(kind(tmp_path), at=datetime.now(UTC))
    page, written = browsed(write(facts, tmp_path / "page")), dom(render(facts))
    assert "stale" not in page.one("html").attrs.get("class", "").split()
    safe = answer(facts)
    assert page.one("div", id="verdict").text == f"{safe.word}{safe.sentence}"
    assert page.one("head").one("title").text.startswith(safe.word)
    for name in ("todo", "now", "outbox", "promises", "trend", "backups", "evidence"):
        section = page.one("section", **{"aria-labelledby": name})
        assert section.text == written.one("section", **{"aria-labelledby": name}).text
    for tag in ("circle", "rect", "path", "line"):
        assert len(page.all(tag)) == len(written.all(tag)), f"the browser threw {tag}s away"


@in_browser
@pytest.mark.parametrize(
    ("age", "says"),
    [
        (timedelta(minutes=45), r"It is 45 min old and counts no more"),
        (timedelta(days=3), r"It is 3 days old and counts no more"),
        (timedelta(hours=-3), r"It is dated 3 h ahead of this clock"),
    ],
)
def test_it_turns_red_by_itself_when_its_data_are_stale(tmp_path: Path, age: timedelta, says: str) -> None:
    facts = replace(kit.good(tmp_path), at=datetime.now(UTC) - age)
    page = browsed(write(facts, tmp_path / "page"))
    assert "stale" in page.one("html").attrs["class"].split()
    alarm = page.one("div", id="old")
    assert alarm.attrs["role"] == "alert" and re.search(says, alarm.text) and alarm.text.startswith("Out of date")
    assert page.one("head").one("title").text.startswith("Out of date: ")


@in_browser
def test_a_year_of_drills_is_one_small_page(tmp_path: Path) -> None:
    path = write(replace(kit.year(tmp_path), at=datetime.now(UTC)), tmp_path / "page")
    assert path.stat().st_size <= MOST_BYTES
    page = browsed(path)
    assert len(page.all("figure")) == len(kit.promised())
    assert "1000 signed records hold" in page.one("section", **{"aria-labelledby": "evidence"}).text


AXE = Path(os.environ.get("AXE_CORE", ""))  # axe.min.js of the npm package axe-core
_RUN_AXE = """<script>%s</script><script>addEventListener("load", async () => {
  const found = await axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]});
  const told = document.createElement("pre");
  told.id = "axe";
  const wrong = found.violations.map(one => one.id + ": " + one.nodes.map(node => node.html).join(" | "));
  told.textContent = [...wrong, found.passes.length + " rules passed"].join("; ");
  document.body.append(told);
});</script>"""


@in_browser
@pytest.mark.skipif(not AXE.is_file(), reason="AXE_CORE names no axe.min.js (npm install axe-core)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing_in_it(tmp_path: Path, kind: Kind, scheme: str) -> None:
    path = write(replace(kind(tmp_path), at=datetime.now(UTC)), tmp_path / "page")
    path.write_text(path.read_text().replace("</body>", _RUN_AXE % AXE.read_text() + "</body>"))
    colours = f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"
    said = browsed(path, "--virtual-time-budget=20000", colours).one("pre", id="axe").text
    assert re.fullmatch(r"[1-9]\d* rules passed", said)


def test_the_made_and_stale_moments_are_there_for_the_script(tmp_path: Path) -> None:
    root = dom(render(kit.good(tmp_path))).one("html")
    assert root.attrs["data-made"] == NOW.isoformat()
    assert root.attrs["data-stale"] == (NOW + timedelta(minutes=30)).isoformat()
    assert json.dumps(root.attrs["data-title"]) == '"Estate lab-lab"'
