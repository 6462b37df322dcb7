"""Look at the whole estate at once: bounded, in parallel, never stopped by a host that is down."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from inventories.catalog.load import load_recovery
from inventories.errors import DrError, TimedOut, Unreachable
from runbooks.engine.budgets import budget
from runbooks.hosts import Estate, Host
from runbooks.knock import Door
from runbooks.long_work.seen import Begun
from runbooks.long_work.work import at_work
from runbooks.probes import app, certificates, disk, jobs, marks, validations, watch
from runbooks.probes.app import Outbox
from runbooks.probes.certificates import Certificate
from runbooks.probes.disk import Disk
from runbooks.probes.jobs import Jobs
from runbooks.probes.marks import Marks
from runbooks.probes.outbox import POSTGRESQL, SETTINGS, TDENGINE, TRACKER
from runbooks.probes.postgresql import locks, pgbackrest, promotion
from runbooks.probes.postgresql import server as postgres
from runbooks.probes.postgresql.locks import LockRoom
from runbooks.probes.postgresql.pgbackrest import Archiving, Repository
from runbooks.probes.postgresql.promotion import Outlook
from runbooks.probes.postgresql.server import Node
from runbooks.probes.sqlite import databases as sqlite
from runbooks.probes.tdengine import backups
from runbooks.probes.tdengine import servers as tdengine
from runbooks.probes.tdengine.servers import Server
from runbooks.probes.tracker import has_it
from runbooks.probes.tracker import schema as tracker
from runbooks.probes.validations import Kept
from runbooks.record.read import Pages, pages
from runbooks.record.types import Copy, Unknown

T = TypeVar("T")
SLOW = "did not answer in time"
_SLACK_S = 0.3  # between the bound of one command and the bound of all: threads have to start, processes to end


@dataclass(frozen=True)
class Status:
    """What was seen at `at` (unix seconds), within `seconds`. `unknown`: part -> sentence why nobody can tell."""

    estate: str
    at: float
    seconds: float
    nodes: tuple[Node, ...]
    archiving: Mapping[str, Archiving]  # by the name of a PostgreSQL host that is up
    repository: Repository | None
    outbox: Outbox | None
    disks: Mapping[str, tuple[Disk, ...]] = field(default_factory=dict)  # by host that answered
    clocks: Mapping[str, float] = field(default_factory=dict)  # seconds ahead of ours, by host that answered
    promotions: Mapping[str, Outlook] = field(default_factory=dict)  # by the name of a node whose server answered
    locks: Mapping[str, LockRoom] = field(default_factory=dict)  # by the name of a node whose server answered
    asynchronous: bool = False  # commits wait for nobody, by the inventory's own word
    record: Pages | None = None  # the estate record, as each host that keeps one has it
    jobs: Jobs | None = None  # what the backup host's scheduled jobs have come to
    tdengine: tuple[Server, ...] = ()
    tdengine_outbox: Outbox | None = None  # None also where no TDengine is deployed
    tdengine_backups: tuple[str, ...] | None = None  # labels, oldest first; None where nobody can tell
    certificates: Mapping[str, tuple[Certificate, ...]] = field(default_factory=dict)  # by host that answered
    work: Mapping[str, Mapping[str, Begun]] = field(default_factory=dict)  # by host that answered and by unit
    watches: Mapping[str, str] = field(default_factory=dict)  # systemd's word, by host of the watch that answered
    marks: Marks | None = None  # None also where no timer is declared to take them
    mark_timers: Mapping[str, float] = field(default_factory=dict)  # since when, by the host that takes them
    validations: tuple[Kept, ...] | None = None  # the newest scheduled one of each store; None where nobody can tell
    sqlite: Mapping[str, tuple[sqlite.Glance, ...]] = field(default_factory=dict)  # by application host that answered
    tracker: Mapping[str, str] = field(default_factory=dict)  # revision by PostgreSQL host, "" without one
    tracker_outbox: Outbox | None = None  # None also where the estate has no stock tracker
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def primaries(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.is_primary)

    @property
    def primary(self) -> Node | None:
        """The one that takes writes; None when there is none, or more than one."""
        return self.primaries[0] if len(self.primaries) == 1 else None

    @property
    def outboxes(self) -> Mapping[str, Outbox]:
        """By store, those that answered."""
        found = {POSTGRESQL: self.outbox, TDENGINE: self.tdengine_outbox, TRACKER: self.tracker_outbox}
        return {store: box for store, box in found.items() if box is not None}


def as_json(status: Status) -> dict[str, Any]:
    """The same as JSON values; a node carries its host's name and not how it is reached."""
    plain = asdict(replace(status, nodes=(), tdengine=(), record=None)) | {"record": _record_json(status.record)}
    servers = [_server_json(server) for server in status.tdengine]
    return {**plain, "nodes": [_node_json(node) for node in status.nodes], "tdengine": servers}


def _record_json(seen: Pages | None) -> dict[str, Any] | None:
    """What is known, and from where; `why` where nobody knows."""
    if seen is None:
        return None
    answer = seen.answer
    if isinstance(answer, Unknown):
        return {"answer": "unknown", "why": answer.why}
    kind = "copy" if isinstance(answer, Copy) else "known"
    return {"answer": kind, "from": answer.source, **answer.record.model_dump(mode="json")}


def _server_json(server: Server) -> dict[str, Any]:
    left_out = ("host", "columns")
    values = {name: getattr(server, name) for name in server.__dataclass_fields__ if name not in left_out}
    return {"name": server.name, "role": server.role, **values, "vgroups": [asdict(one) for one in server.vgroups]}


def _node_json(node: Node) -> dict[str, Any]:
    values = {name: getattr(node, name) for name in node.__dataclass_fields__ if name not in ("host", "standbys")}
    known_down = "fenced" if node.fenced else "down"
    role = known_down if node.answer is postgres.Answer.DOWN else node.answer.value
    waits_for = asdict(node.waits_for) if node.waits_for else None
    standbys = [asdict(one) for one in node.standbys]
    return {"name": node.name, "role": role, **values, "waits_for": waits_for, "standbys": standbys}


def look(estate: Estate) -> Status:
    """Everything `./dr status` shows. Takes at most the budget `status.host` and what reaching a host may take.

    Where something that can be reached was too slow for that, or let nobody in, everything is asked once more within
    `status.again`: a busy host is no lost one, and the answers of one moment belong together.
    """
    seen = _look(estate, budget("status.host"))
    if not _was_slow(seen):
        return seen
    again = _look(estate, budget("status.again"))
    return replace(again, seconds=seen.seconds + again.seconds)


def _was_slow(seen: Status) -> bool:
    return (
        SLOW in seen.unknown.values()
        or any(node.slow or node.hangs or _lets_nobody_in(node) for node in seen.nodes)
        or any(server.slow for server in seen.tdengine)
    )


def _lets_nobody_in(node: Node) -> bool:
    """Its door was open, and a login failed all the same: that of a busy host takes longer than SSH may wait for it."""
    return not node.ssh and not node.why.startswith(node.host.no_answer(Door.SILENT))


def _look(estate: Estate, patience: float) -> Status:
    started, at = time.monotonic(), time.time()
    version, stanza = postgres.version(estate), str(estate.data["stanza"])
    pool = ThreadPoolExecutor(8 * len(estate.hosts))
    try:
        nodes = {h: pool.submit(postgres.look, h, version, patience) for h in estate.postgres}
        archivers = {h: _ask(pool, h, lambda h: pgbackrest.archiving(h, timeout=patience)) for h in estate.postgres}
        limit, database = load_recovery().limits.max_promotion_delay_s, str(estate.data["database"])
        outlooks = {
            h: _ask(pool, h, lambda h: promotion.look(h, version, database, limit, patience)) for h in estate.postgres
        }
        rooms = {h: _ask(pool, h, lambda h: locks.look(h, database, patience)) for h in estate.postgres}
        repository = _ask(pool, estate.backup, lambda h: pgbackrest.info(h, stanza, timeout=patience))
        noted = pool.submit(pages, estate)
        scheduled = _ask(pool, estate.backup, lambda h: jobs.look(h, timeout=patience))
        waiting = _ask(pool, estate.app, lambda h: app.outbox(h, timeout=patience))
        servers = {h: pool.submit(tdengine.look, h, patience) for h in tdengine.hosts(estate)}
        ticks = _ask(pool, estate.app, lambda h: app.outbox(h, timeout=patience, settings="agent-tdengine.json"))
        labels = _ask(pool, estate.backup, lambda h: backups.labels(h, timeout=patience))
        full = {h: _ask(pool, h, lambda h: disk.with_clock(h, disk.paths(estate, h), patience)) for h in estate.hosts}
        shown = {
            h: _ask(pool, h, lambda h: certificates.look(h, patience)) for h in (*estate.postgres, estate.backup)
        }
        working = {h: _ask(pool, h, lambda h: at_work(h, patience)) for h in (*estate.postgres, estate.backup)}
        watching = {h: _ask(pool, h, lambda h: watch.word(estate, h, patience)) for h in watch.hosts(estate)}
        validated = _ask(pool, estate.backup, lambda h: validations.look(h, patience))
        taker = marks.taker(estate)
        bound = {estate.backup: _ask(pool, estate.backup, lambda h: marks.look(h, patience))} if taker else {}
        timers = {taker: _ask(pool, taker, lambda h: marks.since(h, patience))} if taker else {}
        trading = {
            h: _ask(pool, h, lambda h: sqlite.glance(h, patience)) for h in estate.group("app") if sqlite.names(estate)
        }
        tracked = {
            h: _ask(pool, h, lambda h: tracker.revision(h, patience) or "")
            for h in (estate.postgres if has_it(estate) else ())
        }
        unsent = {
            h: _ask(pool, h, lambda h: app.outbox(h, timeout=patience, settings=SETTINGS[TRACKER])) for h in
            ([estate.app] if has_it(estate) else ())
        }  # fmt: skip
        everything: list[Future[Any]] = [
            *bound.values(), *timers.values(), *trading.values(), *tracked.values(), *unsent.values(),
            *watching.values(), *shown.values(), *working.values(),
            *nodes.values(), *archivers.values(), *outlooks.values(), *rooms.values(), *full.values(), repository,
            noted, scheduled, waiting, *servers.values(), ticks, labels, validated,
        ]  # fmt: skip
        wait(everything, timeout=patience + _reach_s(estate) + _SLACK_S)
        unknown: dict[str, str] = {}
        return Status(
            estate=estate.name,
            at=at,
            nodes=tuple(_node(host, answer) for host, answer in nodes.items()),
            # A server that is down has told so already.
            archiving={h.name: found for h, answer in archivers.items() if (found := _answer(answer, "", {}))},
            promotions={
                h.name: outlook for h, answer in outlooks.items()
                if (outlook := _answer(answer, f"promotion of {h.name}", unknown))
            },
            locks={h.name: room for h, answer in rooms.items() if (room := _answer(answer, "", {}))},
            disks={h.name: seen[0] for h, answer in full.items() if (seen := _answer(answer, "", {}))},
            clocks={h.name: seen[1] for h, answer in full.items() if (seen := _answer(answer, "", {}))},
            repository=_answer(repository, "repository", unknown),
            outbox=_answer(waiting, "outbox", unknown),
            record=_answer(noted, "record", unknown),
            asynchronous=not estate.least,
            jobs=_answer(scheduled, "jobs", unknown),
            tdengine=tuple(_server(host, answer) for host, answer in servers.items()),
            tdengine_outbox=_answer(ticks, "", {}) if servers else None,
            tdengine_backups=_answer(labels, "", {}) if servers else None,
            certificates={h.name: ends for h, answer in shown.items() if (ends := _answer(answer, "", {}))},
            work={h.name: units for h, answer in working.items() if (units := _work(h, answer, unknown))},
            marks=next((_answer(answer, "marks", unknown) for answer in bound.values()), None),
            mark_timers={
                h.name: said for h, answer in timers.items() if (said := _answer(answer, "", {})) is not None
            },
            validations=_answer(validated, "validation", unknown),
            watches={h.name: word for h, answer in watching.items() if (word := _answer(answer, "", {}))},
            sqlite={
                h.name: ones for h, answer in trading.items() if (ones := _answer(answer, f"SQLite on {h}", unknown))
            },
            # A server that is down has told so already.
            tracker={
                h.name: revision for h, answer in tracked.items() if (revision := _answer(answer, "", {})) is not None
            },
            tracker_outbox=next((_answer(answer, "tracker's outbox", unknown) for answer in unsent.values()), None),
            unknown=unknown,
            seconds=time.monotonic() - started,
        )
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _reach_s(estate: Estate) -> float:
    return budget("ssh.jump" if any(host.entry.ssh_proxy_jump for host in estate.hosts) else "ssh.reach")


def _ask(pool: ThreadPoolExecutor, host: Host, question: Callable[[Host], T]) -> Future[T]:
    """Knock first: a host without power must cost half a second, not a connection's timeout."""

    def asked() -> T:
        if not host.reachable():
            raise Unreachable(f"{host.name} does not answer at {host.dialled}")
        return question(host)

    return pool.submit(asked)


def _node(host: Host, answer: Future[Node]) -> Node:
    return answer.result() if answer.done() else Node(host, ssh=False, slow=True, why=SLOW)


def _server(host: Host, answer: Future[Server]) -> Server:
    return answer.result() if answer.done() else Server(host, ssh=False, slow=True, why=SLOW)


def _work(host: Host, answer: Future[dict[str, Begun]], unknown: dict[str, str]) -> Mapping[str, Begun]:
    """Where a host cannot be reached its own row says so."""
    told: dict[str, str] = {}
    found = _answer(answer, f"work on {host.name}", told)
    if found is None and not isinstance(answer.exception() if answer.done() else None, Unreachable):
        unknown.update(told)
    return found or {}


def _answer(answer: Future[T], part: str, unknown: dict[str, str]) -> T | None:
    if not answer.done():
        unknown[part] = SLOW
        return None
    try:
        return answer.result()
    except TimedOut:
        unknown[part] = SLOW
    except DrError as error:
        unknown[part] = str(error)
    return None
