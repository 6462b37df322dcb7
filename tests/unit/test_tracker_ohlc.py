"""Import of daily bars from a real local REST server and from files: whole or not at all, resumable, idempotent."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agents.base.errors import AgentError, BadConfig
from agents.client import Client
from agents.tracker.ohlc import files, web
from agents.tracker.ohlc.bars import NoBar, bar
from agents.tracker.ohlc.importing import from_files, from_source, main, ranges, symbols_of
from agents.tracker.ohlc.progress import Progress
from agents.tracker.ohlc.source import Range, Source, SourceLies
from agents.tracker.ohlc.web import SourceAway, SourceRefuses, Web
from inventories.catalog.tracker import DATABASE
from tests.unit import ohlc_source
from tests.unit.ohlc_source import Says
from tests.unit.postgres_server import Server
from tests.unit.tracker_kit import settings, tracked_server

ROOT = Path(__file__).resolve().parents[2]
YEAR = Range("VCB", date(2025, 1, 1), date(2025, 12, 31))
MONTH = Range("VCB", date(2025, 1, 1), date(2025, 1, 31))
WEEKDAYS = 261  # of 2025
TODAY = date(2026, 11, 27)


@pytest.fixture
def says() -> Iterator[Says]:
    with ohlc_source.source() as says:
        yield says


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "PAUSE_S", 0.01)
    monkeypatch.setattr(web, "LONGEST_S", 0.05)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tracked_server() as server:
        yield server


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Iterator[Client]:
    with Client.open([settings(tmp_path, server)], pool=1) as client:
        yield client
    server.sql("TRUNCATE daily_ohlc", database=DATABASE)


def of(says: Says, size: int = 100) -> Source:
    return Source(Web(says.url), size)


def stored(server: Server) -> list[tuple[object, ...]]:
    return server.sql(
        "SELECT symbol, date, open, high, low, close, volume FROM daily_ohlc ORDER BY symbol, date", database=DATABASE
    )


# ---- the source


def test_every_page_of_a_year_is_read(says: Says) -> None:
    bars = of(says).bars(YEAR)
    assert len(bars) == WEEKDAYS and [one["page"] for one in says.asked] == [1, 2, 3]
    assert bars[0].date == date(2025, 1, 1) and bars[0].high == Decimal("52.50") + (bars[0].low or 0) - 49
    assert of(says, 1000).bars(YEAR) == bars and of(says, 7).bars(YEAR) == bars


def test_a_range_without_a_bar_is_none(says: Says) -> None:
    assert of(says).bars(Range("VCB", date(2025, 1, 4), date(2025, 1, 5))) == []


def test_a_source_that_is_busy_or_breaks_off_is_asked_again(says: Says) -> None:
    says.answers = [(503, {}), (429, {"Retry-After": "3600"})]
    says.cut = 1
    assert len(of(says).bars(MONTH)) == 23
    assert len(says.asked) == 4


def test_a_source_that_stays_away_is_given_up(says: Says) -> None:
    says.answers = [(503, {})] * 50
    with pytest.raises(SourceAway, match="asked 5 times in vain: it answers 503") as told:
        of(says).bars(MONTH)
    assert len(says.asked) == 5 and told.value.hint
    with pytest.raises(SourceAway, match="in vain"):
        Source(Web("http://127.0.0.1:9/nobody")).bars(MONTH)


def _page(number: int, change: Callable[[dict[str, Any]], Any]) -> Callable[..., Any]:
    """Change that page, and no other."""

    def lies(page: dict[str, Any], asked: dict[str, Any]) -> Any:
        return (change(page) or page) if asked["page"] == number else page

    return lies


LIES: dict[str, tuple[Callable[..., Any], str]] = {
    "too few": (_page(2, lambda p: p.update(data=p["data"][:-1])), "gives 99 rows on page 2, where 161 were left"),
    "none": (_page(2, lambda p: p.update(data=[])), "gives 0 rows on page 2, where 161 were left"),
    "fewer at the end": (_page(3, lambda p: p.update(data=p["data"][:60])), "gives 60 rows on page 3, where 61"),
    "more at the end": (
        _page(3, lambda p: p.update(data=[*p["data"], ohlc_source.bar("VCB", date(2025, 1, 4))])),
        "gives more rows than it says: 62 on page 3",
    ),
    "more than a page": (
        _page(1, lambda p: p.update(data=[*p["data"], ohlc_source.bar("VCB", date(2025, 1, 4))])),
        "gives 101 rows on page 1, asked for 100",
    ),
    "another total": (_page(2, lambda p: p.update(totalRecord=180)), "says 261 rows on page 1 and 180 on page 2"),
    "no total": (_page(1, lambda p: p.update(totalRecord=None)), "that there are None rows"),
    "an endless total": (_page(1, lambda p: p.update(totalRecord=10**9)), "says 1000000000 rows, more than there are"),
    "a total below nothing": (_page(1, lambda p: p.update(totalRecord=-1)), "that there are -1 rows"),
    "the first page again": (
        lambda page, asked: {**page, "data": page["data"]} if asked["page"] != 2 else _first(page, asked),
        "gives 2025-01-01 on page 1 and again on page 2",
    ),
    "another symbol": (_page(2, lambda p: p["data"][3].update(Symbol="HPG")), "gives HPG on page 2"),
    "another year": (_page(2, lambda p: p["data"][3].update(TradingDate="02/01/2024")), "gives 2024-01-02 on page 2"),
    "no number": (_page(3, lambda p: p["data"][0].update(Close="NaN")), "(page 3, row 1: its close is 'NaN')"),
    "high below low": (_page(1, lambda p: p["data"][0].update(High="1", Open="", Close="")), "is below its low"),
    "a row that is none": (_page(1, lambda p: p["data"].__setitem__(4, 7)), "(page 1, row 5: it is no object"),
}  # fmt: skip


def _first(page: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    return {**page, "data": Says().page({**asked, "page": 1})["data"]}


@pytest.mark.parametrize("lie", LIES)
def test_a_source_that_lies_is_one_sentence_and_nothing_of_the_range_is_kept(
    says: Says, client: Client, server: Server, tmp_path: Path, lie: str
) -> None:
    says.lies, sentence = LIES[lie]
    noted = Progress(tmp_path / "progress.json")
    with pytest.raises(SourceLies) as told:
        list(from_source(client, of(says), [YEAR], noted, TODAY))
    assert sentence in str(told.value) and str(told.value).startswith("The source ") and told.value.hint
    assert stored(server) == [] and not noted.has(says.url, YEAR)


@pytest.mark.parametrize(
    ("answers", "raw", "says_so"),
    [
        ([(404, {})], None, "answers 404"),
        ([(302, {"Location": "http://127.0.0.1:9/"})], None, "answers 302"),
        ([(401, {})], None, "the token is not taken"),
        ([], b"<html>maintenance</html>", "gives no JSON"),
        ([], b"[" * 100_000, "gives no JSON"),
        ([], b'{"status": "Error", "message": "quota exceeded", "data": null}', "but 'quota exceeded'"),
        ([], b"[]", "gives no rows"),
    ],
)
def test_an_answer_that_is_none_is_one_sentence(
    says: Says, answers: list[Any], raw: bytes | None, says_so: str
) -> None:
    says.answers, says.raw = answers, raw
    with pytest.raises(SourceRefuses, match=says_so) as told:
        of(says).bars(MONTH)
    assert told.value.hint and len(says.asked) == 1


def test_a_page_without_end_is_not_read_to_its_end(says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MOST_BYTES", 1000)
    with pytest.raises(SourceRefuses, match="a page of more than"):
        of(says).bars(MONTH)


# ---- the import


def test_an_import_that_was_broken_off_goes_on_and_is_the_same_when_repeated(
    says: Says, client: Client, server: Server, tmp_path: Path
) -> None:
    wanted = ranges(("VCB", "HPG"), date(2024, 7, 1), date(2026, 11, 27))
    assert len(wanted) == 6 and wanted[0] == Range("VCB", date(2024, 7, 1), date(2024, 12, 31))
    path = tmp_path / "progress.json"
    says.lies = lambda page, asked: 7 if asked["symbol"] == "HPG" else page
    with pytest.raises(AgentError):
        list(from_source(client, of(says), wanted, Progress(path), TODAY))
    says.lies = Says().lies
    before = len(says.asked)
    done = list(from_source(client, of(says), wanted, Progress(path), TODAY))[-1]
    assert done.skipped == 2, "this year's is asked for each time"
    again = {(one["symbol"], one["first"].year) for one in says.asked[before:]}
    assert again == {("VCB", 2026), ("HPG", 2024), ("HPG", 2025), ("HPG", 2026)}
    rows = stored(server)
    assert len(rows) == len({row[:2] for row in rows}) == 2 * len(
        [d for d in range(date(2024, 7, 1).toordinal(), TODAY.toordinal() + 1) if date.fromordinal(d).weekday() < 5]
    )
    list(from_source(client, of(says), wanted, Progress(path), TODAY, again=True))
    assert stored(server) == rows
    noted = json.loads(path.read_text())
    before_this_year = [row for row in rows if str(row[1]) < "2026"]
    assert len(noted) == 4 and sum(noted.values()) == len(before_this_year), "each year is noted with its own rows"


def test_a_bar_that_was_corrected_takes_the_place_of_the_first(
    says: Says, client: Client, server: Server, tmp_path: Path
) -> None:
    noted = Progress(tmp_path / "progress.json")
    list(from_source(client, of(says), [MONTH], noted, TODAY))
    says.lies = lambda page, _: (page["data"][0].update(Volume="77"), page)[1]
    list(from_source(client, of(says), [MONTH], noted, TODAY, again=True))
    assert stored(server)[0][-1] == 77 and len(stored(server)) == 23


def test_while_the_store_is_away_bars_go_to_the_outbox(says: Says, tmp_path: Path) -> None:
    path = settings(tmp_path, None, writer={"deadline_s": 0.1})
    with Client.open([path], pool=1) as client:
        done = list(from_source(client, of(says), [MONTH], Progress(tmp_path / "progress.json"), TODAY))[-1]
    assert done.rows == 23


def test_the_program_prints_what_it_did_and_ends_with_a_code(says: Says, server: Server, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret-word\n")
    token.chmod(0o600)
    says.token = "secret-word"
    words = [
        "--config", str(settings(tmp_path, server)), "rest", "--url", says.url, "--symbols", "VCB", "--from",
        "2025-01-01", "--to", "2025-01-31", "--token-file", str(token), "--progress", str(tmp_path / "p"),
    ]  # fmt: skip
    done = _ran(*words)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"rows": 23, "ranges": 1, "skipped": 0})
    assert json.loads(_ran(*words).stdout) == {"rows": 0, "ranges": 0, "skipped": 1}
    says.lies = lambda page, _: {**page, "totalRecord": 24}
    lied = _ran(*words, "--again")
    assert lied.returncode == 1 and lied.stdout == "" and lied.stderr.splitlines()[1].startswith("HINT: ")
    assert len(lied.stderr.splitlines()) == 2 and "Traceback" not in lied.stderr
    says.token = "another"
    refused = _ran(*words, "--again")
    assert refused.returncode == 1 and "secret-word" not in refused.stderr
    server.sql("TRUNCATE daily_ohlc", database=DATABASE)


def _ran(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agents.tracker.ohlc.importing", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "words",
    [
        ("--url", "ftp://x/y", "--from", "2025-01-01"),
        ("--url", "https://user@x/y", "--from", "2025-01-01"),
        ("--url", "http://127.0.0.1:9/", "--from", "2025-02-30"),
        ("--url", "http://127.0.0.1:9/", "--from", "2025-02-03", "--to", "2025-02-01"),
        ("--url", "http://127.0.0.1:9/", "--from", "2025-01-01", "--symbols", "V CB"),
        ("--url", "http://127.0.0.1:9/", "--from", "2025-01-01", "--page-size", "0"),
    ],
)
def test_bad_words_touch_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(BadConfig) as told:
        main(["--config", str(settings(tmp_path, None)), "rest", *words, "--progress", str(tmp_path / "p")])
    assert told.value.exit_code == 2 and told.value.hint


def test_a_token_goes_nowhere_where_others_may_read_it(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret-word")
    token.chmod(0o644)
    with pytest.raises(BadConfig, match="may be read by others"):
        Web("https://example.net/x", token)
    token.chmod(0o600)
    with pytest.raises(BadConfig, match="for everybody to read"):
        Web("http://example.net/x", token)
    token.write_text("two words")
    with pytest.raises(BadConfig, match="holds no token"):
        Web("https://example.net/x", token)


def test_progress_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("[]")
    with pytest.raises(BadConfig, match="cannot be read"):
        Progress(tmp_path / "p")


def test_symbols_are_vn30_or_named() -> None:
    assert len(symbols_of("vn30")) == 30 and symbols_of("hpg, VCB,hpg") == ("HPG", "VCB")
    with pytest.raises(BadConfig):
        symbols_of(",")


# ---- files


def test_bars_come_from_csv_json_and_json_lines(client: Client, server: Server, tmp_path: Path) -> None:
    header = "symbol,date,open,high,low,close,volume"
    (tmp_path / "a.csv").write_text(f"\ufeff{header}\nVCB,2025-01-02,50,52,49,51.25,1000\nVCB,2025-01-03,,,,51,\n")
    rows = [ohlc_source.bar("HPG", date(2025, 1, day)) for day in (2, 3)]
    (tmp_path / "b.json").write_text(json.dumps({"data": rows}))
    (tmp_path / "c.jsonl").write_text("\n".join(json.dumps({**one, "Symbol": "FPT"}) for one in rows))
    paths = [tmp_path / name for name in ("a.csv", "b.json", "c.jsonl")]
    assert from_files(client, paths).rows == 6
    assert [row[:2] for row in stored(server)] == [
        (symbol, date(2025, 1, day)) for symbol in ("FPT", "HPG", "VCB") for day in (2, 3)
    ]
    assert stored(server)[-1][2:] == (None, None, None, Decimal("51.00"), None)
    from_files(client, paths)
    assert len(stored(server)) == 6


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "", "holds no row"),
        ("a.csv", "symbol,date\n", "holds no row"),
        ("a.csv", "symbol,date,close\nVCB,2025-01-02\n", "line 2 has not as many values"),
        ("a.csv", "symbol,date,close\nVCB,2025-01-02,50,60\n", "line 2 has not as many values"),
        ("a.csv", "symbol,date,close\nVCB,2025-02-30,50\n", "row 2 is no daily bar: its date is '2025-02-30'"),
        ("a.csv", "symbol,date,close\nVCB,2025-01-02,50.123\n", "two decimals are kept"),
        ("a.csv", "symbol,date,close\nVCB,2025-01-02,50\nVCB,2025-01-02,51\n", "in rows 2 and 3, differently"),
        ("a.json", "{}", "it is no list of rows"),
        ("a.json", "[" * 100_000, "cannot be read"),
        ("a.jsonl", '{"symbol": "VCB"}', "row 1 is no daily bar"),
        ("a.xlsx", "x", "is none of .csv"),
    ],
)
def test_a_file_that_is_wrong_is_one_sentence_and_nothing_of_any_file_is_kept(
    client: Client, server: Server, tmp_path: Path, name: str, text: str, says: str
) -> None:
    good = tmp_path / "good.csv"
    good.write_text("symbol,date,close\nVCB,2025-01-02,50\n")
    (tmp_path / name).write_text(text)
    with pytest.raises(files.BadFile) as told:
        from_files(client, [good, tmp_path / name])
    assert says in str(told.value) and told.value.exit_code == 2 and told.value.hint
    assert stored(server) == []


def test_a_file_that_is_not_there_or_no_text_is_said(tmp_path: Path) -> None:
    with pytest.raises(files.BadFile, match="cannot be read: No such file"):
        files.bars(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(files.BadFile, match="not UTF-8"):
        files.bars(tmp_path / "x.csv")


@pytest.mark.parametrize("value", ["-1", "0", "1e10", "inf", "x", "50,5"])
def test_a_price_that_is_none_is_no_bar(value: str) -> None:
    with pytest.raises(NoBar, match="its close is"):
        bar({"symbol": "VCB", "date": "2025-01-02", "close": value})
