"""What a mark binds, as the backup host keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from inventories.errors import TargetFailed
from runbooks.probes.postgresql.server import lsn


class _Part(BaseModel):
    # What a later version added is no reason not to restore to a mark.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Numbers(_Part):
    """An outbox: every record up to `newest` was acknowledged before the mark, and of these every one up to the
    application number `applied_no` is in the store at it. `file`: which outbox file counts so; empty: nobody's yet.
    """

    file: str
    newest: int
    applied_no: int
    pending_rows: int
    dead_rows: int


class Position(_Part):
    """An application host's outbox and shadow of one store. `outbox` is None where nobody has used it yet, `shadow`
    where none is kept: bytes by segment, of those that were still written to.
    """

    host: str
    store: str
    outbox: Numbers | None
    shadow: Mapping[str, int] | None

    def __str__(self) -> str:
        if self.outbox is None:
            return f"{self.store}'s outbox on {self.host}: unused"
        one = self.outbox
        return (
            f"{self.store}'s outbox on {self.host}: record {one.newest}, application {one.applied_no}, "
            f"{one.pending_rows} rows waiting"
        )


class Windows(_Part):
    """TDengine's newest backup at the mark. `tables`: name -> (rows, hash, hours, first, last hour since 1970);
    `windows`: one hash over the rows and hash of every hour; `ended_at` unix seconds.
    """

    label: str
    database: str
    ended_at: float
    rows: int
    windows: str
    tables: Mapping[str, tuple[int, str, int, int, int]]


class Transaction(_Part):
    """A SQLite database: all that was committed before the mark is at or below number `tx` of `stream`, which is of
    `at` (unix seconds by the clock of `host`), and can be restored to.
    """

    host: str
    database: str
    stream: str
    tx: int
    at: float

    def __str__(self) -> str:
        return f"SQLite database {self.database} on {self.host}: transaction {self.tx:,} of {moment(self.at)}"


class Mark(_Part):
    """`at`: unix seconds by the clock of `primary`; `lsn`: where the restore point of this name ends: whatever begins
    there or later is not in a restore to it. `tdengine` is None where there is none, or no backup of it; `databases`:
    SQLite's, empty where no changes of one are streamed. `lacks`: why something that is there is not bound.
    `scheduled`: nobody has named it. What it cost, in milliseconds: `took_ms` until it was handed over to be kept,
    `point_ms` of these for the restore point with its commit; None of one that an earlier version took.
    """

    name: str
    at: float
    estate: str
    system: str
    primary: str
    timeline: int
    lsn: str
    positions: tuple[Position, ...] = ()
    tdengine: Windows | None = None
    databases: tuple[Transaction, ...] = ()
    lacks: tuple[str, ...] = ()
    scheduled: bool = False
    took_ms: int | None = None
    point_ms: int | None = None
    file: str = ""  # as it is kept

    @property
    def position(self) -> int:
        found = lsn(self.lsn)
        assert found is not None
        return found

    @property
    def moment(self) -> str:
        return moment(self.at)

    @property
    def stores(self) -> tuple[str, ...]:
        """What it binds, by name: absent is what there was none of."""
        outboxes = {f"outbox of {one.store}" for one in self.positions if one.outbox}
        shadows = {f"shadow of {one.store}" for one in self.positions if one.shadow}
        files = sorted({f"sqlite {one.database}" for one in self.databases})
        tdengine = ["tdengine"] if self.tdengine else []
        return ("postgresql", *tdengine, *files, *sorted(outboxes), *sorted(shadows))


class Damaged(_Part):
    """A file that cannot be believed; `name` is what the file is called, nothing in it counts."""

    file: str
    name: str
    why: str


class Kept(_Part):
    """Everything that the backup host keeps, the oldest first; `now` is its clock, in unix seconds."""

    now: float
    marks: tuple[Mark, ...]
    damaged: tuple[Damaged, ...]


def kept(said: Any) -> Kept:
    """The answer of agents.marks.keep. Raises TargetFailed."""
    try:
        return Kept.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise TargetFailed(f"no marks: {where}: {first['msg']}", "./dr deploy brings the agents") from error


def moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S.%f+00}"
