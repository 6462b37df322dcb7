"""The running count over ledger events: the same fold serves the live ledger and one read back from disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from drills.measuring.events import Acked, By, Clock, Ended, Event, Malformed, Started, Stopped, StoreDown, StoreUp
from drills.measuring.ranges import Range, RangeSet


class Writing(StrEnum):
    """Where the feed's rows go at the moment."""

    NOWHERE = "nowhere"
    STORE = "store"
    OUTBOX = "outbox"


class Feed(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    DIED = "died"


@dataclass(frozen=True, slots=True)
class StoreAck:
    at: float
    host: str
    timeline: int


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What is on disk so far. Times are monotonic seconds; counts are rows, each row counted once."""

    run: int | None = None
    tables: tuple[str, ...] = ()
    acked: int = 0
    by_store: int = 0
    by_outbox: int = 0
    replayed: int = 0
    last_store_ack: StoreAck | None = None
    last_ack_at: float | None = None
    writing: Writing = Writing.NOWHERE
    outages: int = 0  # how often the feed turned to its outbox
    store_down_why: str = ""
    feed: Feed = Feed.RUNNING
    outbox_pending: int | None = None  # known once the feed has stopped
    malformed: int = 0
    first_malformed: str = ""

    @property
    def awaiting_replay(self) -> int:
        """Rows that the outbox acknowledged and the store has not taken yet, as far as the feed has said."""
        return max(self.by_outbox - self.replayed, 0)


@dataclass
class Tally:
    view: LedgerView = LedgerView()
    torn: bool = False  # the last line could not be read, which is how a feed ends whose host dies
    acked: dict[str, RangeSet] = field(default_factory=dict)
    replayed: dict[str, RangeSet] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        self.view = self._after(event)
        self.torn = isinstance(event, Malformed) or (self.torn and isinstance(event, Ended))

    def again(self) -> None:
        """The feed that died is started again in the same run; the line that its death cut off is no trouble."""
        unread = self.view.malformed - self.torn
        first = self.view.first_malformed if unread else ""
        self.view = replace(self.view, feed=Feed.RUNNING, malformed=unread, first_malformed=first)
        self.torn = False

    def _after(self, event: Event) -> LedgerView:
        view = self.view
        match event:
            case Acked(by=By.REPLAYED):
                fresh = _add(self.replayed, event.rows)
                return replace(view, replayed=view.replayed + fresh, last_store_ack=_store_ack(event))
            case Acked():
                return self._acknowledged(event)
            case Started():
                if view.feed is Feed.DIED:
                    self.again()
                return replace(self.view, run=event.run, tables=event.tables)
            case StoreDown():
                return replace(_to_outbox(view), store_down_why=event.why)
            case StoreUp():
                return replace(view, writing=Writing.STORE, store_down_why="")
            case Stopped():
                return replace(view, feed=Feed.STOPPED, outbox_pending=event.outbox_pending)
            case Malformed():
                first = view.first_malformed or f"{event.why}: {event.text[:120]}"
                return replace(view, malformed=view.malformed + 1, first_malformed=first)
            case Ended():
                return view if view.feed is Feed.STOPPED else replace(view, feed=Feed.DIED)
            case Clock():
                return view

    def _acknowledged(self, event: Acked) -> LedgerView:
        view, fresh = self.view, _add(self.acked, event.rows)
        counted = replace(view, acked=view.acked + fresh, last_ack_at=event.at)
        if event.by is By.OUTBOX:
            return replace(_to_outbox(counted), by_outbox=view.by_outbox + fresh)
        return replace(
            counted,
            by_store=view.by_store + fresh,
            writing=Writing.STORE,
            last_store_ack=_store_ack(event),
        )


def _to_outbox(view: LedgerView) -> LedgerView:
    turned = view.writing is not Writing.OUTBOX
    return replace(view, writing=Writing.OUTBOX, outages=view.outages + turned)


def tally(events: Iterable[Event]) -> Tally:
    counted = Tally()
    for event in events:
        counted.take(event)
    return counted


def _add(kept: dict[str, RangeSet], rows: Mapping[str, Range]) -> int:
    return sum(kept.setdefault(table, RangeSet()).add(*pair) for table, pair in rows.items())


def _store_ack(event: Acked) -> StoreAck:
    assert event.host is not None and event.timeline is not None  # the parser saw to it
    return StoreAck(event.at, event.host, event.timeline)
