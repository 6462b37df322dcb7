"""An estate of three hosts that are this machine: its server is a real PostgreSQL, its programs are the real ones.

Only what SSH would carry is done here instead.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from inventories.errors import TargetFailed, Unreachable
from inventories.inventory import HostEntry
from runbooks.hosts import Estate, Host, Ran
from runbooks.knock import Door
from tests.unit.postgres_server import Server, programs

ROOT = Path(__file__).resolve().parents[2]
# The program of the marks, whose folder is the backup host's own.
_KEEP = (
    "import sys; from pathlib import Path; from agents.base.errors import run; from agents.marks import keep;"
    "sys.exit(run(lambda: keep.main(sys.argv[2:], sys.stdin.read, Path(sys.argv[1]))))"
)


@dataclass(frozen=True)
class Here(Host):
    """A host on this machine. `away`: nobody answers there; `folder` is where its files are."""

    server: Server | None = field(default=None, compare=False)
    folder: Path = field(default=Path(), compare=False)
    away: bool = field(default=False, compare=False)

    def knock(self, timeout: float | None = None) -> Door:
        return Door.SILENT if self.away else Door.OPEN

    def begin(self, command: str, *args: object, user: str = "root") -> None:
        """Nothing is started ahead: `run` starts it as ever."""

    def run(
        self, command: str, *args: object, timeout: float | None = None, expect: int | None = 0, user: str = "root",
        stdin: str | None = None,
    ) -> Ran:  # fmt: skip
        if self.away:
            raise Unreachable(f"{self.name} cannot be reached")
        done = subprocess.run(
            self._words(command, args), input=stdin or "", capture_output=True, text=True, check=False, cwd=ROOT,
            timeout=timeout,
        )  # fmt: skip
        if expect is not None and done.returncode != expect:
            raise TargetFailed(f"{self.name}: {done.stderr}")
        return Ran(done.returncode, done.stdout, done.stderr, 0.0)

    def _words(self, command: str, args: tuple[object, ...]) -> list[str]:
        if command.startswith("PGOPTIONS"):
            assert self.server is not None
            where = ("-h", str(self.server.folder), "-p", str(self.server.port), "-U", "postgres")
            return [str(programs() / "psql"), "-qAtX", "-v", "ON_ERROR_STOP=1", *where, "-d", str(args[1])]
        if module := re.search(r"python3 -m agents\.(\S+)", command):
            words = [str(self.folder / Path(str(one)).name) if "/etc/" in str(one) else str(one) for one in args]
            if module[1] == "marks.keep":
                return [sys.executable, "-c", _KEEP, str(self.folder / "marks"), *words]
            return [sys.executable, "-m", f"agents.{module[1]}", *words]
        raise AssertionError(f"{self.name} is not asked for {command!r}")


def host(name: str, folder: Path, server: Server | None = None, away: bool = False) -> Here:
    entry = HostEntry(name=name, ssh_hostname="192.0.2.1")
    return Here(name, entry, Path("none"), server=server, folder=folder, away=away)


def estate(primary: Here, app: Here, backup: Here) -> Estate:
    groups = {"pg_primary": (primary.name,), "app": (app.name,), "backup": (backup.name,)}
    return Estate("here", "here", cast("tuple[Host, ...]", (primary, app, backup)), groups, {"postgres_version": 15})
