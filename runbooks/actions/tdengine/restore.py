"""Restore rows of TDengine from a backup, on the backup host, which writes them into the servers; clear a host."""

from __future__ import annotations

from dataclasses import dataclass

from runbooks import agent
from runbooks.hosts import Host
from runbooks.long_work.work import Asker
from runbooks.tdengine.selection import TdMode, TdSelection


@dataclass(frozen=True)
class Written:
    """What became of a restore: rows that were written, and rows that were there before."""

    label: str
    into: str
    rows_written: int
    rows_present: int
    seconds: float
    sentence: str


def restore(
    backup: Host, selection: TdSelection, mode: TdMode, jobs: int, asker: Asker, accept_lost: bool = False
) -> Written:
    """Write what the backup has; harmless when repeated. Every row is looked for again before this returns.
    `accept_lost`: without columns that have no place any more.

    As long work, on the rows of one database at a time.
    Raises BadInput for what the servers would refuse, TargetFailed naming how many rows are not there, or the damage.
    """
    consent = ("--accept-lost-columns",) if accept_lost else ()
    words = (*selection.words(), f"--mode={mode}", f"--jobs={jobs}", *consent)
    wanted = agent.work("tdengine.backup.restore", *words, on="td-rows", kind="restore")
    said = agent.run_work(backup, wanted, asker).json()
    return Written(
        said["label"], said["into"], int(said["rows_written"]), int(said["rows_present"]), float(said["seconds"]),
        said["sentence"],
    )  # fmt: skip


def put_aside(host: Host, data: str, aside: str) -> None:
    """Stop the server and move what it holds to the directory `aside`; nothing is deleted. Harmless when repeated."""
    host.run(
        "systemctl disable --now taosd 2>/dev/null; test -e %s || test ! -e %s || mv %s %s", aside, data, data, aside,
        timeout=120,
    )  # fmt: skip
