"""The market feed on the application host, seen from here: started over SSH, its words kept in the ledger."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from drills.measuring.ledger import Ledger
from drills.measuring.tally import Feed as State
from drills.measuring.tally import LedgerView
from drills.stores import POSTGRESQL, Store
from inventories.errors import TargetFailed
from runbooks.engine.budgets import budget
from runbooks.hosts import Host

_COMMAND = (
    "cd /opt/mystocks-dr && exec python3 -m agents.feed.feeder "
    "--config /etc/mystocks-dr/%s --rate %s --seed %s --batch %s"
)
_GOES_ON = _COMMAND + " --run %s --first %s"
SKIPPED = 100_000  # numbers that a feed which died may have given away without being heard
FEED_ENDS_S = 20.0
BATCH = 300  # rows


@dataclass
class Feed:
    """A feed that writes: `ledger` is what it said; `stop` ends it by closing its standard input."""

    ledger: Ledger
    process: subprocess.Popen[bytes]
    begin: Callable[..., subprocess.Popen[bytes]]
    log: Path

    @property
    def run_number(self) -> int:
        """The number of its run, which the event ids of its rows begin with."""
        run = self.ledger.view().run
        assert run is not None, "a feed that acknowledged rows has said its number"
        return run

    def go_on(self) -> None:
        """Start it again after its host died, in the same run and the same ledger, behind every number given away.

        Returns when somebody has acknowledged a row of it. Raises TargetFailed, TimedOut.
        """
        before = self.ledger.view()
        run = self.run_number
        highest = max(last for ids in self.ledger.acked_ids().values() for _, last in ids.ranges())
        self._end()
        self.process = self.begin(run, highest + SKIPPED)
        _keep_errors_of(self.process, self.log)
        assert self.process.stdout is not None
        self.ledger = Ledger(self.ledger.path, self.process.stdout)
        view = self.ledger.wait_for(
            lambda view: view.acked > before.acked or view.feed is State.DIED,
            budget("feed.start"),
            "the first row after the feed was started again",
        )
        if view.feed is State.DIED:
            raise TargetFailed("the feed died again before its first row", f"see {self.log}")

    def _end(self) -> None:
        self.process.kill()  # the connection to a host without power
        self.process.wait()
        self.ledger.close()

    def stop(self) -> None:
        """Ask the feed to end and wait until its last word is on disk. Harmless when it has ended."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(FEED_ENDS_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.ledger.close()


@contextmanager
def running(
    app: Host, rate: float, seed: int, run_dir: Path, store: Store = POSTGRESQL, batch: int = BATCH,
    whoever: bool = False,
) -> Iterator[Feed]:  # fmt: skip
    """A feed whose store has begun to acknowledge rows; or `whoever` does, for a store that is lost.

    It is ended on the way out, whatever happened.
    """
    words = (store.settings, rate, seed, batch)

    def begin(*more: object) -> subprocess.Popen[bytes]:
        return app.start(_GOES_ON if more else _COMMAND, *words, *more, user="mystocks")

    def begun(view: LedgerView) -> bool:
        return (view.acked if whoever else view.by_store) > 0

    process, log = begin(), run_dir / "logs" / store.log
    assert process.stdout is not None
    _keep_errors_of(process, log)
    feed = Feed(Ledger(run_dir / store.ledger, process.stdout), process, begin, log)
    try:
        view = feed.ledger.wait_for(
            lambda view: begun(view) or view.feed is State.DIED,
            budget("feed.start"),
            f"the first row acknowledged{'' if whoever else ' by the store'}",
        )
        if not begun(view):
            raise TargetFailed(f"the feed on {app} died before its first row", f"see {run_dir}/logs/{store.log}")
        yield feed
    finally:
        feed.stop()


def _keep_errors_of(process: subprocess.Popen[bytes], path: Path) -> None:
    assert process.stderr is not None
    threading.Thread(target=_keep_errors, args=(process.stderr.fileno(), path), daemon=True).start()


def _keep_errors(descriptor: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as out, suppress(OSError), open(descriptor, "rb", closefd=False) as source:
        for line in source:
            out.write(line)
            out.flush()
