"""A side cluster's files, its process and what it says of itself.

The data directory holds nothing of ours: configuration, socket, log and state lie in a folder beside it, so that
a side cluster becomes the main one by a rename.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.base import files
from agents.base.errors import AgentError
from agents.base.locks import held
from agents.postgresql.directory.change import discard_side

ROOT = Path("/var/lib/postgresql")
PORT = 5433
STANDBY = "delayed"  # of which backup a side cluster is that is the host's own standby, and a file in its folder
# What production has set for a database or a role would count here too: a library that this host does not have, an
# isolation that no standby knows, a limit or a role that was meant for others.
SESSION = " ".join(
    f"-c {name}={value}" for name, value in {
        "statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0",
        "session_preload_libraries": "", "local_preload_libraries": "", "role": "none",
        "default_transaction_isolation": r"read\ committed", "default_transaction_read_only": "off",
    }.items()
)  # fmt: skip
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_SETTING = re.compile(r"^([\w.]+) = '(.*)'$", re.MULTILINE)
_ONE, _TWO = "'", "''"
_STATE = re.compile(r"^(?:psql:.*?)?(?:ERROR|FATAL|PANIC):  ([0-9A-Z]{5}): ", re.MULTILINE)


GIVES_WAY = ("nice", "-n", "19", "ionice", "-t", "-c", "3")


class Unanswered(AgentError):  # noqa: N818
    """A statement that the server refused. `state` is its SQLSTATE; empty where it could not even be asked."""

    def __init__(self, sentence: str, hint: str, state: str = "") -> None:
        super().__init__(sentence, hint)
        self.state = state


class BadRequest(AgentError):  # noqa: N818 - named after what is wrong, as in the rest of the repository
    """What was asked for cannot be done, whatever the state of things."""

    exit_code = 2


@dataclass(frozen=True)
class Place:
    """Where the side cluster `name` of a PostgreSQL major version lies on this host."""

    name: str
    version: int
    root: Path = ROOT

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise BadRequest(f"{self.name!r} is no name for a side cluster.", "Lower-case letters, digits and dashes.")

    @property
    def data(self) -> Path:
        return self._beside.with_name("main") if self.is_standby else self._beside

    @property
    def is_standby(self) -> bool:
        """Whether it is the host's own delayed standby, opened where it lies: nothing of its data is ever deleted, and
        it is never promoted.
        """
        return (self.folder / STANDBY).exists()

    @property
    def folder(self) -> Path:
        """Configuration, socket, log and state; 0700."""
        return self._beside.with_name(f"{self._beside.name}.d")

    @property
    def tablespaces(self) -> Path:
        return self._beside.with_name(f"{self._beside.name}.tablespaces")

    @property
    def _beside(self) -> Path:
        return self.root / str(self.version) / f"side-{self.name}"

    @property
    def log(self) -> Path:
        return self.folder / "postgresql.log"

    @property
    def wal_log(self) -> Path:
        """One line a file that recovery asked the archive for: its name, the exit code."""
        return self.folder / "wal.log"

    def program(self, name: str) -> str:
        return f"/usr/lib/postgresql/{self.version}/bin/{name}"

    @property
    def environment(self) -> dict[str, str]:
        """What a program of PostgreSQL's needs to ask it."""
        return {**os.environ, "PGCONNECT_TIMEOUT": "10", "PGOPTIONS": SESSION, "PGUSER": "postgres"}

    # ---- state ----

    def state(self) -> dict[str, Any]:
        """What restore() wrote down; empty where there is no side cluster of this name."""
        try:
            said = json.loads((self.folder / "state.json").read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            return {"phase": "failed"}  # torn by a power loss
        return said if isinstance(said, dict) else {}

    def note(self, **changes: Any) -> dict[str, Any]:
        """Change the state, durably."""
        state = {**self.state(), **changes}
        files.replace(self.folder / "state.json", json.dumps(state))
        return state

    # ---- process ----

    def running(self) -> bool:
        if self.is_standby and not self._holds_data():
            return False
        done = subprocess.run([self.program("pg_ctl"), "-D", self.data, "status"], capture_output=True, check=False)
        return done.returncode == 0

    def _holds_data(self) -> bool:
        """Whether the server on a standby's data directory is this one, by its socket, and not the host's own."""
        with suppress(OSError, IndexError):
            return (self.data / "postmaster.pid").read_text().splitlines()[4].strip() == str(self.folder)
        return False

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the server without waiting for it; it outlives us. The process tells when it has ended.

        Whoever else wants the host's processors and disk comes first: production may live here. A standby's own host
        has nothing else to do, and PostgreSQL itself looks whether somebody runs on its data.
        """
        if not self.is_standby:
            (self.data / "postmaster.pid").unlink(missing_ok=True)  # of a host that lost its power
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [
                    *(() if self.is_standby else GIVES_WAY), self.program("postgres"), "-D", self.data, "-c",
                    f"config_file={self.folder}/postgresql.conf", *self._outranking(),
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
            )  # fmt: skip

    def _outranking(self) -> list[str]:
        """A standby's own ALTER SYSTEM settings stay in its data, and would outrank the file: words outrank those."""
        if not self.is_standby:
            return []
        found = _SETTING.findall((self.folder / "postgresql.conf").read_text())
        return [word for name, value in found for word in ("-c", f"{name}={value.replace(_TWO, _ONE)}")]

    def halt(self, mode: str = "fast", timeout: int = 120) -> None:
        """Stop the server; one that does not stop is killed with everything it started."""
        if not (self.data / "postmaster.pid").exists() or (self.is_standby and not self._holds_data()):
            return
        done = subprocess.run(
            [self.program("pg_ctl"), "-D", self.data, "-s", "-m", mode, "-t", str(timeout), "-w", "stop"],
            capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode and self.running():
            with suppress(OSError, ValueError, IndexError):
                pid = int((self.data / "postmaster.pid").read_text().split()[0])
                os.kill(pid, signal.SIGQUIT)
                time.sleep(1)
                os.kill(pid, signal.SIGKILL)

    def query(self, sql: str, database: str = "postgres", timeout: float = 3600) -> str:
        """What psql prints, unaligned. Raises Unanswered with the server's words."""
        done = subprocess.run(
            [
                "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-h", self.folder,
                "-p", str(PORT), "-d", database,
            ],
            input=sql, capture_output=True, text=True, check=False, timeout=timeout, cwd="/",
            env=self.environment,
        )  # fmt: skip
        if done.returncode:
            found = _STATE.search(done.stderr)
            said = [line for line in done.stderr.splitlines() if not line.startswith("LOCATION:")]
            words = " ".join(_STATE.sub("", "\n".join(said)).split())[:400]
            raise Unanswered(
                f"The side cluster {self.name} refused a statement: {words}",
                f"Its log is {self.log}.", found[1] if found else "",
            )  # fmt: skip
        return done.stdout.strip()

    def remove(self, keep_log: bool = False) -> None:
        """Stop the server and delete the data; the folder with the log too, unless it is to be kept."""
        if self.is_standby:
            self.halt()
            if not keep_log:
                shutil.rmtree(self.folder, ignore_errors=True)
            return
        self.halt("immediate", 20)
        discard_side(self.data, self.tablespaces, Path(self.program("")))
        if not keep_log:
            shutil.rmtree(self.folder, ignore_errors=True)
        for path in (self.data, self.tablespaces, *(() if keep_log else (self.folder,))):
            if path.exists():
                raise AgentError(f"{path} cannot be removed.", "See who owns what is in it.")

    @contextmanager
    def locked(self, patience: float = 0) -> Iterator[int]:
        """Hold the name; the kernel lets go of it however its holder dies.

        What restores inherits the file, so the name stays taken until an orphaned pgBackRest has ended too.
        """
        folder = Path("/run/lock") if Path("/run/lock").is_dir() else Path("/tmp")  # noqa: S108 - no link is followed
        busy = AgentError(
            f"Another process works on the side cluster {self.name} of this host.",
            "Wait for it, or use another --name.",
        )
        with held(folder / f"mystocks-side-{self.name}.lock", busy, patience) as handle:
            yield handle


def find(name: str, root: Path = ROOT) -> Place | None:
    """The side cluster of this name, whatever its version."""
    Place(name, 0)
    found = [place for place in every(root) if place.name == name]
    return found[0] if found else None


def every(root: Path = ROOT) -> tuple[Place, ...]:
    """Every side cluster of this host, by name."""
    folders = sorted(root.glob("*/side-*.d"))
    return tuple(
        Place(folder.name[len("side-") : -len(".d")], int(folder.parent.name), root)
        for folder in folders
        if folder.parent.name.isdigit() and _NAME.fullmatch(folder.name[len("side-") : -len(".d")])
    )
