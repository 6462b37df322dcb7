"""What would delay or stop the promotion of a node, as the node's own host says: one round trip, bounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runbooks import agent
from runbooks.hosts import Host
from runbooks.layout import Layout

SLACK_S = 0.6  # for SSH and the start of the program


@dataclass(frozen=True)
class Hindrance:
    """One thing in the way. `seconds` that it would cost, None where nobody can tell; `stops`: no promotion at all."""

    kind: str
    measured: str
    limit: str
    seconds: float | None
    stops: bool
    hint: str


@dataclass(frozen=True)
class Outlook:
    """A node's next promotion. `asked_s`: what its archive took to answer; `needed`: settings that its WAL asks for."""

    standby: bool
    asked_s: float | None = None
    hindrances: tuple[Hindrance, ...] = ()
    needed: Mapping[str, int] = field(default_factory=dict)

    def has(self, kind: str) -> bool:
        return any(one.kind == kind for one in self.hindrances)


def look(host: Host, version: int, database: str, limit_s: float, timeout: float) -> Outlook:
    """Ask the host, which asks its server, its archive and its disk. Raises DrError when any of them hangs."""
    said = agent.ask(
        host, "postgresql.promotion", "--name", host.name, "--version", version, "--database", database, "--limit",
        limit_s, "--patience", f"{max(0.3, timeout - SLACK_S):.2f}", timeout=timeout,
    )  # fmt: skip
    return parse(said)


def parse(said: Mapping[str, Any]) -> Outlook:
    """The agent's answer as types."""
    found = tuple(Hindrance(**one) for one in said["hindrances"])
    return Outlook(bool(said["in_recovery"]), said["asked_s"], found, said["needed"])


_SIZES: Mapping[str, str] = {
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
}
_OFF = {"summarize_wal": "off", "recovery_min_apply_delay": "0"}
# What the files say, asked of the program itself, so that it does not matter whether the server runs.
_CONFIGURED = """
for name in {names}; do
  printf '%s setting=' "$name"
  {bin}/postgres -C "$name" -D {data} -c config_file={etc}/postgresql.conf 2>/dev/null || echo unknown
done
LC_ALL=C {bin}/pg_controldata {data} | sed 's/setting: */control=/'
test -e {data}/standby.signal && echo standby_signal=yes || echo standby_signal=no
"""
# From the last promotion on, what the server itself said and no client's session.
_WORDS = """
tail -n 2000 /var/log/postgresql/postgresql-%s-main.log | awk '
  /received promote request/ { n = 0 }
  /\\] (LOG|WARNING|ERROR|FATAL|PANIC):/ { said[n++] = $0 }
  END { for (i = (n > %s ? n - %s : 0); i < n; i++) print said[i] }'
"""


@dataclass(frozen=True)
class Configured:
    """What a node's files ask for, and its control file. `settings` of those that matter to a promotion."""

    settings: Mapping[str, str]
    needed: Mapping[str, int]
    state: str
    timeline: int
    standby_signal: bool

    @property
    def in_the_way(self) -> dict[str, str]:
        """Settings that keep the server from being promoted, each with what it must be."""
        off = {name: value for name, value in _OFF.items() if self.settings.get(name, value) not in (value, "unknown")}
        return off | {name: str(size) for name, size in self.too_small().items()}

    def too_small(self, also: Mapping[str, int] | None = None) -> dict[str, int]:
        """Sizes that its WAL asks for and it lacks, each with what it must be; `also`: what others ask for."""
        asked = {
            name: max(self.needed.get(name, 0), (also or {}).get(name, 0)) for name in {**self.needed, **(also or {})}
        }  # fmt: skip
        return {name: size for name, size in asked.items() if _number(self.settings.get(name)) < size}

    def __str__(self) -> str:
        signal = "standby.signal is there" if self.standby_signal else "standby.signal is gone"
        return f"its control file says {self.state!r} on timeline {self.timeline}, {signal}"


def configured(host: Host, layout: Layout) -> Configured:
    """Works whether or not the server runs. Raises DrError."""
    names = " ".join((*_OFF, *_SIZES.values()))
    script = _CONFIGURED.format(names=names, bin=layout.bin, data=layout.data, etc=layout.etc)
    return read_configured(host.run("sh -c %s", script, user="postgres").stdout)


def read_configured(text: str) -> Configured:
    rows = [line.partition("=") for line in text.splitlines()]
    values = {name.strip(): value.strip() for name, _, value in rows}
    control = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    settings = {name: values[f"{name} setting"] for name in (*_OFF, *_SIZES.values()) if f"{name} setting" in values}
    needed = {_SIZES[f"{name} setting"]: int(value) for name, value in _control(values) if f"{name} setting" in _SIZES}
    return Configured(
        settings, needed, control.get("Database cluster state", "unknown"),
        int(control.get("Latest checkpoint's TimeLineID", 0)), values.get("standby_signal") == "yes",
    )  # fmt: skip


def _control(values: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name.removesuffix(" control"), value) for name, value in values.items() if name.endswith(" control")]


def _number(text: str | None) -> float:
    """A size that nobody told is taken as enough."""
    return float(text) if text and text.isdigit() else float("inf")


def words(host: Host, version: int, lines: int = 12) -> tuple[str, ...]:
    """The last lines of the server's own log, those since the promotion began where it tells of one."""
    return tuple(host.run(_WORDS, version, lines, lines, expect=None).stdout.splitlines())
