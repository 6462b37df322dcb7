"""Where a recovery is to stop: checked before anything is restored, and written as PostgreSQL's settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone

from agents.base.errors import AgentError
from agents.postgresql.pgbackrest import Backup
from agents.postgresql.wal.archive_map import lsn as position

KINDS = ("immediate", "time", "lsn", "xid", "name", "latest")
_ZONED = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?) ?(Z|UTC|[+-]\d\d(?::?\d\d)?)", re.IGNORECASE
)


class BadTarget(AgentError):  # noqa: N818 - named after what is wrong, as in the rest of the repository
    """The target cannot be one, whatever the repository holds."""

    exit_code = 2


@dataclass(frozen=True)
class Target:
    """`kind` is one of KINDS; `timeline` is latest, current or a number.

    Exclusive unless `inclusive`: the commit, record or moment that is named is the first that is NOT there. A restore
    point and `immediate` are points between records, so it means nothing to them.
    """

    kind: str
    value: str = ""
    inclusive: bool = False
    timeline: str = "latest"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadTarget(f"{self.kind!r} is no kind of target.", f"One of {', '.join(KINDS)}.")
        if self.kind in ("immediate", "latest"):
            if self.value:
                raise BadTarget(f"--type {self.kind} takes no --target.", "Leave --target out.")
        elif not self.value:
            raise BadTarget(f"--type {self.kind} needs --target.", "Say where recovery is to stop.")
        if self.kind == "time":
            moment(self.value)
        patterns = {"lsn": r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}", "xid": r"\d{1,20}", "name": r"[^'\n\\]{1,63}"}
        if self.kind in patterns and not re.fullmatch(patterns[self.kind], self.value):
            raise BadTarget(f"{self.value!r} is no {self.kind}.", _HINTS[self.kind])
        if self.timeline not in ("latest", "current") and not re.fullmatch(r"[1-9]\d{0,9}", self.timeline):
            raise BadTarget(f"{self.timeline!r} is no timeline.", "latest, current or a number.")

    def settings(self) -> dict[str, str]:
        """PostgreSQL's recovery_target settings, name -> value."""
        chosen = {"recovery_target_timeline": self.timeline, "recovery_target_action": "pause"}
        if self.kind == "latest":
            return chosen
        if self.kind == "immediate":
            return {**chosen, "recovery_target": "immediate"}
        # PostgreSQL reads its settings before it knows any name of a zone, Z included.
        value = f"{moment(self.value).astimezone(timezone.utc):%Y-%m-%d %H:%M:%S.%f}+00" if self.kind == "time" else ""
        chosen[f"recovery_target_{self.kind}"] = value or self.value
        if self.kind != "name":
            chosen["recovery_target_inclusive"] = "on" if self.inclusive else "off"
        return chosen

    def starts_from(self, backups: tuple[Backup, ...]) -> Backup | None:
        """The newest backup without page errors that had ended before the target; None when there is none.

        For a transaction or a restore point nobody can know: the newest backup.
        """
        sound = [one for one in backups if not one.error]
        if self.kind == "time":
            at = moment(self.value).timestamp()
            sound = [one for one in sound if one.stopped_at < at]
        elif self.kind == "lsn":
            sound = [one for one in sound if position(one.lsn_stop) <= position(self.value)]
        return sound[-1] if sound else None

    def __str__(self) -> str:
        if not self.value:
            return {"immediate": "the end of the backup", "latest": "the end of the archive"}[self.kind]
        side = "" if self.kind == "name" else " (inclusive)" if self.inclusive else " (exclusive)"
        return f"{_NAMES[self.kind]} {self.value}{side}"


_NAMES = {"time": "time", "lsn": "LSN", "xid": "transaction", "name": "restore point"}
_HINTS = {
    "lsn": "As PostgreSQL writes it: 0/3000060.",
    "xid": "A transaction id is a number.",
    "name": "At most 63 characters, no quote, backslash or line break.",
}


def moment(text: str) -> datetime:
    """A time with its zone. Raises BadTarget: without a zone it means another moment on every host."""
    match = _ZONED.fullmatch(text.strip())
    if not match:
        raise BadTarget(
            f"{text!r} is no time with a zone.", 'Write it as "2026-11-21 10:00:00+08" or "2026-11-21 02:00:00Z".'
        )
    day, clock, zone = match.groups()
    clock = clock + ":00" if clock.count(":") == 1 else clock
    digits = zone[1:].replace(":", "") if zone[0] in "+-" else ""
    offset = f"{zone[0]}{digits[:2]}:{digits[2:] or '00'}" if digits else "+00:00"
    if "." in clock:  # Python 3.10 takes three or six digits only
        whole, _, fraction = clock.partition(".")
        clock = f"{whole}.{fraction:0<6}"
    try:
        return datetime.fromisoformat(f"{day}T{clock}{offset}")
    except ValueError as error:
        raise BadTarget(f"{text!r} is no time: {error}.", "Correct the date.") from error
