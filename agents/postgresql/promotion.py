"""What would delay or stop the promotion of a PostgreSQL server, told before anybody needs one.

    python3 -m agents.postgresql.promotion --name pg2 [--limit SECONDS] [--patience SECONDS]   on its host, as postgres

Prints one JSON object: the server's role, what its archive took to answer, and every hindrance with what was measured,
the limit, the seconds it would cost (null: nobody can tell), whether it stops the promotion for good, and what helps.
Nothing is changed. The backup host asks the same of every server over a connection, hourly, and raises the alarm.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

from agents.base.config import Config, Host
from agents.base.errors import AgentError, run
from agents.postgresql.promotion_facts import Facts, asked, dsn, left, of_this_host

ASKED_TIMES = 5  # a promotion asks the archive for the next segment and timeline twice, then for its own timeline
LIMIT_S = 2.0
PATIENCE_S = 1.2
PREPARED_S = 60.0  # a transaction that is prepared for longer is forgotten rather than under way
ROOM_BYTES = 4 << 24  # a promotion begins a segment, and the first writes the next ones
_SHOWN = 3


@dataclass(frozen=True)
class Hindrance:
    """One thing in the way. `seconds` that it would cost, None where nobody can tell; `stops`: no promotion at all."""

    kind: str
    measured: str
    limit: str
    seconds: float | None
    stops: bool
    hint: str


def judge(name: str, seen: Facts, limit_s: float, primary: Facts | None = None) -> tuple[Hindrance, ...]:
    """Everything in the way of a standby's promotion, or what a primary would leave to its successor.

    `primary` says how large a standby must be where its own control file was not asked.
    """
    if not seen.in_recovery:
        return tuple(_left_behind(name, seen))
    needed = seen.needed or (primary.sizes if primary else {})
    sizes = tuple(_sizes(name, seen, needed))
    return (
        # A server that is too small pauses by itself, and would end if it were told to go on.
        *(sizes or _replay(name, seen, limit_s)), *_summarizer(name, seen), *_archive(name, seen, limit_s),
        *_refuses(name, seen), *_missing(name, seen), *_room(name, seen), *_collations(name, seen),
    )  # fmt: skip


def _replay(name: str, seen: Facts, limit_s: float) -> Iterator[Hindrance]:
    """Received WAL is replayed to its end before a standby takes writes, whatever had held it back until then."""
    waits = f"{_mib(seen.unreplayed)} of WAL wait to be replayed first"
    seconds = seen.unreplayed / seen.replayed_per_s if seen.replayed_per_s else None
    nothing = 0.0 if not seen.unreplayed else None
    if seen.pause != "not paused":
        hint = f"psql -c 'select pg_wal_replay_resume()' on {name}"
        yield Hindrance("paused", f"{seen.pause}; {waits}", "goes on", nothing, False, hint)
    elif seen.apply_delay_s:
        hint = f"./dr deploy --limit {name} takes recovery_min_apply_delay back"
        measured = f"recovery_min_apply_delay is {seen.apply_delay_s:g} s; {waits}"
        yield Hindrance("apply-delay", measured, "0 s", nothing, False, hint)
    elif seen.replayed_per_s is not None and (seconds is None or seconds > limit_s):
        rate = f"{_mib(seen.replayed_per_s)}/s are replayed" if seconds else "nothing is replayed"
        hint = f"look at the load and the disks of {name}, and for a query there that holds replay up"
        yield Hindrance("backlog", f"{waits}; {rate}", f"{limit_s:g} s", seconds, False, hint)


def _sizes(name: str, seen: Facts, needed: Mapping[str, int]) -> Iterator[Hindrance]:
    less = {what: size for what, size in seen.sizes.items() if size < needed.get(what, 0)}
    if less:
        measured = ", ".join(f"{what} is {size}" for what, size in less.items())
        limit = ", ".join(f"{needed[what]} as on its primary" for what in less)
        hint = f"./dr rejoin {name} --yes makes it fit; ./dr drift tells where sizes differ from what is declared"
        yield Hindrance("sizes", measured, limit, None, True, hint)


def _summarizer(name: str, seen: Facts) -> Iterator[Hindrance]:
    if seen.summarizes:
        measured = "summarize_wal is on: a promotion waits for the summarizer, and fails where that lacks WAL"
        yield Hindrance("summarizer", measured, "off", None, False, f"./dr deploy --limit {name} switches it off")


def _refuses(name: str, seen: Facts) -> Iterator[Hindrance]:
    """Promoted it would answer and take no row: read-only, or waiting for a standby that nobody is."""
    if seen.refuses:
        hint = f"./dr deploy --limit {name} undoes ALTER SYSTEM; take it out of any other file there and reload"
        yield Hindrance("no-writes", "; ".join(seen.refuses), "neither is set on a standby", None, True, hint)


def _archive(name: str, seen: Facts, limit_s: float) -> Iterator[Hindrance]:
    if seen.asked_s is None:
        return
    seconds: float | None = ASKED_TIMES * seen.asked_s
    if seen.asked_in_vain and ASKED_TIMES * seen.asked_s <= limit_s:
        seconds = None  # the time was up too soon: it may be as quick as it should be
    if seconds is None or seconds > limit_s:
        took = f"restore_command took {'more than ' if seen.asked_in_vain else ''}{seen.asked_s:.1f} s"
        hint = f"./dr backup.check; look at the backup host, its load and the line from {name} to it"
        measured = f"{took} for a file that is not there; a promotion asks {ASKED_TIMES} times"
        yield Hindrance("archive", measured, f"{limit_s:g} s together", seconds, False, hint)


def _missing(name: str, seen: Facts) -> Iterator[Hindrance]:
    if seen.streams or seen.wanted_there is not False:
        return
    measured = f"does not stream, and {seen.wanted}, which it needs next, is neither here nor in the archive"
    yield Hindrance("missing-wal", measured, "everything its primary wrote", None, False, f"./dr rejoin {name} --yes")


def _room(name: str, seen: Facts) -> Iterator[Hindrance]:
    if seen.free_bytes is not None and seen.free_bytes < ROOM_BYTES:
        hint = f"make room on {name}: a promotion that cannot write ends the server"
        yield Hindrance("disk", f"{_mib(seen.free_bytes)} are free", _mib(ROOM_BYTES), None, True, hint)


def _collations(name: str, seen: Facts) -> Iterator[Hindrance]:
    if seen.collations:
        more = f" and {len(seen.collations) - _SHOWN} more" if len(seen.collations) > _SHOWN else ""
        hint = f"give {name} the C library and ICU of its primary; promoted as it is, it needs REINDEX DATABASE at once"
        yield Hindrance("collation", "; ".join(seen.collations[:_SHOWN]) + more, "as recorded", 0.0, False, hint)


def _left_behind(name: str, seen: Facts) -> Iterator[Hindrance]:
    if seen.prepared and seen.prepared_age_s > PREPARED_S:
        hint = f"commit or roll back, by its gid, each that pg_prepared_xacts on {name} shows"
        measured = f"{seen.prepared} on {name}, the oldest for {seen.prepared_age_s:.0f} s; their locks outlive it"
        yield Hindrance("prepared", measured, f"none older than {PREPARED_S:g} s", 0.0, False, hint)
    for slot in seen.lost_slots:
        measured = f"slot {slot} on {name} lost WAL that its standby may need"
        yield Hindrance("missing-wal", measured, "held", None, False, f"./dr rejoin {slot} --yes")


def hindered(database: Config, limit_s: float = LIMIT_S, patience_s: float = 5.0) -> list[str]:
    """A sentence for each hindrance that shows over a connection, as the hourly alarm tells it."""
    answers: dict[str, Facts] = {}
    told = []
    with ThreadPoolExecutor(len(database.hosts)) as pool:
        asking = {host.name: pool.submit(_over_a_connection, database, host, patience_s) for host in database.hosts}
        for name, answer in asking.items():
            try:
                answers[name] = answer.result()
            except AgentError as error:
                told.append(f"nobody can tell what would delay a promotion of {name}: {error}")
    primary = next((seen for seen in answers.values() if not seen.in_recovery), None)
    for name, seen in answers.items():
        told += [sentence(name, one) for one in judge(name, seen, limit_s, primary)]
    return told


def _over_a_connection(database: Config, host: Host, patience_s: float) -> Facts:
    words = {"host": host.name, "hostaddr": host.address or "", "port": str(host.port), "user": database.user}
    return asked(dsn(**words, **database.libpq), database.dbname, patience_s)


def sentence(name: str, one: Hindrance) -> str:
    """As an alarm tells it."""
    costs = "stops" if one.stops else "delays by nobody knows how much" if one.seconds is None else "weighs on"
    costs = f"delays by about {one.seconds:.0f} s" if one.seconds else costs
    return f"{one.kind} {costs} the next promotion ({name}): {one.measured}; HINT: {one.hint}"


def here(name: str, version: int, database: str, limit_s: float, patience_s: float) -> dict[str, object]:
    """What this host says of its own server within `patience_s`. Raises AgentError when that does not answer."""
    ends = time.monotonic() + patience_s
    seen = asked("", database, patience_s)
    seen = replace(seen, **of_this_host(seen, version, left(ends)))
    found = judge(name, seen, limit_s)
    return {
        "in_recovery": seen.in_recovery, "asked_s": seen.asked_s, "needed": dict(seen.needed),
        "hindrances": [asdict(one) for one in found],
    }  # fmt: skip


def _mib(count: float) -> str:
    return f"{count / 2**20:.1f} MiB"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="agents.postgresql.promotion", description="What would delay or stop a promotion."
    )
    parser.add_argument("--name", required=True, help="of this host, for the hints")
    parser.add_argument("--version", type=int, default=17)
    parser.add_argument("--database", default="postgres", help="whose collations are compared as well")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds that a promotion may be delayed")
    parser.add_argument("--patience", type=float, default=PATIENCE_S, help="seconds for the answer")
    options = parser.parse_args(arguments)
    told = here(options.name, options.version, options.database, options.limit, options.patience)
    print(json.dumps(told), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
