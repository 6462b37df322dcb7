"""Which backup of TDengine a restore starts from: the newest that is whole and holds what was asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence

from inventories.errors import BadInput, Refused
from runbooks.actions import offsite
from runbooks.hosts import Run
from runbooks.long_work.work import Asker
from runbooks.probes.durations import span
from runbooks.probes.tdengine import backups as td_backups
from runbooks.probes.tdengine.backups import Backup


def choose(
    backups: Sequence[Backup], failed: dict[str, str], label: str, tables: Sequence[str]
) -> tuple[Backup, tuple[tuple[str, str], ...]]:
    """The backup, and (label, why) of those that were passed over, newest first. Raises BadInput, Refused."""
    known = {one.label: one for one in backups}
    if label:
        if label not in known:
            there = ", ".join(known) or "none"
            raise BadInput(f"there is no TDengine backup {label!r}", f"there is {there}")
        if known[label].why:
            raise Refused(f"{label} cannot be restored: {known[label].why}", "leave --label out to take a sound one")
        return known[label], ()
    passed: list[tuple[str, str]] = []
    for one in reversed(backups):
        lacking = [name for name in tables if one.tables and name not in one.tables]
        why = one.why or failed.get(one.label, "") or (f"it has no {', '.join(lacking)}" if lacking else "")
        if not why:
            return one, tuple(passed)
        passed.append((one.label, why))
    if not passed:
        raise Refused("there is no TDengine backup", "./dr backup.run --store tdengine --type full takes one")
    if tables and all(not one.why for one in backups):
        every = sorted({name for one in backups for name in one.tables})
        raise BadInput(f"no TDengine backup holds {' and '.join(tables)}", f"they hold {', '.join(every)}")
    told = "; ".join(f"{name}: {why}" for name, why in passed)
    raise Refused(
        f"none of the TDengine backups can be restored: {told}", "./dr backup.list --store tdengine says more"
    )


def newest_sound(context: Run, label: str, tables: Sequence[str]) -> Backup:
    """The same, asked of the backup host, and said where newer ones were passed over."""
    host = context.estate.backup
    records = td_backups.failed(td_backups.proofs(host))
    known = td_backups.look(host).backups
    fuller, sentence = td_backups.lost(host)
    if fuller and not label:
        context.say(f"WARNING: {sentence}")
        known = since_lost(known, fuller)
    backup, passed = choose(known, records, label, tables)
    for name, why in passed:
        context.say(f"WARNING: {name} is passed over: {why}")
    if label and label in records:
        context.say(f"WARNING: {label}: {records[label]}")
    context.say(
        f"taking {backup.label} ({backup.kind}, {backup.rows:,} rows, begun {span(time.time() - backup.started_at)} "
        f"ago, a chain of {len(backup.chain)})"
    )
    return backup


def since_lost(backups: Sequence[Backup], fuller: str) -> tuple[Backup, ...]:
    """Without those that were taken after rows had gone, as long as `fuller`, which has them, is there."""
    last = next((at for at, one in enumerate(backups) if one.label == fuller), len(backups) - 1)
    return tuple(backups[: last + 1])


def is_lost(context: Run) -> bool:
    """Whether the backup host has no backup and an off-site host may. Raises Refused when nobody has one."""
    if td_backups.labels(context.estate.backup):
        return False
    if not context.estate.groups.get("offsite"):
        raise Refused(
            f"{context.estate.backup} holds no TDengine backup, and the inventory names no off-site host",
            "bring back what holds a copy of them",
        )
    copy = context.estate.group("offsite")[0]
    if not copy.reachable():
        raise Refused(f"{context.estate.backup} holds no TDengine backup, and {copy} does not answer", "bring it back")
    context.say(f"the off-site copy on {copy} is fetched before anything is restored")
    return True


def fetch(context: Run) -> float:
    """Bring the backups back from off-site; when that copy was made (unix seconds)."""
    copy = offsite.restore_tdengine(context.estate.backup, Asker.of(context))
    age = max(0.0, time.time() - copy.made_at)
    context.say(f"the off-site copy is {span(age)} old: what is younger is not in it")
    return copy.made_at
