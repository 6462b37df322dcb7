"""Whether a channel still delivers: one message on each, and what the other end says of it.

A mail server that took a mail has not delivered it. Such a channel is proved by whoever received the message: it has a
code, and `./dr alarms.test --confirm CODE` says that it arrived.
"""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from inventories.catalog.alarms import Severity
from inventories.catalog.channels import Channel
from inventories.errors import BadInput
from runbooks.alarms.channels import Text, deliver
from runbooks.alarms.moving import Desk
from runbooks.alarms.sending import note_failure, note_success
from runbooks.alarms.spool import know

_LETTERS = "ACDEFHJKMNPRTWXY34679"  # none that is taken for another on a bad screen
_VALID_S = 7 * 86400


@dataclass(frozen=True)
class Proof:
    """What became of a test on one channel: `why` it failed; `waits` for somebody to confirm the code."""

    channel: str
    kind: str
    why: str
    waits: bool

    @property
    def arrived(self) -> bool:
        return not self.why and not self.waits


def test(desk: Desk, only: str, by: str, now: float) -> tuple[Proof, ...]:
    """Send one on every channel, or on `only` one, at the same time. Raises BadInput for one that there is not."""
    if only and only not in desk.routes.channels:
        raise BadInput(f"there is no channel {only!r}", f"there are {', '.join(desk.routes.channels)}")
    chosen = [one for name, one in desk.routes.channels.items() if only in ("", name)]
    codes = {one.name: "".join(secrets.choice(_LETTERS) for _ in range(6)) for one in chosen}
    with desk.spool.change():  # before it is sent: whoever is quick confirms at once
        for one in chosen:
            know(desk.spool, one.name, now)
            desk.spool.run("update channel set code = ?, code_at = ? where name = ?", codes[one.name], now, one.name)
    with ThreadPoolExecutor(len(chosen)) as pool:
        whys = list(pool.map(lambda one: _send(desk, one, codes[one.name], by), chosen))
    with desk.spool.change():
        for one, why in zip(chosen, whys, strict=True):
            if why:
                note_failure(desk.spool, one, why, now)
            else:
                note_success(desk.spool, one, now)
    return tuple(
        Proof(one.name, one.kind.value, why, not why and not one.proves) for one, why in zip(chosen, whys, strict=True)
    )


def _send(desk: Desk, channel: Channel, code: str, by: str) -> str:
    lines = [f"A test of the channel {channel.name}, asked for by {by}. Nothing is wrong."]
    if not channel.proves:
        lines.append(f"Please confirm that it arrived: ./dr alarms.test --confirm {code}")
    text = Text(f"[TEST] {desk.estate}: code {code}", "\n".join(lines), Severity.INFO)
    return deliver(channel, text, desk.alarms.sending.try_s)


def confirm(desk: Desk, code: str, now: float) -> str:
    """The channel whose message had this code is proved. Raises BadInput for a code that no message had."""
    wanted = code.strip().upper()
    with desk.spool.change():
        found = desk.spool.value("select name from channel where code = ? and code_at > ?", wanted, now - _VALID_S)
        if not wanted or found is None:
            raise BadInput(
                f"no message of the last 7 days had the code {code!r}", "./dr alarms.test sends a new one"
            )
        desk.spool.run("update channel set proved_at = ?, code = '' where name = ?", now, found)
    return str(found)
