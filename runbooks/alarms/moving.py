"""What became of each alarm since the last look, and whom that tells: one transaction, before anything is sent."""

from __future__ import annotations

import json
from dataclasses import dataclass

from inventories.catalog.alarms import Alarms, Rule, Severity
from inventories.catalog.channels import Routes
from runbooks.alarms import quiet, silencing, wording
from runbooks.alarms.evaluating import Condition, Seen, is_over, unread
from runbooks.alarms.spool import Row, Spool


@dataclass(frozen=True)
class Desk:
    """Where alarms are kept, by which rules, and who is told where."""

    estate: str
    spool: Spool
    alarms: Alarms
    routes: Routes


def take(desk: Desk, seen: Seen) -> None:
    """Note what was seen, and put a message for everybody who is to be told into the spool."""
    now, spool = seen.reading.at, desk.spool
    with spool.change():
        open_ones = {(row["rule"], row["subject"]): row for row in _open(spool)}
        for condition in seen.holding:
            _holds(desk, condition, open_ones.pop((condition.rule, condition.subject), None), now)
        for row in open_ones.values():
            if _is_over(desk, seen, row):
                _gone(desk, row, now)
        _tell(desk, now)
        names = ",".join(unread(desk.alarms, seen.reading))
        spool.run("insert or replace into look (only, at, unread) values (1, ?, ?)", now, names)
        spool.run("delete from alarm where resolved_at < ?", now - desk.alarms.keep_days * 86400)


def _open(spool: Spool) -> list[Row]:
    return spool.rows("select * from alarm where resolved_at is null")


def _is_over(desk: Desk, seen: Seen, row: Row) -> bool:
    """A rule that was taken out of the catalogue holds no longer."""
    if row["rule"] not in desk.alarms.rules:
        return True
    return is_over(seen, row["rule"], row["subject"], row["figure"], json.loads(row["labels"]))


def _holds(desk: Desk, condition: Condition, row: Row | None, now: float) -> None:
    rule = desk.alarms.rules[condition.rule]
    if row is None:
        desk.spool.run(
            "insert into alarm (rule, subject, figure, labels, severity, says, hint, first_at, last_at) "
            "values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            condition.rule, condition.subject, rule.figure, json.dumps(dict(condition.labels)), int(rule.level),
            condition.says, condition.hint, now, now,
        )  # fmt: skip
    else:
        desk.spool.run(
            "update alarm set last_at = ?, count = count + 1, gone_at = null, says = ?, hint = ?, severity = ? "
            "where id = ?",
            now, condition.says, condition.hint, int(rule.level), row["id"],
        )  # fmt: skip
    desk.spool.run(
        "update alarm set fired_at = ? where rule = ? and subject = ? and resolved_at is null and fired_at is null "
        "and ? - first_at >= ?",
        now, condition.rule, condition.subject, now, rule.lasts_s,
    )  # fmt: skip


def _gone(desk: Desk, row: Row, now: float) -> None:
    """One that never fired was nothing; one that fired is over when it stayed away."""
    if row["fired_at"] is None:
        desk.spool.run("delete from alarm where id = ?", row["id"])
        return
    rule = desk.alarms.rules.get(row["rule"])
    since = row["gone_at"] if row["gone_at"] is not None else now
    desk.spool.run("update alarm set gone_at = ? where id = ?", since, row["id"])
    if now - since >= (rule.gone_s if rule else 0.0):
        desk.spool.run("update alarm set resolved_at = ? where id = ?", now, row["id"])
        if row["told_at"] is not None:
            _message(desk, row, wording.RESOLVED, _told(desk.spool, row), now)


def _told(spool: Spool, row: Row) -> tuple[str, ...]:
    """On which channels somebody heard of it: on the same ones they hear that it is over."""
    found = spool.rows("select distinct channel from message where alarm = ? order by channel", row["id"])
    return tuple(one["channel"] for one in found)


def _tell(desk: Desk, now: float) -> None:
    """Whoever is not told yet of what fires, unless it is silenced; and after a while somebody else."""
    silences = silencing.in_force(desk.spool, now)
    for row in desk.spool.rows("select * from alarm where fired_at is not null and resolved_at is null"):
        rule = desk.alarms.rules.get(row["rule"])
        if rule is None or any(one.covers(row["rule"], row["subject"]) for one in silences):
            continue
        if row["told_at"] is None:
            _message(desk, row, wording.FIRES, desk.routes.of(rule.to), now)
            desk.spool.run("update alarm set told_at = ? where id = ?", now, row["id"])
        elif _escalates(rule, row, now):
            _message(desk, row, wording.ESCALATED, desk.routes.of(rule.escalate.to if rule.escalate else ()), now)
            desk.spool.run("update alarm set escalated_at = ? where id = ?", now, row["id"])


def _escalates(rule: Rule, row: Row, now: float) -> bool:
    if rule.escalate is None or row["acked_at"] is not None or row["escalated_at"] is not None:
        return False
    return row["gone_at"] is None and now - float(row["told_at"]) >= rule.escalate.after_s


def _message(desk: Desk, row: Row, what: str, channels: tuple[str, ...], now: float) -> None:
    """The same is never told twice on a channel; nothing on one that the inventory does not have any more."""
    title, body = wording.title(desk.estate, what, dict(row)), wording.body(desk.estate, what, dict(row), now)
    at = quiet.due(desk.alarms.quiet, Severity(row["severity"]), now)
    for channel in channels:
        if channel in desk.routes.channels:
            desk.spool.run(
                "insert or ignore into message (alarm, what, channel, title, body, made_at, due_at) "
                "values (?, ?, ?, ?, ?, ?, ?)",
                row["id"], what, channel, title, body, now, at,
            )  # fmt: skip
