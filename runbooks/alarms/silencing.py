"""Maintenance windows: alarms that nobody is told of for a while. Each has an end, an owner and a reason."""

from __future__ import annotations

from dataclasses import dataclass

from inventories.catalog.alarms import Alarms
from inventories.errors import BadInput
from runbooks.alarms.spool import Row, Spool
from runbooks.watch.maintenance import seconds

_HOW = './dr silence --for 2h --reason "a new disk in pg1"'


@dataclass(frozen=True)
class Silence:
    """Of one rule, or of every one where `rule` is empty; about whatever has `subject` in it. Unix seconds."""

    id: int
    rule: str
    subject: str
    began_at: float
    until: float
    owner: str
    reason: str

    def covers(self, rule: str, subject: str) -> bool:
        return self.rule in ("", rule) and self.subject in subject


def begin(
    spool: Spool, alarms: Alarms, length: str, owner: str, reason: str, rule: str, subject: str, now: float
) -> Silence:  # fmt: skip
    """Raises BadInput for one without an end, an owner or a reason, and for a rule that there is not."""
    if not length:
        raise BadInput("a silence without an end is one that somebody forgets, and no alarm would arrive again", _HOW)
    if not reason.strip():
        raise BadInput("whoever wonders why nothing arrives needs to read why, and there is no --reason", _HOW)
    if not owner.strip():
        raise BadInput("a silence belongs to somebody, and --owner names nobody", _HOW)
    if rule and rule not in alarms.rules:
        raise BadInput(f"there is no rule {rule!r}", f"the rules are {', '.join(alarms.rules)}")
    until = now + seconds(length)
    with spool.change():
        spool.run(
            "insert into silence (rule, subject, began_at, until, owner, reason) values (?, ?, ?, ?, ?, ?)",
            rule, subject, now, until, owner.strip(), reason.strip(),
        )  # fmt: skip
        number = int(spool.value("select last_insert_rowid()"))
    return Silence(number, rule, subject, now, until, owner.strip(), reason.strip())


def end(spool: Spool, number: int, now: float) -> None:
    """Raises BadInput where no such silence is in force."""
    with spool.change():
        ended = spool.run(
            "update silence set ended_at = ? where id = ? and ended_at is null and until > ?", now, number, now
        )
    if not ended:
        there = ", ".join(str(one.id) for one in in_force(spool, now)) or "none"
        raise BadInput(f"no silence {number} is in force", f"in force: {there}")


def in_force(spool: Spool, now: float) -> tuple[Silence, ...]:
    """A clock that went back ends none early and begins none late."""
    found = spool.rows("select * from silence where ended_at is null and until > ? order by id", now)
    return tuple(map(_silence, found))


def _silence(row: Row) -> Silence:
    return Silence(
        row["id"], row["rule"], row["subject"], row["began_at"], row["until"], row["owner"], row["reason"]
    )
