"""What a door shows of the spool: alarms, channels, silences, and whether anybody looks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from inventories.catalog.alarms import Severity
from inventories.errors import BadInput
from runbooks.alarms import silencing
from runbooks.alarms.spool import Row, Spool, waiting

_LATE_LOOKS = 6  # so many looks that did not come, and nobody looks


@dataclass(frozen=True)
class Listing:
    """As of `at` (unix seconds), as JSON values. `looked_at`: None where nobody ever did; `late`: nobody does now."""

    at: float
    alarms: tuple[dict[str, Any], ...]
    channels: tuple[dict[str, Any], ...]
    silences: tuple[dict[str, Any], ...]
    looked_at: float | None
    late: bool
    unread: tuple[str, ...]

    @property
    def firing(self) -> tuple[dict[str, Any], ...]:
        return tuple(one for one in self.alarms if one["state"] in ("fires", "acknowledged", "silenced"))


def look(spool: Spool, every_s: float, everything: bool, now: float) -> Listing:
    """Open alarms, the worst first; with `everything` also those that are over."""
    silences = silencing.in_force(spool, now)
    open_only = "" if everything else "where resolved_at is null "
    rows = spool.rows(f"select * from alarm {open_only}order by resolved_at is not null, severity desc, id desc")
    of_alarms, of_channels = waiting(spool, "alarm"), waiting(spool, "channel")
    last = spool.rows("select * from look")
    looked = last[0]["at"] if last else None
    return Listing(
        at=now,
        alarms=tuple(_alarm(row, silences, of_alarms.get(row["id"], 0)) for row in rows),
        channels=tuple(
            _channel(row, of_channels.get(row["name"], 0))
            for row in spool.rows("select * from channel order by name")
        ),
        silences=tuple(asdict(one) for one in silences),
        looked_at=looked,
        late=looked is None or now - looked > _LATE_LOOKS * every_s,
        unread=tuple(filter(None, last[0]["unread"].split(","))) if last else (),
    )


def _alarm(row: Row, silences: tuple[silencing.Silence, ...], messages: int) -> dict[str, Any]:
    known = {**dict(row), "severity": Severity(row["severity"]).word, "messages_waiting": messages}
    return {**known, "state": _state(row, silences)}


def _state(row: Row, silences: tuple[silencing.Silence, ...]) -> str:
    if row["resolved_at"] is not None:
        return "over"
    if row["fired_at"] is None:
        return "pending"
    if row["acked_at"] is not None:
        return "acknowledged"
    return "silenced" if any(one.covers(row["rule"], row["subject"]) for one in silences) else "fires"


def _channel(row: Row, messages: int) -> dict[str, Any]:
    return {**{key: value for key, value in dict(row).items() if not key.startswith("code")}, "waiting": messages}


def acknowledge(spool: Spool, number: int, by: str, note: str, close: bool, now: float) -> str:
    """Somebody is at it: nobody else is told. With `close` it is over, for good if it is. Its sentence.

    Raises BadInput for an alarm that does not fire.
    """
    with spool.change():
        found = spool.rows("select * from alarm where id = ? and resolved_at is null", number)
        if not found:
            others = spool.rows("select id from alarm where resolved_at is null")
            raise BadInput(f"no alarm {number} is open", f"open: {', '.join(str(row[0]) for row in others) or 'none'}")
        spool.run(
            "update alarm set acked_at = ?, acked_by = ?, note = ? where id = ?", now, by, note.strip(), number
        )
        if close:
            spool.run("update alarm set resolved_at = ? where id = ?", now, number)
    return str(found[0]["says"])
