"""One moment of one server: what it sees as committed, and how far its WAL goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inventories.errors import VerificationFailed
from runbooks.validation.questions import Answer

# Where the next record would begin may lie behind the header of a page that nobody has written yet: a standby that has
# everything stands before it.
_PAGE, _HEADERS = 8192, (24, 40)
_FIRST = 3  # transactions of lower numbers have always ended
NAME = "snapshot"
QUESTION = """
SELECT pg_current_snapshot()::text AS snapshot, (SELECT system_identifier::text FROM pg_control_system()) AS system,
  current_setting('server_version_num')::int / 10000 AS version, pg_is_in_recovery() AS recovery,
  extract(epoch FROM now()) AS at,
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END
    - '0/0'::pg_lsn AS lsn
"""


@dataclass(frozen=True)
class Snapshot:
    """What PostgreSQL calls xmin, xmax and what runs between; the position of the WAL, unix seconds."""

    xmin: int
    xmax: int
    running: tuple[int, ...]
    system: str
    version: int
    recovery: bool
    lsn: int
    at: float

    @classmethod
    def of(cls, row: dict[str, Any]) -> Snapshot:
        """Of the answer to QUESTION."""
        xmin, xmax, running = str(row["snapshot"]).split(":")
        lsn = int(row["lsn"])
        lsn -= lsn % _PAGE if lsn % _PAGE in _HEADERS else 0
        return cls(
            int(xmin), int(xmax), tuple(int(one) for one in running.split(",") if one), str(row["system"]),
            int(row["version"]), bool(row["recovery"]), lsn, float(row["at"]),
        )  # fmt: skip

    def seen(self, xid: str) -> str:
        """The condition that this snapshot sees what a transaction has written, for an xid column.

        Of a row that was frozen more than two billion transactions ago the number seems to be one that is yet to come:
        whoever reads the row knows of none. One transaction with another number for a savepoint counts as seen while
        it runs: a bucket differs by it, and a look at its rows tells. Numbers go round, and `age` counts accordingly.
        """
        running = ", ".join(f"'{_half(one)}'" for one in self.running)
        seen = f"(age({xid}) > age('{_half(self.xmax)}'::xid) OR age({xid}) < 1)"
        return f"{seen} AND {xid} <> ALL (ARRAY[{running}]::xid[])" if running else seen

    def settled(self, xid: int, unknown: int | None = None) -> bool:
        """Whether a transaction of this number (the lower half of it) had surely ended, savepoints and all.

        `unknown`: a whole number that no transaction had when the row was read: what seems to be as young is as old.
        """
        since = (xid - self.xmin) % 2**32
        return xid < _FIRST or since >= 2**31 or (unknown is not None and unknown - self.xmin <= since)


def _half(xid: int) -> int:
    return xid % 2**32


def snapshot_of(answers: Mapping[str, Answer]) -> Snapshot:
    """Of the answers to a script that asked QUESTION under NAME. Raises VerificationFailed without one."""
    answer = answers.get(NAME, Answer(None, "no answer"))
    if not answer.rows:
        raise VerificationFailed(f"a server does not tell its snapshot: {answer.why}")
    return Snapshot.of(answer.rows[0])
