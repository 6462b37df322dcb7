"""The shadow reaches back to what a backup covers, or status says by how much not; a backup is begun before that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from agents.jobs import runner
from agents.tdengine.backup import cover
from agents.tdengine.session import GONE, TdengineError
from agents.writing.shadow import FRAME, MAGIC
from agents.writing.shadow_rate import Rate, rate
from inventories.catalog.recovery import Shadow
from runbooks.judge.finding import Finding
from runbooks.judge.shadow import findings
from runbooks.probes.app import Outbox
from tests.unit.jobs_kit import BackupHost, backup_host

NOW, HOUR = 1_800_000_000.0, 3600.0
KEPT = Shadow(keep_h=50, max_mb=8192)
FULL = 8192 << 20
BOX = Outbox(0, 0, 0, None, None, 0, 1, True, FULL, NOW - HOUR, 79_200.0, 31.0)


def judged(box: Outbox, began_h: float = 2.1, kept: Shadow | None = KEPT) -> list[Finding]:
    return list(findings("TDengine", box, kept, ("its newest backup", NOW - began_h * HOUR), NOW, "hint"))


def test_rows_that_are_in_neither_are_told_with_the_arithmetic() -> None:
    (found,) = judged(BOX)
    assert found.measured == (
        "8.00 of 8.00 GiB, which hold 58 min at 79,200 rows/s of 31 bytes; its newest backup began 2.1 h ago: the rows "
        "of 1.1 h are in neither"
    )


def test_a_shadow_that_is_nearly_full_is_told_before_it_lets_go() -> None:
    (found,) = judged(replace(BOX, shadow_bytes=int(FULL * 0.9), shadow_since=NOW - 3 * HOUR))
    assert found.limit == "85% of 8192 MiB"
    assert "which hold 58 min at 79,200 rows/s of 31 bytes" in found.measured


def test_one_that_reaches_back_is_fine_and_so_is_one_that_never_let_anything_go() -> None:
    assert judged(replace(BOX, shadow_bytes=int(FULL * 0.8), shadow_since=NOW - 3 * HOUR)) == []
    assert judged(replace(BOX, shadow_bytes=1 << 20), began_h=20) == [], "the first row came an hour ago"
    assert judged(BOX, kept=None) == []
    assert judged(replace(BOX, shadow_bytes=None)) == []
    assert list(findings("TDengine", BOX, KEPT, None, NOW, "hint")) == [], "told by the backup's own age"


def test_age_lets_go_as_well() -> None:
    old = replace(BOX, shadow_bytes=1 << 30, shadow_since=NOW - 50 * HOUR)
    (found,) = judged(old, began_h=55)
    assert "the rows of 5.0 h are in neither" in found.measured
    unknown = replace(old, shadow_rows_s=None)
    assert "no rate is known" in judged(unknown, began_h=55)[0].measured


def test_the_rate_is_that_of_the_newest_segments(tmp_path: Path) -> None:
    assert rate(tmp_path) == Rate()
    frames = b"".join(FRAME.pack(MAGIC, NOW + n, 300, 9280, 0) + b"x" * 9280 for n in range(11))
    (tmp_path / "000000000000001-1-1.shadow").write_bytes(frames + b"torn")
    assert rate(tmp_path) == Rate(330.0, round((FRAME.size + 9280) / 300, 1))
    (tmp_path / "000000000000002-1-1.shadow").write_bytes(b"no frame of ours, and long enough to be one")
    assert rate(tmp_path) == Rate(330.0, round((FRAME.size + 9280) / 300, 1))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Notes that were made, newest last; `gone` where the database is not there."""
    notes = SimpleNamespace(held=[], covered=[], gone=False)

    class Session:
        def rows(self, statement: str) -> list[tuple[object, ...]]:
            if notes.gone:
                raise TdengineError("no such database", "", code=next(iter(GONE)))
            return (notes.held if ".held" in statement else notes.covered)[-1:]

    @contextmanager
    def opened(settings: object) -> Iterator[Session]:
        yield Session()

    monkeypatch.setattr(cover, "Session", opened)
    return notes


def test_a_backup_is_wanted_once_the_shadow_is_fuller_than_seven_tenths(server: SimpleNamespace) -> None:
    settings: object = None
    assert cover.wanted(settings) == ""  # type: ignore[arg-type]
    server.held.append((5, 0.69 * FULL, FULL))
    assert cover.wanted(settings) == ""  # type: ignore[arg-type]
    server.held.append((6, 0.71 * FULL, FULL))
    server.covered.append((4,))
    assert "the shadow holds 5,816 of 8,192 MiB" in cover.wanted(settings)  # type: ignore[arg-type]
    server.covered.append((7,))
    assert cover.wanted(settings) == "", "covered since: the note of it is still on its way"  # type: ignore[arg-type]
    server.gone = True
    assert cover.wanted(settings) == ""  # type: ignore[arg-type]


def test_what_is_wanted_is_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = backup_host(tmp_path)
    assert says(host, monkeypatch, '{"wanted": "the shadow is full"}') == [], "where there is no such job"
    host.change(jobs={"td-incr": {}})
    assert says(host, monkeypatch, '{"wanted": "the shadow is full"}') == ["td-incr"]
    assert says(host, monkeypatch, '{"wanted": ""}') == []
    assert says(host, monkeypatch, "Traceback") == []


def says(host: BackupHost, monkeypatch: pytest.MonkeyPatch, answer: str) -> list[str]:
    ran: list[str] = []
    monkeypatch.setattr(runner, "_or_skipped", lambda settings, job, wait_s: ran.append(job))
    monkeypatch.setattr(runner.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=0, stdout=answer))
    runner.wanted(host.settings)
    return ran
