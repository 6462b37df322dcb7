"""Alarms are told once, kept before they are sent, resolved, escalated, silenced and held back as the rules say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inventories.errors import BadInput, Refused, TargetFailed
from runbooks.alarms import silencing
from runbooks.alarms.held import held
from runbooks.alarms.listing import acknowledge, look
from runbooks.alarms.spool import Spool, open_or_aside
from runbooks.figures import alarms as own
from runbooks.figures.kinds import Sample
from tests.unit.alarms_kit import NOON, Ground, finding, ground

NIGHT = NOON + 12 * 3600


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Ground]:
    with ground(tmp_path) as made:
        yield made


def fire(desk: Ground, at: float = NOON, what: Sample | None = None) -> None:
    """Two looks, as far apart as the rule wants it."""
    desk.see(what or finding(), at=at - 60)
    desk.see(what or finding(), at=at)


def test_one_alarm_reaches_a_mailbox_and_a_webhook_once(desk: Ground) -> None:
    fire(desk)
    desk.see(finding(), at=NOON + 10)
    desk.send(NOON + 10)
    (subject, body), (hooked,) = desk.mailbox.mails[0], desk.hook.got
    assert subject == "[CRITICAL] lab-lab: hosts that take writes: none, promised one" == hooked["title"]
    assert "What to run: ./dr failover" in body and "./dr alarms.ack 1" in body and hooked["type"] == "failure"
    assert len(desk.mailbox.mails) == 1 and desk.waiting == 0
    assert desk.rows()[0]["count"] == 3


def test_what_lasts_too_short_is_told_to_nobody(desk: Ground) -> None:
    desk.see(finding())
    desk.see(at=NOON + 4)
    desk.send(NOON + 4)
    assert desk.rows() == [] and desk.hook.asked == 0


def test_that_it_is_over_is_told_once_and_to_the_same(desk: Ground) -> None:
    fire(desk)
    for after in (10, 45, 50):
        desk.see(at=NOON + after)
    desk.send(NOON + 60)
    assert [title.partition(" ")[0] for title in desk.hook.titles] == ["[CRITICAL]", "[RESOLVED]"]
    assert desk.hook.got[1]["type"] == "success" and "It is over" in desk.hook.got[1]["message"]
    assert len(desk.mailbox.mails) == 2 and desk.paged == ""


def test_what_flaps_is_one_alarm(desk: Ground) -> None:
    fire(desk)
    for after in range(10, 200, 10):
        desk.see(*([finding()] if after % 20 else []), at=NOON + after)
    desk.send(NOON + 200)
    assert len(desk.hook.got) == 1 and len(desk.rows()) == 1


def test_what_comes_back_later_is_another_alarm(desk: Ground) -> None:
    fire(desk)
    desk.see(at=NOON + 10)
    desk.see(at=NOON + 50)
    fire(desk, NOON + 200)
    desk.send(NOON + 200)
    assert len(desk.hook.got) == 3 and [row["resolved_at"] is None for row in desk.rows()] == [False, True]


def test_what_nobody_can_tell_is_not_over(desk: Ground) -> None:
    late = finding("jobs", "job full", "job full: it has not succeeded")
    desk.see(late, at=NOON - 200)
    desk.see(late)
    for after in (100, 200, 300):
        desk.see(at=NOON + after, blind=[("finding", {"part": "jobs"})])
    assert desk.rows()[0]["resolved_at"] is None
    desk.see(at=NOON + 400)
    desk.see(at=NOON + 600)
    assert desk.rows()[0]["resolved_at"] == NOON + 600


def test_a_figure_that_is_missing_was_not_measured(desk: Ground) -> None:
    slow = Sample("plan_kept", 0, {"scenario": "cluster-loss"}, hint="./dr plan")
    desk.see(slow)
    desk.see(at=NOON + 100)
    desk.see(at=NOON + 200)
    assert desk.rows()[0]["resolved_at"] is None
    desk.see(Sample("plan_kept", 1, {"scenario": "cluster-loss"}), at=NOON + 300)
    desk.see(Sample("plan_kept", 1, {"scenario": "cluster-loss"}), at=NOON + 400)
    assert desk.rows()[0]["resolved_at"] == NOON + 400


def test_it_is_escalated_once_to_somebody_else(desk: Ground) -> None:
    fire(desk)
    for after in (599, 600, 700):
        desk.see(finding(), at=NOON + after)
        desk.send(NOON + after)
    assert desk.paged.count("ESCALATED CRITICAL") == 1 and "Nobody has acknowledged it for 10 min" in desk.paged
    assert len(desk.hook.got) == 1
    desk.see(at=NOON + 800)
    desk.see(at=NOON + 900)
    desk.send(NOON + 900)
    assert desk.paged.count("[RESOLVED]") == 1


def test_what_somebody_is_at_is_not_escalated(desk: Ground) -> None:
    fire(desk)
    said = acknowledge(desk.spool, 1, "me@here", "a new disk", False, NOON + 5)
    assert said == "hosts that take writes: none, promised one"
    desk.see(finding(), at=NOON + 3600)
    desk.send(NOON + 3600)
    assert desk.paged == ""
    (shown,) = look(desk.spool, 10, False, NOON + 3600).alarms
    assert (shown["state"], shown["acked_by"], shown["note"]) == ("acknowledged", "me@here", "a new disk")
    with pytest.raises(BadInput, match="no alarm 7 is open"):
        acknowledge(desk.spool, 7, "me", "", False, NOON)


def test_an_alarm_of_what_nobody_measures_any_more_can_be_closed(desk: Ground) -> None:
    fire(desk)
    acknowledge(desk.spool, 1, "me", "", True, NOON)
    assert look(desk.spool, 10, False, NOON).alarms == ()
    assert look(desk.spool, 10, True, NOON).alarms[0]["state"] == "over"


def test_a_silence_ends_and_then_what_is_so_still_is_told(desk: Ground) -> None:
    silencing.begin(desk.spool, desk.desk.alarms, "1h", "me", "a new disk", "", "take writes", NOON - 100)
    fire(desk)
    desk.see(finding(), finding("replication", "commits", "commits: hang"), at=NOON + 30)
    desk.see(finding(), finding("replication", "commits", "commits: hang"), at=NOON + 60)
    desk.send(NOON + 60)
    assert desk.hook.titles == ["[CRITICAL] lab-lab: commits: hang"]
    assert look(desk.spool, 10, False, NOON + 60).alarms[1]["state"] == "silenced"
    desk.see(finding(), at=NOON + 3600)
    desk.send(NOON + 3600)
    assert any("take writes" in title for title in desk.hook.titles)


def test_nobody_hears_of_the_end_of_what_was_silenced(desk: Ground) -> None:
    silence = silencing.begin(desk.spool, desk.desk.alarms, "1h", "me", "a new disk", "writes", "", NOON - 100)
    fire(desk)
    desk.see(at=NOON + 100)
    desk.see(at=NOON + 200)
    silencing.end(desk.spool, silence.id, NOON + 300)
    desk.see(at=NOON + 400)
    desk.send(NOON + 400)
    assert desk.hook.asked == 0
    with pytest.raises(BadInput, match="no silence 1 is in force"):
        silencing.end(desk.spool, 1, NOON + 500)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"length": ""}, "without an end"),
        ({"length": "forever"}, "no length of time"),
        ({"length": "8d"}, "longer than 7 days"),
        ({"reason": " "}, "there is no --reason"),
        ({"owner": ""}, "names nobody"),
        ({"rule": "writs"}, "there is no rule 'writs'"),
    ],
)
def test_a_silence_that_nobody_would_find_again_is_bad_input(desk: Ground, wrong: dict[str, str], says: str) -> None:
    given = {"length": "1h", "owner": "me", "reason": "a disk", "rule": "", "subject": "", **wrong}
    with pytest.raises(BadInput, match=says) as error:
        silencing.begin(desk.spool, desk.desk.alarms, now=NOON, **given)
    assert error.value.hint and silencing.in_force(desk.spool, NOON) == ()


def test_at_night_only_what_is_critical_is_sent(desk: Ground) -> None:
    clock = finding("clocks", "clock of pg1", "clock of pg1: 90 s ahead")
    desk.see(clock, finding(), at=NIGHT)
    desk.see(clock, finding(), at=NIGHT + 400)
    desk.send(NIGHT + 400)
    assert [title.partition(":")[0] for title in desk.hook.titles] == ["[CRITICAL] lab-lab"] and desk.waiting == 2
    desk.send(NIGHT + 8 * 3600)
    assert desk.waiting == 0 and any("clock of pg1" in title for title in desk.hook.titles)


def test_the_worst_rule_that_holds_takes_a_figure(tmp_path: Path) -> None:
    def rule(bound: float, severity: str) -> dict[str, Any]:
        return {"figure": "outbox_rows", "above": bound, "severity": severity, "to": ["operators"]}

    with ground(tmp_path, rules={"full": rule(90, "critical"), "fills": rule(50, "warning")}) as desk:
        for rows, named in ((60, ["fills"]), (95, ["full", "fills"]), (10, ["full", "fills"])):
            seen = desk.see(Sample("outbox_rows", rows, {"store": "postgresql"}), at=NOON + rows)
            assert [one.rule for one in seen.holding] == named[: 0 if rows == 10 else 1]


def test_a_channel_that_was_never_proved_and_one_that_fails_are_alarms(desk: Ground) -> None:
    ways = desk.desk.routes
    for at in (NOON, NOON + 700):
        desk.read(own.reading(desk.spool, ways, at), at=at)
    assert {row["subject"] for row in desk.rows() if row["rule"] == "channel-unproved"} == {"mail", "hook", "pager"}
    desk.hook.status = 500
    for at in (NOON + 700, NOON + 710):
        desk.send(at)
    assert desk.said and "the channel hook fails" in desk.said[0] and "500" in desk.said[0]
    seen = desk.read(own.reading(desk.spool, ways, NOON + 1100), at=NOON + 1100)
    (fails,) = [one for one in seen.holding if one.rule == "channel-fails"]
    assert fails.subject == "hook" and "messages wait for it" in fails.says
    desk.hook.status = 200
    desk.send(NOON + 1200)
    seen = desk.read(own.reading(desk.spool, ways, NOON + 1200), at=NOON + 1200)
    assert "channel-fails" not in {one.rule for one in seen.holding}
    unproved = {one.subject for one in seen.holding if one.rule == "channel-unproved"}
    assert unproved == {"mail", "pager"} - ({"pager"} if desk.paged else set())


def test_two_do_not_alarm_at_once(tmp_path: Path) -> None:
    path, who = tmp_path / "alarms.db", r"process [0-9]+ of this machine"
    with held(path), pytest.raises(Refused, match=who), held(path):
        pass


def test_a_damaged_spool_is_moved_aside_by_who_must_alarm_and_by_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "alarms.db"
    path.write_bytes(b"this is no database at all, and long enough to be taken for one" * 40)
    with pytest.raises(TargetFailed, match="cannot be used"):
        Spool(path)
    spool, said = open_or_aside(path)
    assert "lies aside" in said and spool.rows("select * from alarm") == []
    assert len(list(tmp_path.glob("alarms.db.damaged-*"))) == 1
    assert open_or_aside(path)[1] == ""


def test_a_spool_of_a_later_version_stays_as_it_is(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "alarms.db")
    spool.run("pragma user_version = 9")
    spool.close()
    with pytest.raises(BadInput, match="of a later version"):
        open_or_aside(tmp_path / "alarms.db")


def test_a_look_that_did_not_come_is_told(desk: Ground) -> None:
    assert look(desk.spool, 10, False, NOON).late
    desk.see(at=NOON)
    assert not look(desk.spool, 10, False, NOON + 30).late and look(desk.spool, 10, False, NOON + 90).late
