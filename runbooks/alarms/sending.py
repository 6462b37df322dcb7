"""Empty the spool: a thread for each channel, so that one that hangs keeps no other waiting; nothing is given up.

A message is sent at least once. It is sent twice only where this process, or this host, ended between the moment in
which the other end took it and the next commit here; it then says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from inventories.catalog.alarms import Sending, Severity
from inventories.catalog.channels import Channel, Routes
from runbooks.alarms import wording
from runbooks.alarms.channels import Text, deliver
from runbooks.alarms.spool import Row, Spool, know

_AGAIN = "(Sent again: the first attempt was interrupted, and may have arrived.)"
_MOST_DOUBLINGS = 20
# What waits on a channel, the oldest first; of one alarm nothing overtakes what was said of it before.
_NEXT = """
select message.*, alarm.severity as severity from message join alarm on alarm.id = message.alarm
where message.channel = ? and sent_at is null and due_at <= ? and (began_at is null or began_at <= ?)
  and not exists (select 1 from message earlier where earlier.alarm = message.alarm and earlier.sent_at is null
                  and earlier.channel = message.channel and earlier.id < message.id)
order by due_at, message.id limit 1
"""


class Sender:
    """`say` hears of a channel that fails from now on."""

    def __init__(
        self, path: Path, sending: Sending, routes: Routes, say: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._path, self._sending, self._routes, self._say, self._clock = path, sending, routes, say, clock
        self._threads: dict[str, threading.Thread] = {}

    def start(self) -> None:
        """Begin to empty every channel on which something is due, and wait for none; one that is at it goes on."""
        for name, channel in self._routes.channels.items():
            running = self._threads.get(name)
            if running is None or not running.is_alive():
                self._threads[name] = threading.Thread(
                    target=self._empty, args=(channel,), name=f"channel {name}", daemon=True
                )
                self._threads[name].start()

    def wait(self, seconds: float) -> bool:
        """Whether every channel is through with what was due."""
        ends = time.monotonic() + seconds
        for thread in self._threads.values():
            thread.join(max(0.0, ends - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads.values())

    def _empty(self, channel: Channel) -> None:
        try:
            spool = Spool(self._path)
            try:
                while self._one(spool, channel):
                    pass
            finally:
                spool.close()
        except Exception as error:  # the next look tries again; whoever reads the journal is told
            self._say(f"WARNING: the channel {channel.name} was not served: {error}")

    def _one(self, spool: Spool, channel: Channel) -> bool:
        """Send what is due first; False where nothing is, or the channel took nothing."""
        now = self._clock()
        claimed = self._claim(spool, channel, now)
        if claimed is None:
            return False
        body = f"{claimed['body']}\n{_AGAIN}" if claimed["began_at"] is not None else claimed["body"]
        over = claimed["what"] == wording.RESOLVED
        text = Text(claimed["title"], body, Severity(claimed["severity"]), over)
        why = deliver(channel, text, self._sending.try_s)
        with spool.change():
            if why:
                self._failed(spool, channel, claimed, why)
            else:
                sent = "update message set sent_at = ?, error = '' where id = ?"
                spool.run(sent, self._clock(), claimed["id"])
                note_success(spool, channel, self._clock())
        return not why

    def _claim(self, spool: Spool, channel: Channel, now: float) -> Row | None:
        """The message is this process's own for as long as an attempt may take."""
        with spool.change():
            found = spool.rows(_NEXT, channel.name, now, now - 3 * self._sending.try_s)
            if found:
                spool.run("update message set began_at = ?, tries = tries + 1 where id = ?", now, found[0]["id"])
        return found[0] if found else None

    def _failed(self, spool: Spool, channel: Channel, message: Row, why: str) -> None:
        now = self._clock()
        wait = min(self._sending.most_s, self._sending.first_s * 2 ** min(message["tries"], _MOST_DOUBLINGS))
        spool.run(
            "update message set began_at = null, due_at = ?, error = ? where id = ?", now + wait, why, message["id"]
        )
        if note_failure(spool, channel, why, now):
            self._say(f"WARNING: the channel {channel.name} fails: {why}")


def note_success(spool: Spool, channel: Channel, now: float) -> None:
    """Of a message that was taken, which proves some channels."""
    know(spool, channel.name, now)
    spool.run("update channel set ok_at = ?, failing_since = null, error = '' where name = ?", now, channel.name)
    if channel.proves:
        spool.run("update channel set proved_at = ? where name = ?", now, channel.name)


def note_failure(spool: Spool, channel: Channel, why: str, now: float) -> bool:
    """Whether it worked until now."""
    know(spool, channel.name, now)
    known = spool.value("select failing_since from channel where name = ?", channel.name)
    spool.run(
        "update channel set failing_since = coalesce(failing_since, ?), error = ? where name = ?",
        now, why, channel.name,
    )  # fmt: skip
    return known is None
