"""What the application host sees: whether it can write, to whom, and how deep its outbox is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runbooks.hosts import Host

_PROGRAM = "cd /opt/mystocks-dr && exec python3 -m agents.%s --config /etc/mystocks-dr/{}"
_PROBE = _PROGRAM.format("agent.json") % "writing.write_probe" + " --timeout %s"
_PROBE_WHEN_TOLD = _PROBE + " --host %s --when-told"


@dataclass(frozen=True)
class WriteAttempt:
    """One attempt to commit a row, seen from the application host.

    `stage`: search, connect, insert, commit or done. A write that reached its commit was taken by the server even
    if no standby confirmed it, so it proves no fence.
    """

    wrote: bool
    stage: str
    host: str | None
    timeline: int | None
    ms: float
    error: str | None

    @property
    def refused(self) -> bool:
        return not self.wrote and self.stage != "commit"


@dataclass(frozen=True)
class Outbox:
    """Records and rows still to be replayed, dead letters, and whether the replayer runs.

    `shadow_bytes`, `shadow_since` (unix seconds): acknowledged rows that are kept besides; None where none are. Of the
    pending records `held_records` wait for a table that takes nothing: `held` has the store's words by table. `fill` is
    how much of the room for waiting rows is taken, 0 to 1; `lanes` the rows that wait by how urgent they are;
    `rows_per_s` what the replayer does now, None when it does nothing, `last_rows_per_s` what it did when it did.
    `told_rows_per_s`: the pace that the replayer was told to keep until nothing waits: 0 no limit, None its own.
    `copy_error`: why no second copy is kept; `orphans`: second copies of a lost file. The shadow grows by
    `shadow_rows_s` rows of `shadow_row_bytes`, None where that is not known.
    """

    pending_records: int
    pending_rows: int
    dead_rows: int
    oldest_age_s: float | None
    last_error: str | None
    size_bytes: int
    max_bytes: int
    replayer_running: bool
    shadow_bytes: int | None = None
    shadow_since: float | None = None
    shadow_rows_s: float | None = None
    shadow_row_bytes: float | None = None
    held_records: int = 0
    held: Mapping[str, str] = field(default_factory=dict)
    fill: float = 0.0
    rows_per_s: float | None = None
    last_rows_per_s: float | None = None
    lanes: Mapping[str, int] = field(default_factory=dict)
    copy_error: str = ""
    orphans: int = 0
    told_rows_per_s: float | None = None

    @property
    def ready_records(self) -> int:
        """Those that nothing but time keeps here."""
        return self.pending_records - self.held_records

    @property
    def empty_in_s(self) -> float | None:
        """Seconds until it is empty at the rate of now, or else of the last time; None where neither is known."""
        rate = self.rows_per_s or self.last_rows_per_s
        return self.pending_rows / rate if self.pending_rows and rate else None


def try_to_write(app: Host, seconds: float, only: str | None = None) -> WriteAttempt:
    """Try one committed write to whoever is primary, or to exactly the host named `only`."""
    command, words = (_PROBE_WHEN_TOLD, (seconds, only)) if only else (_PROBE, (seconds,))
    ran = app.run(command, *words, user="mystocks", expect=None, stdin="go\n", timeout=seconds + 5)
    return WriteAttempt(**{key: ran.json()[key] for key in WriteAttempt.__dataclass_fields__})


def begin_to_write(app: Host, seconds: float, only: str) -> None:
    """Have the program ready for `try_to_write` with these very words; it tries nothing before that."""
    if app.reachable():
        app.begin(_PROBE_WHEN_TOLD, seconds, only, user="mystocks")


def outbox(app: Host, timeout: float = 10, settings: str = "agent.json") -> Outbox:
    """Ask the agents' own program; `settings` is the writer's of one store.

    Raises DrError when the host, or the program, does not answer.
    """
    command = _PROGRAM.format(settings) % "writing.outbox_cli" + " status"
    said = app.run(command, user="mystocks", timeout=timeout).json()
    # Agents of before the last deploy say less.
    return Outbox(**{key: said[key] for key in Outbox.__dataclass_fields__ if key in said})
