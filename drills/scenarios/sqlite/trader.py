"""Who trades while the trading database is broken, and the list, kept outside of its host, of what was protected."""

from __future__ import annotations

import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

from drills.judging.result import Check
from runbooks.engine.budgets import budget
from runbooks.engine.wait import until
from runbooks.hosts import Host

UNIT = "mystocks-trader"  # the lab's inventory names it among the writers of the trading database
LEDGER = "/var/lib/mystocks-dr/trading/drill.ledger"
_UNIT_FILE = f"/run/systemd/system/{UNIT}.service"
_TEXT = f"""[Unit]
Description=Trades for a drill
[Service]
User=mystocks
WorkingDirectory=/opt/mystocks-dr
ExecStart=/usr/bin/python3 -m agents.sqlite.trader --ledger {LEDGER}%s
Restart=always
RestartSec=1
"""
_IDS = "sqlite3 -readonly %s \"SELECT trade_id FROM trades WHERE asset = 'DRILL'\""


@dataclass
class Trader:
    """`told`: ids of trades that its host was heard to say are protected."""

    host: Host
    path: Path  # where they are kept here
    told: list[str] = field(default_factory=list)
    found: tuple[Check, ...] = ()  # what was seen after the recovery
    _tail: subprocess.Popen[bytes] | None = None

    def start(self, believes: bool = False) -> None:
        """Returns when a trade more than before is protected. Raises TimedOut."""
        self._hang_up()
        self.host.run("cat > %s", _UNIT_FILE, stdin=_TEXT % (" --believes" if believes else ""))
        self.host.run("systemctl daemon-reload; systemctl restart %s", UNIT)
        self._listen()
        self.more(1)

    def go_on(self) -> None:
        """The host is another one."""
        self.start()

    def stand_still(self) -> None:
        """Until `start`: what is written in between would be on the wrong side of a restore."""
        self.host.run("systemctl stop %s", UNIT)

    def more(self, trades: int) -> None:
        """So many more are protected. Raises TimedOut."""
        before = len(self.told)
        until(lambda: len(self.told) >= before + trades, budget("feed.start"), what="protected trades")

    def _listen(self) -> None:
        self._tail = tail = self.host.start("exec tail -n +1 -F %s", LEDGER)
        threading.Thread(target=self._take, args=(tail,), daemon=True).start()

    def _take(self, tail: subprocess.Popen[bytes]) -> None:
        assert tail.stdout is not None
        known = set(self.told)
        with self.path.open("a") as out:
            for line in tail.stdout:
                name = line.decode(errors="replace").partition(" ")[0]
                if line.endswith(b"\n") and name.startswith("drill-") and name not in known:
                    known.add(name)
                    self.told.append(name)
                    out.write(f"{name}\n")

    def _hang_up(self) -> None:
        if self._tail is not None:
            self._tail.kill()
            self._tail.wait()
            self._tail = None

    def missing(self, database: str) -> tuple[int, int]:
        """Of the trades that were told how many are not in the database, and how many there were."""
        told = list(self.told)
        there = set(self.host.run(_IDS, database, user="mystocks").stdout.split())
        return sum(name not in there for name in told), len(told)

    def stop(self) -> None:
        """Harmless when it was stopped before. Raises DrError where the host does not answer."""
        self._hang_up()
        self.host.run(
            "systemctl stop %s 2>/dev/null; rm -f %s %s; systemctl daemon-reload", UNIT, _UNIT_FILE, LEDGER, expect=None
        )
