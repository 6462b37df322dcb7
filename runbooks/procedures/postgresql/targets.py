"""Where a restore is to stop: what the operator typed, checked, and the backup that it starts from.

Exclusive unless asked otherwise: the commit, record or moment that is named is the first that is NOT there, which is
what somebody wants who names the bad statement. A restore point lies between records, so it means nothing to that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from inventories.errors import BadInput, Refused
from runbooks.probes.postgresql.archive import Archive, Covered
from runbooks.probes.postgresql.server import as_lsn, lsn

Kind = Literal["time", "lsn", "xid", "name"]
EXAMPLE = '--to-time "2026-11-21 10:00:00+08"'
# The backup host notes when a backup ended, the primary when a commit was: two clocks.
CLOCKS_AGREE_S = 1.0
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?) ?(\S+)?")
_OFFSET = re.compile(r"([+-])(\d\d)(?::?(\d\d))?")
_LSN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")
_NAME_BYTES = 63  # as PostgreSQL counts them
_XIDS = 1 << 64


class Target(BaseModel):
    """`value`: time as UTC with zone, LSN, transaction id (all 64 bits) or restore point, as PostgreSQL reads it."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    value: str
    inclusive: bool = False

    @property
    def at(self) -> datetime | None:
        return datetime.fromisoformat(self.value) if self.kind == "time" else None

    @property
    def position(self) -> int | None:
        return lsn(self.value) if self.kind == "lsn" else None

    def __str__(self) -> str:
        if self.kind == "name":
            return f"restore point {self.value}"
        what = {"time": "time", "lsn": "LSN", "xid": "transaction"}[self.kind]
        return f"{what} {self.value}, {'that included' if self.inclusive else 'that excluded'}"


def parse(
    *, to_time: str = "", to_lsn: str = "", to_xid: str = "", to_name: str = "", inclusive: bool = False
) -> Target:
    """The one target that was given. Raises BadInput for none, for two, and for what cannot be one."""
    given: dict[Kind, str] = {"time": to_time, "lsn": to_lsn, "xid": to_xid, "name": to_name}
    chosen: list[tuple[Kind, str]] = [(kind, value.strip()) for kind, value in given.items() if value.strip()]
    if not chosen:
        raise BadInput("no target was given", f"one of {EXAMPLE}, --to-lsn 0/3000060, --to-xid 743, --to-name NAME")
    if len(chosen) > 1:
        raise BadInput(
            f"two targets were given: {' and '.join(f'--to-{kind} {value}' for kind, value in chosen)}", "give one"
        )
    kind, value = chosen[0]
    return Target(kind=kind, value=_READ[kind](value), inclusive=inclusive and kind != "name")


def moment(text: str) -> datetime:
    """A time with its zone, as UTC. Raises BadInput: without a zone it is another moment on every machine."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise BadInput(f"{text!r} is no time", f"write it like {EXAMPLE}")
    day, clock, zone = match.groups()
    if not zone:
        raise BadInput(
            f"{text!r} has no time zone, so it is another moment on every machine",
            f"add the zone: {EXAMPLE}, or Z for UTC, or a name such as Asia/Shanghai",
        )
    digits = clock if clock.count(":") == 2 else f"{clock}:00"
    whole, _, fraction = digits.partition(".")
    try:
        bare = datetime.fromisoformat(f"{day}T{whole}.{fraction:0<6}")
    except ValueError as error:
        raise BadInput(f"{text!r} is no time: {error}", f"write it like {EXAMPLE}") from error
    try:
        return _in_zone(bare, zone, text)
    except OverflowError as error:
        raise BadInput(f"{text!r} is no time that there is in UTC", f"write it like {EXAMPLE}") from error


def _in_zone(bare: datetime, zone: str, text: str) -> datetime:
    if zone.upper() in ("Z", "UTC"):
        return bare.replace(tzinfo=UTC)
    offset = _OFFSET.fullmatch(zone)
    if offset:
        sign, hours, minutes = offset.groups()
        away = timedelta(hours=int(hours), minutes=int(minutes or 0))
        if away > timedelta(hours=15):
            raise BadInput(f"{text!r}: no zone is {zone} from UTC", f"write it like {EXAMPLE}")
        return (bare - away if sign == "+" else bare + away).replace(tzinfo=UTC)
    try:
        local = ZoneInfo(zone)
    except (ValueError, OSError, LookupError) as error:
        raise BadInput(f"{text!r}: {zone!r} is no time zone", f"write it like {EXAMPLE}") from error
    early, late = (bare.replace(tzinfo=local, fold=fold).astimezone(UTC) for fold in (0, 1))
    if early != late:
        raise BadInput(
            f"{text!r} is no single moment: clocks in {zone} were set about then",
            f"say which one with its offset: {EXAMPLE}",
        )
    return early


def _time(text: str) -> str:
    return moment(text).isoformat(sep=" ", timespec="microseconds")


def _lsn_text(text: str) -> str:
    if not _LSN.fullmatch(text):
        raise BadInput(f"{text!r} is no LSN", "as PostgreSQL writes it: --to-lsn 0/3000060")
    return text.upper()


def _xid(text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,20}", text) or not 3 <= int(text) < _XIDS:
        raise BadInput(f"{text!r} is no transaction id", "a number from 3 on, as pg_current_xact_id() gives it")
    return str(int(text))


def _restore_point(text: str) -> str:
    if len(text.encode()) > _NAME_BYTES or not text.isprintable():
        raise BadInput(f"{text!r} is no name of a restore point", "1 to 63 bytes, in one line")
    return text


_READ = {"time": _time, "lsn": _lsn_text, "xid": _xid, "name": _restore_point}


@dataclass(frozen=True)
class Choice:
    """The backup to start from. `skipped`: newer ones that would have been nearer, each with the reason."""

    backup: Covered
    skipped: tuple[str, ...] = ()


def choose(
    target: Target, archive: Archive, timeline: int, unsound: Mapping[str, str], *, located: int | None = None,
    wanted: str = "",
) -> Choice:  # fmt: skip
    """The newest sound backup that ended before the target, and from which WAL leads to it.

    `timeline` is the one that recovery follows, `unsound` label -> why a backup may not be used, `located` where a
    transaction or a restore point lies, `wanted` the label that the operator insists on. Raises BadInput for a label
    that is none, Refused when no backup will do.
    """
    _require_known(archive, wanted)
    skipped: list[str] = []
    # By the WAL: what the clock said when one was taken may have been wrong.
    newest_first = sorted(archive.backups, key=lambda backup: (backup.timeline, backup.stop_lsn), reverse=True)
    for backup in newest_first:
        if (wanted and backup.label != wanted) or not _ended_before(target, backup, located):
            continue
        why = _why_not(target, backup, timeline, unsound, located)
        if not why:
            return Choice(backup, tuple(skipped))
        skipped.append(f"{backup.label}: {why}")
    raise _none(target, newest_first, skipped, wanted, located)


def _require_known(archive: Archive, wanted: str) -> None:
    labels = [backup.label for backup in archive.backups]
    if not labels:
        raise Refused("the repository holds no backup", "./dr backup.run --type full takes one")
    if wanted and wanted not in labels:
        raise BadInput(f"the repository holds no backup {wanted!r}", f"it holds {', '.join(labels)}")


def _ended_before(target: Target, backup: Covered, located: int | None) -> bool:
    position = target.position if located is None else located
    if position is not None:
        return backup.stop_lsn <= position
    assert target.at is not None, "a transaction or a restore point must be located first"
    return backup.stopped_at + CLOCKS_AGREE_S <= target.at.timestamp()


def _why_not(
    target: Target, backup: Covered, timeline: int, unsound: Mapping[str, str], located: int | None
) -> str:
    if backup.label in unsound:
        return unsound[backup.label]
    if backup.error:
        return "pgBackRest met damaged pages when it took it"
    if backup.missing:
        return str(backup.missing[0])
    reach = backup.reach.get(timeline)
    if reach is None:
        return f"it is of timeline {backup.timeline}, which does not lead to timeline {timeline}"
    position = target.position if located is None else located
    if position is not None and position >= reach.end:
        return f"its WAL is whole up to {reach.segment} only, {as_lsn(reach.end)}"
    return ""


def _none(
    target: Target, newest_first: Sequence[Covered], skipped: Sequence[str], wanted: str, located: int | None
) -> Refused:
    if skipped:
        return Refused(
            f"no backup leads to {target}: {'; '.join(skipped)}",
            "./dr backup.list shows what is covered, and every gap",
        )
    inside = next((one for one in newest_first if wanted in ("", one.label) and _is_inside(target, one, located)), None)
    if inside is not None:
        return _taken_then(target, inside, wanted)
    oldest = newest_first[-1] if not wanted else next(one for one in newest_first if one.label == wanted)
    ended = datetime.fromtimestamp(oldest.stopped_at, UTC)
    which = f"backup {wanted}" if wanted else f"the oldest backup, {oldest.label},"
    return Refused(
        f"{target} lies before anything that can be restored: {which} is whole from {ended:%Y-%m-%d %H:%M:%S+00} on, "
        f"LSN {as_lsn(oldest.stop_lsn)}",
        "choose a later target; ./dr backup.list shows what is covered",
    )


def _is_inside(target: Target, backup: Covered, located: int | None) -> bool:
    """Whether it lies in the WAL that was written while the backup was taken."""
    position = target.position if located is None else located
    if position is not None:
        return backup.start_lsn <= position < backup.stop_lsn
    assert target.at is not None
    return backup.started_at <= target.at.timestamp() < backup.stopped_at + CLOCKS_AGREE_S


def _taken_then(target: Target, backup: Covered, wanted: str) -> Refused:
    ended = datetime.fromtimestamp(backup.stopped_at, UTC)
    return Refused(
        f"{target} lies inside backup {backup.label}'s own WAL, LSN {as_lsn(backup.start_lsn)} to "
        f"{as_lsn(backup.stop_lsn)}: it is whole from its end on, {ended:%Y-%m-%d %H:%M:%S+00}, and no sooner",
        "leave --set out: an older one may lead there" if wanted else "no older one leads there: choose a later target",
    )
