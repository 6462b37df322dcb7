"""What each host tells for a mark: how far its outboxes are, where the WAL is, what TDengine's backup holds."""

from __future__ import annotations

from typing import Any

from inventories.errors import TargetFailed
from runbooks import agent
from runbooks.agent import ask
from runbooks.engine.budgets import budget
from runbooks.hosts import Estate, Host
from runbooks.layout import SQLITE_USER
from runbooks.marks.types import Position, Transaction, Windows
from runbooks.probes import outbox
from runbooks.probes.outbox import Box

_WINDOWS = "marks.windows"


def position(box: Box) -> Position:
    """Of one application host and store; its shadow is on the disk then. Raises DrError."""
    box.host.must_answer()
    words = ("--config", box.config)
    said = ask(box.host, "marks.positions", *words, user=outbox.USER, timeout=budget("mark.ask"))
    return Position(host=box.host.name, store=box.store, outbox=said["outbox"], shadow=said["shadow"])


def transactions(host: Host) -> tuple[tuple[Transaction, ...], tuple[str, ...]]:
    """Of each SQLite database of an application host, and why one is not bound: it is not protected. Raises DrError."""
    host.must_answer()
    said = ask(host, "marks.databases", user=SQLITE_USER, timeout=budget("mark.ask"))
    bound = tuple(Transaction(host=host.name, **one) for one in said if not one["why"])
    return bound, tuple(f"SQLite database {one['database']} on {host.name}: {one['why']}" for one in said if one["why"])


# One transaction: its commit takes the restore point to the disk, and to the standby where commits wait for one.
_POINT = """
select pg_create_restore_point('{name}')::text as lsn, extract(epoch from clock_timestamp()) as at,
  (select system_identifier::text from pg_control_system()) as system,
  ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int as timeline,
  pg_current_xact_id()::text as xid
"""


def point(primary: Host, name: str) -> dict[str, Any]:
    """Write a restore point: `lsn` where it ends, `at` unix seconds of that clock, `system`, `timeline`.

    The name was checked: nothing in it ends a literal. Raises DrError; TimedOut where no standby confirms the commit.
    """
    rows = primary.query(_POINT.format(name=name), timeout=budget("mark.point"))
    if len(rows) != 1:
        raise TargetFailed(f"{primary} answered a restore point with {len(rows)} rows")
    return rows[0]


def begin(estate: Estate) -> None:
    """Have what reads TDengine's manifest ready; it reads none before it is told to."""
    if _has_tdengine(estate):
        agent.begin(estate.backup, _WINDOWS)


def windows(estate: Estate, label: str = "") -> Windows | None:
    """Of TDengine's newest backup, or of one; None where there is no TDengine, or no such backup. Raises DrError."""
    if not _has_tdengine(estate):
        return None
    words = (label,) if label else ()
    said = ask(estate.backup, _WINDOWS, *words, timeout=budget("mark.ask"), stdin="go\n")
    return None if said is None else Windows.model_validate(said)


def _has_tdengine(estate: Estate) -> bool:
    """Its manifests are on the backup host, so that also a watch reads them, whose inventory has no host of it."""
    return bool(estate.groups.get("tdengine") or estate.data.get("tdengine_beside"))
