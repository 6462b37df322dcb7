"""Inventory -> connections. The only place that knows how a host is reached, and the only one with connection strings.

Everything goes over SSH, multiplexed: one connection a host, about 20 ms a command. SQL runs through psql on the host
itself as the OS user postgres (peer authentication), so no database password is needed where the operator sits.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from inventories import ssh_config
from inventories.errors import BadInput, DrError, TargetFailed, TimedOut, Unreachable
from inventories.inventory import HERE, HostEntry, read_inventory
from inventories.quorum import least_of
from runbooks import begun
from runbooks.engine.budgets import budget
from runbooks.engine.context import Context
from runbooks.knock import Door, knock

SSH_FAILED = 255
_PSQL = "PGOPTIONS=%s psql -qAtX -v ON_ERROR_STOP=1 -d %s"
_NO_SUDO = re.compile(r"^sudo: .*(password|terminal|tty)|not in the sudoers|not allowed|may not run sudo", re.MULTILINE)
# What runs there may end with 255 as well, and would be taken for SSH itself.
_SSHS_OWN = "{}\nr=$?; test $r -ne 255 || r=254; exit $r"


@dataclass(frozen=True)
class Ran:
    """What a command on a host did: exit code, both outputs, seconds on the operator's clock."""

    rc: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def text(self) -> str:
        return self.stdout.strip()

    def json(self) -> Any:
        """The output as JSON. Raises TargetFailed when it is none."""
        try:
            # A program may quote bytes that are no text: pgBackRest does so with what another key decrypts to.
            return json.loads(self.stdout, strict=False)
        except json.JSONDecodeError as error:
            raise TargetFailed(
                f"expected JSON, got {self.stdout.strip()[:200]!r} {self.stderr.strip()[:200]}"
            ) from error


@dataclass(frozen=True)
class Host:
    """One host of the estate. Two of the same name are the same host."""

    name: str
    entry: HostEntry = field(compare=False, repr=False)
    ssh_config: Path = field(compare=False, repr=False)
    reach: str = field(default="ssh.reach", compare=False, repr=False)  # the budget of knocking where SSH dials
    session: str = field(default="", compare=False, repr=False)  # libpq's options of what asks the server here

    @property
    def address(self) -> str:
        """What the other hosts dial."""
        return self.entry.address

    @property
    def dialled(self) -> str:
        """What SSH dials, for a sentence."""
        name, port = self.entry.ssh_hostname, self.entry.ssh_port
        through = f" through {self.entry.ssh_proxy_jump}" if self.entry.ssh_proxy_jump else ""
        return f"[{name}]:{port}{through}" if ":" in name else f"{name}:{port}{through}"

    def __str__(self) -> str:
        return self.name

    def run(
        self,
        command: str,
        *args: object,
        timeout: float | None = None,
        expect: int | None = 0,
        user: str = "root",
        stdin: str | None = None,
    ) -> Ran:
        """Run `command` with each `%s` replaced by a quoted argument, as `user`.

        `expect` is the exit code that counts as success, None takes any. Raises TargetFailed (another exit code),
        TimedOut, Unreachable (SSH itself failed).
        """
        text = _filled(command, args)
        limit = timeout if timeout is not None else budget("ssh.command")
        started = time.monotonic()
        try:
            done = begun.run(self._argv(text, user), stdin if stdin is not None else "", limit)
        except subprocess.TimeoutExpired as error:
            raise TimedOut(f"{self.name} did not finish {_short(text)} within {limit:g} s") from error
        ran = Ran(done.returncode, done.stdout, done.stderr, time.monotonic() - started)
        if ran.rc == SSH_FAILED and "Host key verification failed" in ran.stderr:
            raise self._other_key()
        if ran.rc == SSH_FAILED:
            raise Unreachable(
                f"{self.name} ({self.dialled}) cannot be reached over SSH: {telling_line(ran.stderr)}",
                f"ssh -F {self.ssh_config} {self.name} shows why",
            )
        if ran.rc == 1 and _NO_SUDO.search(ran.stderr):  # whatever `expect` says: the command was not run
            raise TargetFailed(
                f"{self.name}: {self.entry.ssh_user} may not use sudo: {telling_line(ran.stderr)}",
                "sudo has to work without a password there (NOPASSWD in sudoers)",
            )
        if expect is not None and ran.rc != expect:
            raise TargetFailed(
                f"{self.name}: {_short(text)} ended with {ran.rc}: {telling_line(ran.stderr or ran.stdout)}"
            )
        return ran

    def begin(self, command: str, *args: object, user: str = "root") -> None:
        """Start it ahead of the `run` of the same words, which sends its input: what waits for that has done nothing.

        Never raises; where it could not be begun, or has ended meanwhile, `run` starts it as ever.
        """
        begun.begin(self._argv(_filled(command, args), user))

    def _argv(self, text: str, user: str) -> list[str]:
        return ["ssh", "-F", str(self.ssh_config), self.name, "--", _SSHS_OWN.format(self._as(user, text))]

    def _other_key(self) -> Unreachable:
        name, port = self.entry.ssh_hostname, self.entry.ssh_port
        known = name if port == 22 else f"[{name}]:{port}"
        file = self.entry.ssh_known_hosts_file or "~/.ssh/known_hosts"
        return Unreachable(
            f"{self.name} ({self.dialled}) shows a host key that is not the known one, or none is known",
            f"if the machine is a new one: ssh-keygen -R '{known}' -f {file}; "
            f"ssh-keyscan -p {port} {name} >> {file}; then compare with ssh-keygen -lf at its console",
        )

    def start(self, command: str, *args: object, user: str = "root") -> subprocess.Popen[bytes]:
        """Start `command` and leave it running: its standard input and output are pipes, its errors go to stderr's."""
        return subprocess.Popen(
            ["ssh", "-F", str(self.ssh_config), self.name, "--", self._as(user, _filled(command, args))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def hang_up(self) -> None:
        """Close the connection that our commands share, so that the next one has to log in."""
        command = ["ssh", "-F", str(self.ssh_config), "-O", "exit", self.name]
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)

    def query(self, sql: str, database: str = "postgres", timeout: float | None = None) -> list[dict[str, Any]]:
        """Rows of one SELECT on this host's own server, as dictionaries of JSON values."""
        wrapped = f"select coalesce(json_agg(row_to_json(q)), '[]') from ({sql}) q;"
        rows = self._psql(wrapped, database, timeout, self.session).json()
        assert isinstance(rows, list)
        return rows

    def execute(self, sql: str, database: str = "postgres", timeout: float | None = None) -> None:
        """Run statements on this host's own server, stopping at the first error."""
        # What makes or drops a hypertable is seen by TimescaleDB's own event triggers, which are in its database.
        self._psql(sql, database, timeout, self.session if database == "postgres" else "")

    def begin_session(self, database: str = "postgres") -> None:
        """Have a session of this host's own server ready for the next `execute` or `query`; it asks for nothing yet."""
        self.begin(_PSQL, self.session, database, user="postgres")

    def knock(self, timeout: float | None = None) -> Door:
        """What knocking where SSH dials comes to; behind a bastion the answer is that of a login. Never raises."""
        try:
            if self.entry.ssh_proxy_jump:
                return self._login(budget("ssh.jump") if timeout is None else timeout)
            limit = budget(self.reach) if timeout is None else timeout
            return knock(self.entry.ssh_hostname, self.entry.ssh_port, limit)
        except Unreachable:
            return Door.UNKNOWN

    def reachable(self, timeout: float | None = None) -> bool:
        """Whether SSH's door is open. Says nothing of what answers, and False does not say that the host is off."""
        return self.knock(timeout) is Door.OPEN

    def must_answer(self) -> None:
        """Raises Unreachable, at once and not after a connection's timeout, when the host does not answer."""
        door = self.knock()
        if door is not Door.OPEN:
            raise Unreachable(f"{self}: {self.no_answer(door)}")

    def no_answer(self, door: Door) -> str:
        """Why a host that was knocked at cannot be asked, for the brackets of a sentence."""
        more = {Door.REFUSED: ": the connection is refused", Door.UNKNOWN: ": its name cannot be resolved here"}
        return f"no answer at {self.dialled}{more.get(door, '')}"

    def _login(self, timeout: float) -> Door:
        try:
            self.run("true", timeout=timeout)
        except Unreachable as error:
            return Door.REFUSED if "refused" in str(error) else Door.SILENT
        except DrError:
            return Door.SILENT
        return Door.OPEN

    def _psql(self, sql: str, database: str, timeout: float | None, options: str) -> Ran:
        return self.run(_PSQL, options, database, user="postgres", stdin=sql, timeout=timeout)

    def _as(self, user: str, text: str) -> str:
        sudo = "sudo -n " if self.entry.ssh_user != "root" else ""
        if user == "root":
            return f"{sudo}sh -c {shlex.quote(text)}"
        return f"cd /; {sudo}runuser -u {shlex.quote(user)} -- sh -c {shlex.quote(text)}"


@dataclass(frozen=True)
class Estate:
    """Every host of one inventory, by group."""

    name: str
    inventory: str
    hosts: tuple[Host, ...]
    groups: Mapping[str, tuple[str, ...]] = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)

    def host(self, name: str) -> Host:
        """Raises BadInput naming the hosts there are."""
        for host in self.hosts:
            if host.name == name:
                return host
        known = ", ".join(host.name for host in self.hosts)
        raise BadInput(f"there is no host {name!r} in inventory {self.inventory}", f"its hosts are {known}")

    def group(self, *names: str) -> tuple[Host, ...]:
        """Hosts of these groups in the inventory's order. Raises BadInput when there are none."""
        wanted = [member for name in names for member in self.groups.get(name, ())]
        if not wanted:
            raise BadInput(f"inventory {self.inventory} has no host in group {' or '.join(names)}")
        return tuple(host for host in self.hosts if host.name in wanted)

    def reached_within(self, name: str) -> Estate:
        """The same, where knocking at a host has this budget."""
        return replace(self, hosts=tuple(replace(host, reach=name) for host in self.hosts))

    @property
    def postgres(self) -> tuple[Host, ...]:
        return self.group("pg_primary", "pg_standby")

    @property
    def candidates(self) -> tuple[Host, ...]:
        """Those that may be primary, and that commits may wait for: all but what is asynchronous by declaration."""
        return tuple(host for host in self.postgres if host.entry.synchronous)

    @property
    def delayed(self) -> tuple[Host, ...]:
        """Standbys that are behind by declaration, in the inventory's order."""
        return tuple(host for host in self.postgres if host.entry.delay_s)

    @property
    def least(self) -> int:
        """How many standbys a commit waits for, by declaration; 0 in an estate that is asynchronous by choice."""
        return least_of(self.data.get("synchronous_standbys", 1))

    @property
    def backup(self) -> Host:
        return self.group("backup")[0]

    @property
    def app(self) -> Host:
        return self.group("app")[0]


Run = Context[Estate, Any]  # what a procedure's steps are given


def load(inventory: str | None = None) -> Estate:
    """The estate of an inventory: a name under inventories/ or a path. Raises BadInput."""
    from inventories.catalog.postgresql.sessions import unwatched  # its package reads the whole catalogue

    entries = read_inventory(inventory)
    config = ssh_config.ours(entries.hosts)
    session = unwatched(int(entries.data["postgres_version"]))
    hosts = tuple(Host(entry.name, entry, config, session=session) for entry in entries.hosts)
    # What a step starts in another process finds the same file again.
    name = entries.name if entries.path.parent == HERE else str(entries.path.absolute())
    return Estate(entries.estate, name, hosts, entries.groups, entries.data)


def _filled(command: str, args: Sequence[object]) -> str:
    return command % tuple(shlex.quote(str(arg)) for arg in args) if args else command


def _short(text: str) -> str:
    one = " ".join(text.split())
    return f"`{one if len(one) <= 90 else one[:87] + '...'}`"


def telling_line(text: str) -> str:
    """The line that says what went wrong: the last that calls itself an error, else the last that is no advice."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\b(ERROR|FATAL|PANIC)\b", line)]
    plain = [line for line in lines if not line.startswith("HINT:")]
    return (errors or plain or lines or ["no message"])[-1][:300]
