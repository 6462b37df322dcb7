"""The figures of the alarms themselves: what fires, what waits, and which channel nobody has proved for long."""

from __future__ import annotations

from collections.abc import Iterator

from inventories.catalog.alarms import Severity
from inventories.catalog.channels import Routes
from runbooks.alarms.spool import Row, Spool, know, waiting
from runbooks.figures.kinds import Reading, Sample
from runbooks.figures.names import OF_ALARMS
from runbooks.judge.objectives import duration

_TEST = "./dr alarms.test sends one on every channel and says what became of it"


def reading(spool: Spool, routes: Routes, now: float) -> Reading:
    """Of the channels that the inventory has. A channel that was never used is known from now on."""
    with spool.change():
        for name in routes.channels:
            know(spool, name, now)
    return Reading(now, tuple(_samples(spool, routes, now)), OF_ALARMS)


def _samples(spool: Spool, routes: Routes, now: float) -> Iterator[Sample]:
    firing = {row[0]: row[1] for row in spool.rows(
        "select severity, count(*) from alarm where fired_at is not null and resolved_at is null group by severity"
    )}  # fmt: skip
    for severity in Severity:
        yield Sample("alarms_firing", firing.get(int(severity), 0), {"severity": severity.word})
    messages = waiting(spool, "channel")
    for row in spool.rows("select * from channel order by name"):
        if row["name"] in routes.channels:
            yield from _channel(row, messages.get(row["name"], 0), now)


def _channel(row: Row, messages: int, now: float) -> Iterator[Sample]:
    labels = {"channel": row["name"]}
    yield Sample("alarm_messages_waiting", messages, labels)
    if row["failing_since"] is not None:
        says = f"The channel {row['name']} fails: {row['error']}; {messages} messages wait for it"
        yield Sample("alarm_channel_failing_since_timestamp_seconds", row["failing_since"], labels, says, _TEST)
    proved = row["proved_at"]
    when = f"was last proved {duration(max(0.0, now - proved))} ago" if proved else "was never proved"
    says = f"That a message on the channel {row['name']} arrives {when}"
    yield Sample("alarm_channel_proved_timestamp_seconds", proved or 0.0, labels, says, _TEST)
