"""A store held against a mark: what had been acknowledged by then is there; what a mark cannot tell is said."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from agents.base.config import load_config
from agents.writing import shadow
from agents.writing.outbox import Outbox
from agents.writing.writer import By, Writer
from doors.mark import backup_at_the_mark
from inventories.errors import BadInput, Refused
from runbooks import hosts
from runbooks.hosts import Estate, Host
from runbooks.marks import asking, holding, keeping, reaching, resolving, taking
from runbooks.marks.types import Kept, Mark, Numbers, Windows
from runbooks.probes.outbox import NAMES, POSTGRESQL, TDENGINE, Box, boxes
from runbooks.probes.postgresql import server as nodes
from runbooks.probes.postgresql.server import Node
from runbooks.validation.difference import Looked
from tests.unit.agent_fixtures import config_file, orders, tables
from tests.unit.marks_kit import estate, host
from tests.unit.postgres_server import Server, fresh_server
from tests.unit.test_marks import a_mark, archive
from tests.unit.test_marks import there as ground_of

BOUND = Windows(label="20261128T1", database="market", ended_at=1.0, rows=5, windows="aa", tables={})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with fresh_server() as made:
        yield made


@pytest.fixture
def here(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Estate]:
    """One primary, an application host whose writer writes there, and a backup host."""
    servers = [{"name": "127.0.0.1", "address": "127.0.0.1", "port": server.port}]
    config_file(tmp_path, hosts=servers, shadow={"path": str(tmp_path / "shadow")})
    made = estate(host("pg1", tmp_path, server), host("app1", tmp_path), host("backup1", tmp_path))
    node = Node(made.host("pg1"), ssh=True, online=True, in_recovery=False, timeline=1)
    monkeypatch.setattr(nodes, "survey", lambda _: (node,))
    system = str(server.sql("SELECT system_identifier FROM pg_control_system()")[0][0])
    monkeypatch.setattr(
        reaching, "ground", lambda estate, now: ground_of(archive(), now=now, system=system, primary="pg1")
    )
    yield made
    server.sql("TRUNCATE order_records")


def write(folder: Path, first: int, last: int) -> None:
    config, known = load_config(folder / "agent.json"), tables(folder)
    outbox = Outbox(config.outbox.path)
    writer = Writer(config, known, outbox, 7)
    assert writer.write(orders(known, first, last)).by is By.STORE
    writer.close()
    outbox.close()


def held(here: Estate, name: str, since: float = 0.0, tables: tuple[str, ...] = ()) -> Looked:
    return holding.acknowledged(holding.find(here, name, POSTGRESQL), since, tables)


def told(found: Looked) -> list[str]:
    return [str(one) for one in found.differences]


def test_what_was_acknowledged_by_the_mark_is_there_and_later_rows_are_none_of_its_business(
    here: Estate, server: Server, tmp_path: Path
) -> None:
    write(tmp_path, 1, 20)
    taking.take(here, "etl")
    write(tmp_path, 21, 30)
    server.sql("DELETE FROM order_records WHERE event_id > 20")
    found = held(here, "etl")
    assert (told(found), found.number, found.sound) == ([], 20, True)
    assert "whether a value was altered since is told by ./dr restore-pitr --to-mark etl" in found.unknown


def test_rows_that_are_gone_are_named(here: Estate, server: Server, tmp_path: Path) -> None:
    write(tmp_path, 1, 20)
    taking.take(here, "etl")
    server.sql("DELETE FROM order_records WHERE event_id IN (3, 5, 7, 9, 11, 13, 15)")
    found = told(held(here, "etl"))
    assert found[0] == "content: order_records: row event_id=3: expected there, or a newer one, found no such row"
    assert found[-1].endswith("further rows: expected there, or newer ones, found 2 that are not there")
    assert len(found) == holding.NAMED + 1


def test_shadow_that_cannot_be_read_to_its_end_is_no_good_news(here: Estate, tmp_path: Path) -> None:
    write(tmp_path, 1, 10)
    write(tmp_path, 11, 20)
    taking.take(here, "etl")
    segment = shadow.segments(tmp_path / "shadow")[-1]
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(data)
    found = held(here, "etl")
    assert told(found) == ["content: shadow on app1: its files: expected whole, found 1 files that are gone or "
                           "cannot be read to their end"]
    assert not found.sound


def test_mark_in_the_middle_of_a_frame_is_no_damage(here: Estate, tmp_path: Path) -> None:
    config, known = load_config(tmp_path / "agent.json"), tables(tmp_path)
    outbox = Outbox(config.outbox.path)
    writer = Writer(config, known, outbox, 7)  # whoever writes on does so in the same segment
    assert writer.write(orders(known, 1, 10)).by is By.STORE
    taking.take(here, "etl")
    assert writer.write(orders(known, 11, 20)).by is By.STORE
    writer.close()
    outbox.close()
    mark = holding.find(here, "etl", POSTGRESQL)
    ((box, then),) = mark.there
    cut = {name: size + 9 for name, size in (then.shadow or {}).items()}
    later = replace(mark, there=((box, then.model_copy(update={"shadow": cut})),))
    found = holding.acknowledged(later, 0.0, ())
    assert (told(found), found.number) == ([], 10)


def test_since_and_tables_take_less(here: Estate, server: Server, tmp_path: Path) -> None:
    write(tmp_path, 1, 10)
    between = time.time()
    time.sleep(0.01)
    write(tmp_path, 11, 20)
    taking.take(here, "etl")
    server.sql("DELETE FROM order_records WHERE event_id IN (3, 13)")
    found = held(here, "etl", between)
    assert (found.number, [one.what for one in found.differences]) == (10, ["row event_id=13"])
    with pytest.raises(Refused, match="keeps anything any more"):
        held(here, "etl", tables=("daily_kline",))


def test_where_nothing_of_before_the_mark_is_kept_nobody_can_tell(here: Estate, tmp_path: Path) -> None:
    write(tmp_path, 1, 20)
    taking.take(here, "old")
    for file in shadow.segments(tmp_path / "shadow"):
        file.unlink()
    with pytest.raises(Refused, match=r"before mark old of .* no application host keeps anything any more") as refused:
        held(here, "old")
    assert refused.value.hint.startswith("./dr restore-pitr --to-mark old")
    beside = holding.looked(holding.find(here, "old", POSTGRESQL), 0.0, ())
    assert not beside.sound and not beside.differences, "other checks of the mark are made all the same"
    assert "no application host keeps anything any more" in beside.unknown and "--against restored" in beside.unknown


def test_a_moment_behind_the_mark_is_bad_input(here: Estate, tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    taking.take(here, "etl")
    with pytest.raises(BadInput, match="is behind mark etl of "):
        held(here, "etl", since=time.time() + 60)


def test_an_outbox_that_went_back_is_told(here: Estate, tmp_path: Path) -> None:
    config, known = load_config(tmp_path / "agent.json"), tables(tmp_path)
    outbox = Outbox(config.outbox.path)
    outbox.enqueue(orders(known, 51, 60), known, 7)
    outbox.close()
    write_waits(tmp_path)
    taking.take(here, "etl")
    for path in tmp_path.glob("outbox.db*"):
        path.unlink()
    Outbox(config.outbox.path).close()
    found = told(held(here, "etl"))
    assert found == ["content: outbox of postgresql on app1: newest record: expected at least 1, found 0"]


def test_an_outbox_whose_file_is_another_one_is_a_loss_where_rows_waited_in_the_first() -> None:
    box = Box(cast(Host, host("app1", Path())), POSTGRESQL)
    then = Numbers(file="a", newest=9, applied_no=4, pending_rows=10, dead_rows=0)
    notes, found = holding._numbers(box, then, then.model_copy(update={"file": "b"}))
    assert [str(one) for one in found] == [
        "content: outbox of postgresql on app1: its file: expected the mark's, with 10 rows that waited, found another "
        "one"
    ]
    notes, found = holding._numbers(box, then.model_copy(update={"pending_rows": 0}), None)
    assert found == [] and "another file than at the mark, and nothing waited" in notes[0]
    assert holding._numbers(box, None, then) == ([], [])


def write_waits(folder: Path) -> None:
    """Past the outbox, in which something waits: as another process does."""
    config, known = load_config(folder / "agent.json"), tables(folder)
    beside = Outbox(folder / "other.db")
    writer = Writer(config, known, beside, 8)
    assert writer.write(orders(known, 1, 5)).by is By.STORE
    writer.close()
    beside.close()


def test_a_mark_of_another_cluster_is_refused_and_one_that_is_not_there_is_bad_input(
    here: Estate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(tmp_path, 1, 2)
    taking.take(here, "etl")
    with pytest.raises(BadInput, match="there is no mark 'nobody'"):
        held(here, "nobody")
    with pytest.raises(BadInput, match="is no name of a mark"):
        held(here, "no name")
    monkeypatch.setattr(reaching, "ground", lambda estate, now: ground_of(now=now, system="78"))
    with pytest.raises(Refused, match="it is no past of this cluster"):
        held(here, "etl")


def test_a_mark_that_lacks_the_application_host_says_so(here: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = a_mark(lacks=("PostgreSQL's outbox on app1: it cannot be reached",))
    monkeypatch.setattr(resolving, "one", lambda name, kept: lacking)
    monkeypatch.setattr(reaching, "require_past", lambda mark, there: None)
    with pytest.raises(Refused, match=r"binds no outbox and no shadow of PostgreSQL: .* cannot be reached"):
        held(here, "etl")


@pytest.mark.parametrize(
    ("mark", "now", "error", "words"),
    [
        (a_mark(), BOUND, BadInput, "binds no backup of TDengine, as there was none"),
        (a_mark(tdengine=BOUND), None, Refused, "20261128T1 of TDengine, which is not kept any more"),
        (a_mark(tdengine=BOUND), BOUND.model_copy(update={"windows": "bb"}), Refused, "is not what mark etl bound"),
    ],
)
def test_the_backup_that_a_mark_bound_is_the_one_that_is_compared_with(
    here: Estate, monkeypatch: pytest.MonkeyPatch, mark: Mark, now: Any, error: type[Exception], words: str
) -> None:
    monkeypatch.setattr(asking, "windows", lambda estate, label="": now)
    with pytest.raises(error, match=words):
        holding.backup_of(here, mark)
    monkeypatch.setattr(asking, "windows", lambda estate, label="": BOUND)
    assert holding.backup_of(here, a_mark(tdengine=BOUND)) == "20261128T1"


def test_tdengine_restore_takes_the_backup_that_the_mark_bound(
    here: Estate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = (a_mark(tdengine=BOUND), a_mark("other", tdengine=BOUND, estate="another"), a_mark("none"))
    monkeypatch.setattr(hosts, "load", lambda *_: here)
    monkeypatch.setattr(keeping, "look", lambda _: Kept(now=time.time(), marks=there, damaged=()))
    monkeypatch.setattr(asking, "windows", lambda estate, label="": BOUND if label == BOUND.label else None)
    assert backup_at_the_mark("", "20260101T1", "", False) == "20260101T1"
    assert backup_at_the_mark("etl", "", "", False) == BOUND.label
    assert "./dr reconcile --store tdengine" in capsys.readouterr().err
    for name, label, says in (
        ("etl", "20260101T1", "two targets"), ("other", "", "of estate another"), ("none", "", "binds no backup"),
        ("gone", "", "there is no mark"), ("no/name", "", "no name of a mark"),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=says):
            backup_at_the_mark(name, label, "", False)
    monkeypatch.setattr(asking, "windows", lambda estate, label="": None)
    with pytest.raises(Refused, match="not kept any more") as told:
        backup_at_the_mark("etl", "", "", False)
    assert "tdengine-restore without --to-mark" in told.value.hint
    assert backup_at_the_mark("etl", "", "", True) == BOUND.label, "a run that is resumed goes on with what it has"
    assert TDENGINE in NAMES


def test_an_application_host_that_the_mark_does_not_bind_is_unknown(
    here: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 1, 5)
    taking.take(here, "etl")
    second = Box(cast(Host, host("app2", tmp_path)), POSTGRESQL)
    monkeypatch.setattr(holding, "boxes", lambda estate, store: (*boxes(estate, store), second))
    assert "PostgreSQL's outbox on app2: the mark does not bind it" in held(here, "etl").unknown
    why = "PostgreSQL's outbox on app2: it cannot be reached"
    one = resolving.one
    monkeypatch.setattr(
        resolving, "one", lambda name, kept: one(name, kept).model_copy(update={"lacks": (why,)})
    )
    assert why in held(here, "etl").unknown


def test_an_application_host_that_keeps_nothing_any_more_is_unknown(here: Estate, tmp_path: Path) -> None:
    write(tmp_path, 1, 5)
    taking.take(here, "etl")
    mark = holding.find(here, "etl", POSTGRESQL)
    ((box, then),) = mark.there
    nothing = then.model_copy(update={"shadow": {}})
    both = replace(mark, there=((box, then), (box, nothing)))
    found = holding.acknowledged(both, 0.0, ())
    assert (found.number, told(found)) == (5, [])
    assert "app1 keeps nothing of before the mark" in found.unknown
