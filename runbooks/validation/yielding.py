"""Ask a server that production uses, and give way to it.

What is asked ends where commits have become slow, or where a standby cannot go on because of what we read: a promotion
would have to wait for that. It is asked again a little later.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress

from inventories.errors import DrError, TargetFailed, TimedOut
from runbooks.engine.wait import until
from runbooks.probes.postgresql.server import as_lsn
from runbooks.probes.postgresql.tables import Server
from runbooks.validation.questions import Answer, answers, script

SESSION = "mystocks-validate"
TRIES = 6
_LOOK_S = 1.0
_PAUSE_S = 3.0
_HELD_UP = 5  # looks in a row at which a standby that still receives is held up by us; one that does not never waits
SLOW_COMMIT_S = 0.5
_OTHERS = f"c.backend_type = 'client backend' AND c.state = 'active' AND c.application_name <> '{SESSION}'"
# One commit that is slow may be anybody's; two are the disk, or the standby.
_LOOK = f"""
SELECT CASE WHEN 1 < (SELECT count(*) FROM pg_stat_activity c WHERE {_OTHERS}
    AND c.wait_event IN ('SyncRep', 'WALSync', 'WALWrite')
    AND clock_timestamp() - c.query_start > interval '{SLOW_COMMIT_S} s') THEN 'slow'
  WHEN NOT EXISTS (SELECT FROM pg_stat_activity s WHERE s.backend_type = 'startup'
    AND s.wait_event ~ '^RecoveryConflict') THEN ''
  WHEN EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 'held up' ELSE 'alone' END;
"""
# A statement of its own can be asked again by itself, a snapshot ends as a whole.
_END = f"SELECT %s(o.pid) FROM pg_stat_activity o WHERE o.application_name = '{SESSION}';"
_WAYS_OF_ENDING = (
    "administrator command", "conflict with recovery", "due to user request", "connection to server was lost",
)  # fmt: skip


def ask(server: Server, asked: Mapping[str, str], timeout: float, snapshot: bool = True) -> dict[str, Answer]:
    """The answers by their questions' names, all of one `snapshot` unless that is not wanted.

    Raises TimedOut where it had to give way every time, DrError.
    """
    found: dict[str, Answer] = {}
    left, why = dict(asked), ""
    for _ in range(TRIES):
        if why:
            _pause()
        try:
            said = answers(_watched(server, script(left, SESSION, snapshot), timeout, snapshot))
        except TargetFailed as error:
            why = str(error)
            if not _gave_way(why):
                raise
            continue
        again = {name: one.why for name, one in said.items() if one.rows is None and _gave_way(one.why)}
        found |= {name: one for name, one in said.items() if name not in again}
        if not again:
            return found
        left, why = {name: asked[name] for name in again}, next(iter(again.values()))
    raise TimedOut(
        f"{server.host} was asked {TRIES} times, and each time production needed it more: {why.splitlines()[0]}",
        "validate when less is written, or fewer tables at a time with --tables",
    )


def _gave_way(why: str) -> bool:
    return any(text in why for text in _WAYS_OF_ENDING)


def _watched(server: Server, text: str, timeout: float, snapshot: bool) -> str:
    end = _END % ("pg_terminate_backend" if snapshot else "pg_cancel_backend")
    held = 0
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.ask, text, timeout)
        while not wait([asked], timeout=_LOOK_S).done:
            with suppress(DrError):
                seen = server.ask(_LOOK)
                held = held + 1 if seen == "held up" else 0
                if seen in ("slow", "alone") or held >= _HELD_UP:
                    server.ask(end)
                    held = 0
        return asked.result()


def _pause() -> None:
    with suppress(TimedOut):
        until(lambda: False, _PAUSE_S, what="production to have what it needs")


def replayed(server: Server, lsn: int, seconds: float) -> None:
    """Wait until a standby has come so far; another server has. Raises TimedOut.

    One question at a time: a statement that waits has a snapshot, which may be what replay is waiting for.
    """
    wanted = as_lsn(lsn)
    there = f"SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= '{wanted}';"
    until(lambda: server.ask(there) == "t", seconds, what=f"{server.host.name} to replay {wanted}", every=0.05)
