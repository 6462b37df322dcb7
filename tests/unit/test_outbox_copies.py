"""A second copy on another host, before a row is acknowledged: the file may be lost with its disk."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from agents.base.config import CopySettings, Table
from agents.base.errors import BadRow
from agents.client import By, NotAcknowledged
from agents.writing import copies as copies_module
from agents.writing import copy_server
from agents.writing.copies import Copies, NoSecondCopy, adopt
from agents.writing.copy_server import Server, ServerSettings, Shelf
from agents.writing.outbox import Outbox
from deploys.pki import issue
from tests.unit.agent_fixtures import orders, tables
from tests.unit.client_kit import client, order


@pytest.fixture
def known(tmp_path: Path) -> dict[str, Table]:
    return tables(tmp_path)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    for name in ("backup1", "app1", "stranger"):
        issue(folder, name, "127.0.0.1")
    issue(folder / "other", "app1", "127.0.0.1")
    return folder


class Running:
    """The service on a port of its own, which may be stopped and started again."""

    def __init__(self, pki: Path, folder: Path) -> None:
        self._pki, self._folder = pki, folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.server: Server | None = None
        self.start()

    def start(self) -> None:
        mine = issue(self._pki, "backup1", "127.0.0.1")
        settings = ServerSettings(
            self._folder, self.port, str(mine.ca), str(mine.certificate), str(mine.key), ("app1",), 1 << 20
        )
        self.server = Server(settings)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def settings(self, host: str = "app1", alone: bool = False, pki: Path | None = None) -> CopySettings:
        theirs = issue(pki or self._pki, host, "127.0.0.1")
        return CopySettings(
            "backup1", str(theirs.ca), str(theirs.certificate), str(theirs.key), "postgresql", "127.0.0.1", self.port,
            deadline_s=2.0, alone=alone,
        )  # fmt: skip


@pytest.fixture
def other_host(pki: Path, tmp_path: Path) -> Iterator[Running]:
    running = Running(pki, tmp_path / "copies")
    yield running
    running.stop()


def test_what_the_lost_file_had_is_in_the_new_one_and_leaves_for_the_store_once(
    other_host: Running, tmp_path: Path, known: dict[str, Table]
) -> None:
    lost = Outbox(tmp_path / "lost.db", copy=other_host.settings())
    for first in range(1, 101, 10):
        lost.enqueue(orders(known, first, first + 9), known, 7)
    lost.close()
    new = Outbox(tmp_path / "new.db", copy=other_host.settings())
    assert new.copies is not None
    assert new.copies.orphans() == 10
    new.enqueue(orders(known, 901, 910), known, 7)
    assert adopt(new, new.copies) == 10
    assert adopt(new, new.copies) == 0
    assert new.copies.orphans() == 0
    assert new.status().pending_rows == 110
    assert {part.first for record in new.pending(1000) for part in record.parts} == {*range(1, 101, 10), 901}
    assert [one.missing for one in new.accounts()] == [0]


def test_large_records_are_adopted_a_few_at_a_time(
    other_host: Running, tmp_path: Path, known: dict[str, Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty of them in one answer would be more than a message may have, at every try."""
    lost = Outbox(tmp_path / "lost.db", copy=other_host.settings())
    for first in range(1, 12_000, 1000):
        lost.enqueue(orders(known, first, first + 999), known, 7)
    one = len(lost.pending(1000)[0].parts[0].text)
    monkeypatch.setattr(copies_module, "MAX_BYTES", 4 * one)
    monkeypatch.setattr(copy_server, "ANSWER_BYTES", 2 * one)
    new = Outbox(tmp_path / "new.db", copy=other_host.settings())
    assert new.copies is not None
    assert adopt(new, new.copies) == 12
    assert new.status().pending_rows == 12_000


def test_a_batch_that_no_message_can_hold_is_told_so_and_not_tried_for_ever(
    other_host: Running, tmp_path: Path, known: dict[str, Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = Outbox(tmp_path / "strict.db", copy=other_host.settings())
    loose = Outbox(tmp_path / "loose.db", copy=other_host.settings(alone=True))
    monkeypatch.setattr(copies_module, "MAX_BYTES", 10_000)
    with pytest.raises(BadRow, match="too large for a second copy") as told:
        strict.enqueue(orders(known, 1, 1000), known, 7)
    assert told.value.hint
    assert strict.status().pending_rows == 0
    assert loose.enqueue(orders(known, 1, 1000), known, 7) == 1
    for outbox in (strict, loose):
        outbox.enqueue(orders(known, 1001, 1010), known, 7)
    assert [record.copy_no is None for record in loose.pending(10_000)] == [True, False]


def test_without_the_other_host_nothing_is_acknowledged_unless_that_was_allowed(
    other_host: Running, tmp_path: Path, known: dict[str, Table]
) -> None:
    strict = Outbox(tmp_path / "strict.db", copy=other_host.settings())
    loose = Outbox(tmp_path / "loose.db", copy=other_host.settings(alone=True))
    other_host.stop()
    with pytest.raises(NoSecondCopy) as told:
        strict.enqueue(orders(known, 1, 10), known, 7)
    assert told.value.hint
    assert strict.status().pending_rows == 0
    assert loose.enqueue(orders(known, 1, 10), known, 7) == 1
    other_host.start()
    assert strict.enqueue(orders(known, 1, 10), known, 7) == 1


def test_what_the_client_library_s_outbox_acknowledges_is_on_the_other_host_too(
    other_host: Running, tmp_path: Path
) -> None:
    settings = {"path": str(tmp_path / "outbox.db"), "copy": asdict(other_host.settings())}
    other_host.stop()
    with client(tmp_path, outbox=settings) as one:
        with pytest.raises(NotAcknowledged, match="No second copy") as told:
            one.save("order_records", [order()])
        other_host.start()
        ack = one.write(told.value.rest)
    assert ack.by is By.OUTBOX
    new = Outbox(tmp_path / "new.db", copy=other_host.settings())
    assert new.copies is not None
    assert adopt(new, new.copies) == 1
    assert [part.first for record in new.pending(10) for part in record.parts] == list(ack.event_ids)


def test_the_deadline_grows_with_the_bytes_of_the_batch_and_with_nothing_else(
    other_host: Running, tmp_path: Path, known: dict[str, Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that is slow with a large batch would be asked for it for ever; one that is silent is known at once."""
    outbox = Outbox(tmp_path / "outbox.db", copy=replace(other_host.settings(), deadline_s=0.8))
    outbox.enqueue(orders(known, 1, 10), known, 7)
    keep = Shelf._keep

    def slow(shelf: Shelf, mark: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        time.sleep(2.4)
        return keep(shelf, mark, asked)

    monkeypatch.setattr(Shelf, "_keep", slow)
    monkeypatch.setattr(copies_module, "SLOWEST_BYTES_PER_S", 20_000)
    assert outbox.enqueue(orders(known, 1001, 2000), known, 7) == 2
    with pytest.raises(NoSecondCopy, match="timed out"):
        outbox.enqueue(orders(known, 11, 20), known, 7)


def test_a_connection_that_broke_is_made_again(other_host: Running, tmp_path: Path, known: dict[str, Table]) -> None:
    outbox = Outbox(tmp_path / "outbox.db", copy=other_host.settings())
    outbox.enqueue(orders(known, 1, 10), known, 7)
    assert outbox.copies is not None
    assert outbox.copies._socket is not None
    outbox.copies._socket.shutdown(socket.SHUT_RDWR)
    outbox.enqueue(orders(known, 11, 20), known, 7)
    assert outbox.status().pending_rows == 20


def test_only_what_the_store_has_is_let_go_of_and_never_what_is_young_or_of_another_file(
    other_host: Running, tmp_path: Path, known: dict[str, Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = Outbox(tmp_path / "lost.db", copy=other_host.settings())
    lost.enqueue(orders(known, 1, 10), known, 7)
    outbox = Outbox(tmp_path / "outbox.db", copy=other_host.settings())
    for first in range(11, 41, 10):
        outbox.enqueue(orders(known, first, first + 9), known, 7)
    assert outbox.copies is not None
    first, second, third = outbox.pending(100)
    outbox.mark_applied([first, third], "pg1", 1)
    assert outbox.copies.forget(outbox.resolved_copies()) == 0, "a minute has not passed"
    monkeypatch.setattr(copy_server, "YOUNG_S", -1.0)
    assert outbox.copies.forget(outbox.resolved_copies()) == 1
    outbox.mark_applied([second], "pg1", 1)
    assert outbox.copies.forget(outbox.resolved_copies()) == 2
    assert outbox.copies.orphans() == 1


def test_pieces_and_letters_keep_the_copy_of_their_record(
    other_host: Running, tmp_path: Path, known: dict[str, Table]
) -> None:
    outbox = Outbox(tmp_path / "outbox.db", copy=other_host.settings())
    outbox.enqueue(orders(known, 1, 10), known, 7)
    (record,) = outbox.pending(100)
    left, right = record.parts[0].halves()
    outbox.mark_separated(record, [left], [(right.rows(0, 1), "no")], "pg1", 1)
    assert outbox.resolved_copies() == record.copy_no == 1


@pytest.mark.parametrize("whose", ["stranger", "app1 of another estate"])
def test_who_is_no_client_is_told_nothing(
    other_host: Running, tmp_path: Path, pki: Path, known: dict[str, Table], whose: str
) -> None:
    settings = (
        other_host.settings("stranger") if whose == "stranger" else other_host.settings("app1", pki=pki / "other")
    )
    outbox = Outbox(tmp_path / "outbox.db", copy=settings)
    with pytest.raises(NoSecondCopy):
        outbox.enqueue(orders(known, 1, 10), known, 7)


def test_full_is_told_and_a_request_that_is_none_harms_nobody(other_host: Running, tmp_path: Path) -> None:
    copies = Copies(other_host.settings(), "m")
    with pytest.raises(NoSecondCopy, match="full"):
        for _ in range(3000):
            copies.keep({"data": "".join(f"{n:x}" for n in range(2000, 9000))})
    for nonsense in ({"do": "drop"}, {"do": "left"}, {"do": "keep"}):
        with pytest.raises(NoSecondCopy):
            copies._ask({**nonsense, "mark": "m"})
    assert copies.orphans() == 0


def test_a_copy_is_on_the_disk_when_its_number_is_told(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "app1-postgresql.db", 1 << 20)
    assert shelf._one("PRAGMA synchronous") == 2
    assert shelf._one("PRAGMA journal_mode") == "wal"
    assert shelf.answer({"do": "keep", "mark": "m", "body": {}}) == {"no": 1}
