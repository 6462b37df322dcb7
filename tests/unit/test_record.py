"""What the record says, where it is read, and how it is kept before and after a transition."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.guard import record as program
from inventories.errors import Refused, TargetFailed
from inventories.quorum import DECLARED_ASYNCHRONOUS
from runbooks.acting import acting, while_held
from runbooks.engine.context import Context, Options
from runbooks.engine.lock import LockLost, Owner, held, lock_path
from runbooks.engine.wait import until
from runbooks.hosts import Host, Ran
from runbooks.probes.postgresql import server
from runbooks.probes.postgresql.server import Node, Standby
from runbooks.procedures.postgresql import electing, failover
from runbooks.record import keep
from runbooks.record.arbiter import Conflict, FileOn
from runbooks.record.breaking import break_lock
from runbooks.record.keep import Keeper, Truth
from runbooks.record.lock import RecordLock, take
from runbooks.record.read import of_system
from runbooks.record.settle import Settled, require_fitting, settle
from runbooks.record.types import Change, Copy, Known, Mode, Unknown, sum_of
from tests.unit.record_kit import ESTATE, SYSTEM, Desk, a_record
from tests.unit.record_kit import desk as desk

ARBITER = FileOn(ESTATE.backup)


def acts(desk: Desk, owner: Owner | None = None) -> Owner:
    mine = owner or desk.owner()
    take(ARBITER, mine, desk.heard.append)
    return mine


def written(desk: Desk, name: str) -> dict[str, Any]:
    return dict(json.loads(desk.document(name).read_text())["record"])


# ---- reading


def test_the_arbiters_record_is_known_and_its_sum_is_the_same_on_both_sides(desk: Desk) -> None:
    desk.everywhere(a_record())
    answer = desk.answer
    assert isinstance(answer, Known) and answer.record == a_record() and answer.at == "backup1"
    plain = a_record().model_dump(mode="json")
    assert sum_of(plain) == program.sum_of(plain)


def test_without_any_record_nothing_is_known_and_deploy_writes_it(desk: Desk) -> None:
    answer = desk.answer
    assert isinstance(answer, Unknown) and answer.absent and "./dr deploy" in answer.hint


def _edited(**changes: Any) -> Callable[[dict[str, Any]], str]:
    return lambda document: json.dumps({**document, **changes})


def _acting(**changes: Any) -> Callable[[dict[str, Any]], str]:
    return lambda document: json.dumps({**document, "acting": {**document["acting"], **changes}})


def _record(**changes: Any) -> Callable[[dict[str, Any]], str]:
    """By somebody who makes the sum fit, too."""

    def edit(document: dict[str, Any]) -> str:
        there = {**document["record"], **changes}
        return json.dumps({**document, "record": there, "sum": program.sum_of(there)})

    return edit


NOT_BELIEVED: list[Callable[[dict[str, Any]], str]] = [
    lambda _: "", lambda _: "\n", lambda _: "null", lambda _: "[]", lambda _: "{ nope", lambda _: "[" * 100_000,
    _edited(extra=1), _edited(schema=3), _edited(schema="1"), _edited(schema=True), _edited(record=7), _edited(sum=""),
    _edited(acting="me"), _edited(acting={"token": "x"}), _acting(owner=None), _acting(pid="7"), _acting(token=""),
    _acting(beat_ticks="long ago"), _acting(since=None),
    _record(colour="red"), _record(primary=""), _record(mode="odd"), _record(synchronous=[]), _record(timeline="2"),
    _record(synchronous=[""]), _record(changing={"to": "pg2"}), _record(based_on={"revision": 1, "sum": 2}),
]  # fmt: skip


@pytest.mark.parametrize("edit", NOT_BELIEVED)
def test_what_the_hosts_program_does_not_believe_nobody_here_does_and_says_what_helps(
    desk: Desk, edit: Callable[[dict[str, Any]], str]
) -> None:
    desk.everywhere(a_record())
    acts(desk)
    path = desk.document("backup1")
    path.write_text(edit(json.loads(path.read_text())))
    before, state = path.read_text(), program.show(path.parent)["state"]
    assert state in ("unreadable", "future")
    answer = desk.answer
    hint = "use that version" if state == "future" else "./dr record.settle --yes"
    assert isinstance(answer, Unknown) and not answer.absent and hint in answer.hint
    with pytest.raises(Refused, match="nobody knows who is acting") as told:
        ARBITER.show()
    assert hint in told.value.hint
    assert path.read_text() == before


def test_a_later_part_of_who_is_acting_is_believed_on_both_sides(desk: Desk) -> None:
    desk.everywhere(a_record())
    acts(desk)
    path = desk.document("backup1")
    path.write_text(_acting(shift="night")(json.loads(path.read_text())))
    assert ARBITER.show()["acting"]["shift"] == "night" and isinstance(desk.answer, Known)


@pytest.mark.parametrize(("text", "hint"), [("{", "./dr record.settle --yes"), ('{"schema": 3}', "use that version")])
def test_a_damaged_copy_that_is_the_last_one_is_no_reason_to_wait_for_hosts_that_all_answer(
    desk: Desk, text: str, hint: str
) -> None:
    desk.document("pg1").write_text(text)
    answer = desk.answer
    assert isinstance(answer, Unknown) and not answer.absent and hint in answer.hint
    desk.away = {"pg2"}
    answer = desk.answer
    assert isinstance(answer, Unknown) and "bring a host back" in answer.hint


def test_with_the_arbiter_away_the_newest_copy_is_read_and_shown_as_one(desk: Desk) -> None:
    desk.write("pg1", a_record(revision=7, epoch=3))
    desk.write("pg2", a_record(revision=6))
    desk.away = {"backup1"}
    answer = desk.answer
    assert isinstance(answer, Copy) and answer.record.revision == 7 and answer.at == "pg1"
    assert "copy on pg1" in answer.source and not answer.arbiter_lost


def test_a_record_lost_on_two_hosts_is_read_on_the_third(desk: Desk) -> None:
    desk.write("pg2", a_record(revision=9))
    answer = desk.answer
    assert isinstance(answer, Copy) and answer.arbiter_lost and answer.record.revision == 9


def test_lost_with_a_host_that_is_away_is_unknown_and_not_absent(desk: Desk) -> None:
    desk.away = {"pg2"}
    answer = desk.answer
    assert isinstance(answer, Unknown) and not answer.absent


@pytest.mark.parametrize("edit", [("pg1", "pg2"), ('"schema": 1', '"schema": 7'), ("{", "")])
def test_an_arbiters_record_that_cannot_be_believed_is_unknown_whatever_the_copies_say(
    desk: Desk, edit: tuple[str, str]
) -> None:
    desk.everywhere(a_record())
    path = desk.document("backup1")
    path.write_text(path.read_text().replace(*edit, 1))
    answer = desk.answer
    hint = "use that version" if "schema" in edit[0] else "record.settle"
    assert isinstance(answer, Unknown) and not answer.absent and hint in answer.hint


def test_a_damaged_copy_disturbs_nobody_while_the_arbiter_answers(desk: Desk) -> None:
    desk.everywhere(a_record())
    desk.document("pg1").write_text("{")
    assert isinstance(desk.answer, Known)


def test_a_record_of_another_database_system_counts_for_nothing(desk: Desk) -> None:
    desk.everywhere(a_record(system_identifier="42"))
    answer = of_system(desk.answer, SYSTEM)
    assert isinstance(answer, Unknown) and "42" in answer.why


def test_copies_that_contradict_the_arbiter_are_shown_and_nothing_is_written(desk: Desk) -> None:
    desk.everywhere(a_record())
    _alone(desk, mode=Mode.DEGRADED, synchronous=())
    mine = acts(desk)
    known = desk.answer
    assert isinstance(known, Known) and known.carry
    ARBITER.change("swap", {"token": mine.token, "expect": 1, "record": a_record(epoch=5).model_dump(mode="json")})
    answer = desk.answer
    assert isinstance(answer, Unknown) and "contradict" in answer.why
    with pytest.raises(Refused, match="contradict"):
        desk.keeper(mine, alone=False).changing(answer, "failover", "pg2")


# ---- keeping


def test_a_transition_is_recorded_before_and_confirmed_after_it(desk: Desk) -> None:
    desk.everywhere(a_record())
    keeper = desk.keeper(acts(desk))
    keeper.changing(desk.answer, "failover", "pg2")
    for name in ("backup1", "pg1", "pg2"):
        assert written(desk, name)["changing"]["to"] == "pg2"
    keeper.settled(desk.answer, Truth(SYSTEM, "pg2", 2, (), "pg1 is out"))
    for name in ("backup1", "pg1", "pg2"):
        now = written(desk, name)
        assert (now["primary"], now["timeline"], now["epoch"], now["changing"]) == ("pg2", 2, 2, None)
        assert now["mode"] == "degraded" and now["why"] == "pg1 is out" and now["revision"] == 3


def test_the_same_truth_again_keeps_epoch_and_since(desk: Desk) -> None:
    desk.everywhere(a_record())
    keeper = desk.keeper(acts(desk))
    again = keeper.settled(desk.answer, Truth(SYSTEM, "pg1", 1, ("pg2",), "deployed once more"))
    assert again.epoch == 1 and again.since == a_record().since and again.why == "deployed"


def test_a_transition_that_was_taken_back_leaves_what_was_known(desk: Desk) -> None:
    desk.everywhere(a_record())
    keeper = desk.keeper(acts(desk))
    keeper.changing(desk.answer, "switchover", "pg2")
    keeper.unchanged(desk.answer)
    now = written(desk, "backup1")
    assert now["changing"] is None and now["synchronous"] == ["pg2"] and now["epoch"] == 1


def test_a_database_host_that_was_away_is_given_the_record_with_the_next_change(desk: Desk) -> None:
    desk.everywhere(a_record())
    keeper = desk.keeper(acts(desk))
    desk.away = {"pg1"}
    keeper.changing(desk.answer, "failover", "pg2")
    assert written(desk, "pg1")["changing"] is None
    desk.away = set()
    keeper.settled(desk.answer, Truth(SYSTEM, "pg2", 2, (), "out"))
    assert written(desk, "pg1") == written(desk, "backup1")


def test_without_the_arbiter_nothing_begins_unless_somebody_says_so(desk: Desk) -> None:
    desk.everywhere(a_record())
    desk.away = {"backup1"}
    with pytest.raises(Refused, match="backup1 keeps the estate record and is away") as refusal:
        desk.keeper(option=True).changing(desk.answer, "detach", "pg1", degraded="pg2 is out")
    assert "--accept-no-arbiter" in refusal.value.hint
    assert written(desk, "pg1")["mode"] == "synchronous"


def _alone(desk: Desk, **changes: Any) -> None:
    """Something was written while the arbiter was away."""
    before, desk.away = desk.away, {"backup1"}
    keeper, answer = desk.keeper(alone=True, word=True), desk.answer
    assert not isinstance(answer, Unknown)
    keeper._write(answer, answer.record.model_copy(update=changes), "detach")
    desk.away = before


def test_what_was_written_without_the_arbiter_counts_and_is_carried_by_the_next_change(desk: Desk) -> None:
    desk.everywhere(a_record())
    _alone(desk, mode=Mode.DEGRADED, synchronous=(), why="pg2 is out")
    assert written(desk, "backup1")["mode"] == "synchronous"
    answer = desk.answer
    assert isinstance(answer, Known) and answer.carry and answer.record.mode is Mode.DEGRADED
    desk.keeper(acts(desk)).settled(answer, Truth(SYSTEM, "pg1", 1, (), "pg2 is out"))
    now = desk.answer
    assert isinstance(now, Known) and not now.carry and now.record.mode is Mode.DEGRADED
    assert written(desk, "backup1") == written(desk, "pg1") == written(desk, "pg2")


def test_an_arbiter_that_lost_its_record_gets_the_newest_copy_back(desk: Desk) -> None:
    desk.everywhere(a_record(revision=4))
    desk.document("backup1").unlink()
    desk.keeper(acts(desk)).changing(desk.answer, "switchover", "pg2")
    assert written(desk, "backup1")["revision"] == 5 and written(desk, "pg1")["revision"] == 5


def test_a_lock_that_could_not_be_had_at_first_is_taken_before_anything_is_written(desk: Desk) -> None:
    desk.everywhere(a_record())
    desk.keeper().changing(desk.answer, "failover", "pg2")
    assert ("backup1", "take") in desk.calls
    assert written(desk, "backup1")["changing"]["procedure"] == "failover"


def test_nothing_is_written_while_somebody_else_acts(desk: Desk) -> None:
    desk.everywhere(a_record())
    acts(desk, desk.owner(token="ann", machine="elsewhere", boot="theirs"))
    with pytest.raises(Conflict, match="does not hold"):
        desk.keeper().changing(desk.answer, "failover", "pg2")
    assert written(desk, "backup1")["changing"] is None


def test_an_arbiter_whose_disk_is_full_is_as_good_as_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.everywhere(a_record())
    mine = acts(desk)

    def full(folder: Path, *_: object) -> dict[str, Any]:
        raise OSError(28, "No space left on device", str(folder))

    monkeypatch.setitem(program.VERBS, "swap", full)
    with pytest.raises(Refused, match="No space left"):
        desk.keeper(mine).changing(desk.answer, "failover", "pg2")


def test_of_two_changes_from_the_same_reading_the_second_is_refused(desk: Desk) -> None:
    desk.everywhere(a_record())
    keeper, read = desk.keeper(acts(desk)), desk.answer
    keeper.changing(read, "failover", "pg2")
    with pytest.raises(Conflict, match="somebody else has changed it"):
        keeper.changing(read, "switchover", "pg2")


# ---- settling


@pytest.fixture
def hosts_are(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What a survey sees: pg1 primary of pg2, with these differences."""

    def put(**changes: Any) -> None:
        streams = (Standby("pg2", "streaming", "sync", 100, 100, 0.0),)
        usual: dict[str, Any] = {"in_recovery": False, "written": 100, "synchronous": True, "standbys": streams}
        primary = replace(node("pg1"), **{**usual, **changes})
        seen = {"pg1": primary, "pg2": STANDBY}
        monkeypatch.setattr(server, "survey", lambda _: tuple(seen.values()))
        monkeypatch.setattr(server, "look", lambda host, *_: seen[host.name])

    monkeypatch.setattr("runbooks.record.settle.budget", lambda _: 0.05)
    return put


def test_the_first_deploy_writes_what_the_hosts_are(desk: Desk, hosts_are: Callable[..., None]) -> None:
    hosts_are()
    settled = settle(desk.keeper(acts(desk)))
    assert settled.what is Settled.WRITTEN
    assert (written(desk, "pg2")["primary"], written(desk, "pg2")["synchronous"]) == ("pg1", ["pg2"])
    assert settle(desk.keeper(desk.owner(token=ARBITER.show()["acting"]["token"]))).what is Settled.KEPT


@pytest.mark.parametrize(
    ("changes", "standbys"),
    [
        ({"synchronous": False}, []),  # a file removed by hand
        ({"standbys": (Standby("pg2", "streaming", "sync", 50, 50, 0.0),)}, ["pg2"]),  # hangs: nobody was acknowledged
        ({"timeline": 3, "standbys": (Standby("pg2", "streaming", "sync", 50, 50, 0.0),)}, []),  # lacks rows of before
        ({"timeline": 3}, ["pg2"]),
    ],
)
def test_what_the_record_promises_too_much_is_taken_back(
    desk: Desk, hosts_are: Callable[..., None], changes: dict[str, Any], standbys: list[str]
) -> None:
    desk.everywhere(a_record())
    hosts_are(**changes)
    settle(desk.keeper(acts(desk)))
    assert written(desk, "backup1")["synchronous"] == standbys


def test_of_an_asynchronous_estate_the_record_gives_the_declaration_as_the_reason(
    desk: Desk, hosts_are: Callable[..., None]
) -> None:
    """And not the standby that was out a while ago and streams again."""
    desk.everywhere(a_record())
    hosts_are(synchronous=False, standbys=())
    keeper = desk.keeper(acts(desk))
    settle(keeper)
    assert written(desk, "backup1")["why"] == "no commit waits for a standby"
    keeper.settled(desk.answer, Truth(SYSTEM, "pg1", 1, (), DECLARED_ASYNCHRONOUS))
    assert written(desk, "backup1")["why"] == DECLARED_ASYNCHRONOUS


def test_a_deploy_of_an_asynchronous_estate_records_the_declaration(
    desk: Desk, hosts_are: Callable[..., None]
) -> None:
    hosts_are(synchronous=False)
    keeper = desk.keeper(acts(desk))
    settle(replace(keeper, estate=replace(ESTATE, data={**ESTATE.data, "synchronous_standbys": "none"})))
    assert written(desk, "backup1")["why"] == DECLARED_ASYNCHRONOUS


def test_a_change_that_nobody_confirmed_is_settled_by_what_the_hosts_are(
    desk: Desk, hosts_are: Callable[..., None]
) -> None:
    desk.everywhere(a_record(changing=Change(procedure="switchover", run="r", to="pg2")))
    hosts_are()
    settle(desk.keeper(acts(desk)))
    assert written(desk, "backup1")["changing"] is None


def test_a_primary_that_the_record_knows_to_be_succeeded_is_not_written_down_unasked(
    desk: Desk, hosts_are: Callable[..., None]
) -> None:
    desk.everywhere(a_record(primary="pg2", synchronous=("pg1",), timeline=5))
    hosts_are()
    keeper = desk.keeper(acts(desk))
    with pytest.raises(Refused, match="takes writes on timeline 1") as refusal:
        settle(keeper)
    assert "./dr rejoin pg1" in refusal.value.hint
    assert settle(keeper, anew=True).what is Settled.WRITTEN


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"primary": "pg2", "synchronous": ("pg1",), "timeline": 5}, "timeline 5"), ({"system_identifier": "42"}, "42")],
)
def test_what_a_deploy_would_refuse_in_the_end_it_refuses_before_it_touches_anything(
    desk: Desk, hosts_are: Callable[..., None], changes: dict[str, Any], words: str
) -> None:
    desk.everywhere(a_record(**changes))
    hosts_are()
    with pytest.raises(Refused, match=words):
        require_fitting(ESTATE)
    desk.document("backup1").write_text("{")
    with pytest.raises(Refused, match="cannot be read"):
        require_fitting(ESTATE)
    hosts_are(in_recovery=True)
    require_fitting(ESTATE)  # nobody could settle it now, so nobody is sent to do so


def test_an_estate_that_begins_or_is_as_recorded_is_deployed(desk: Desk, hosts_are: Callable[..., None]) -> None:
    hosts_are()
    require_fitting(ESTATE)
    desk.everywhere(a_record(timeline=0))
    require_fitting(ESTATE)


def test_without_one_primary_or_without_the_arbiter_nothing_is_written(
    desk: Desk, hosts_are: Callable[..., None]
) -> None:
    desk.everywhere(a_record())
    hosts_are(in_recovery=True)
    assert settle(desk.keeper(acts(desk))).what is Settled.LEFT
    hosts_are(synchronous=False)
    desk.away = {"backup1"}
    assert settle(desk.keeper()).what is Settled.LEFT
    assert written(desk, "pg1")["mode"] == "synchronous"


def test_records_that_contradict_each_other_are_written_anew_above_both(
    desk: Desk, hosts_are: Callable[..., None]
) -> None:
    desk.everywhere(a_record())
    for _ in range(4):
        _alone(desk, mode=Mode.DEGRADED, synchronous=())
    mine = acts(desk)
    ARBITER.change("swap", {"token": mine.token, "expect": 1, "record": a_record(epoch=5).model_dump(mode="json")})
    hosts_are()
    with pytest.raises(Refused, match="contradict"):
        settle(desk.keeper(mine))
    settle(desk.keeper(mine), anew=True)
    answer = desk.answer
    assert isinstance(answer, Known) and not answer.carry and answer.record.revision == 6
    assert written(desk, "pg1") == written(desk, "pg2") == written(desk, "backup1")


# ---- what a failover makes of it


STANDBY = Node(
    Host("pg2", ESTATE.host("pg2").entry, Path("/nowhere")), ssh=True, online=True, in_recovery=True, system=SYSTEM,
    timeline=1, written=100, replayed=100,
)  # fmt: skip


def loss(**changes: Any) -> tuple[int | None, str]:
    return failover.possible_loss(Known(a_record(**changes), "backup1", 1), STANDBY)


def test_no_loss_is_claimed_only_of_a_steady_record_of_this_timeline_and_this_standby() -> None:
    assert loss()[0] == 0
    assert loss(timeline=2)[0] is None and "counts for nothing" in loss(timeline=2)[1]
    assert loss(synchronous=("pg3",))[0] is None
    assert loss(mode=Mode.DEGRADED, synchronous=())[0] is None
    assert loss(primary="pg2", synchronous=("pg1",))[0] is None
    assert failover.possible_loss(Unknown("nobody knows"), STANDBY) == (None, "nobody knows")


@pytest.mark.parametrize(
    ("procedure", "to", "safe"),
    [("failover", "pg2", True), ("switchover", "pg2", True), ("failover", "pg3", False), ("detach", "pg2", False)],
)
def test_what_is_under_way_counts_only_for_the_one_that_it_was_to_promote(procedure: str, to: str, safe: bool) -> None:
    said = loss(changing=Change(procedure=procedure, run="20260101T000000Z", to=to))
    assert (said[0] == 0) is safe
    assert safe or "was not confirmed" in said[1]


def test_a_copy_claims_no_loss_only_on_the_operators_word() -> None:
    copy = Copy(a_record(), "pg2", "backup1 does not answer")
    assert failover.possible_loss(copy, STANDBY)[0] is None
    assert failover.possible_loss(copy, STANDBY, believe_copy=True)[0] == 0


def node(name: str, **more: Any) -> Node:
    return replace(STANDBY, host=Host(name, ESTATE.host("pg1").entry, Path("/nowhere")), **more)


def test_the_one_that_has_every_row_is_chosen_and_the_recorded_primary_is_fenced() -> None:
    """pg2 is lost and was primary; pg1 has every row; pg3 is asynchronous, further ahead in nothing that counts."""
    known = Known(a_record(primary="pg2", synchronous=("pg1",)), "backup1", 1)
    lost = Node(ESTATE.host("pg2"), ssh=False, why="no answer")
    nodes = (node("pg1"), lost, node("pg3", written=200))
    best = electing.best_of(known, [nodes[0], nodes[2]])
    assert best.name == "pg1"
    assert failover.succeeded(known, nodes, best) is lost


def test_of_several_hosts_none_is_fenced_that_nobody_knows_to_be_the_primary() -> None:
    nodes = (node("pg1"), node("pg2"), node("pg3"))
    with pytest.raises(Refused, match="nobody knows which one to fence"):
        failover.succeeded(Unknown("it is away"), nodes, nodes[0])


def test_a_standby_on_an_older_timeline_is_not_chosen_for_its_longer_wal() -> None:
    unknown = Unknown("it is away")
    assert electing.best_of(unknown, [node("pg1", timeline=2), node("pg3", written=900)]).name == "pg1"


# ---- the lock


def test_a_host_name_is_no_identity(desk: Desk) -> None:
    """Two machines called alike: the one that lives is not robbed because its boot is another one."""
    theirs = desk.owner(token="theirs", machine="another machine", boot="another boot")
    acts(desk, theirs)
    with pytest.raises(Refused, match="has been running failover"):
        take(ARBITER, desk.owner(token="mine"), desk.heard.append)
    assert ARBITER.show()["acting"]["token"] == "theirs"


def test_containers_of_one_machine_and_boot_do_not_judge_each_others_processes(desk: Desk) -> None:
    acts(desk, desk.owner(token="theirs", pid_space="pid:[1]", process_started="1"))
    with pytest.raises(Refused):
        take(ARBITER, desk.owner(token="mine"), desk.heard.append)


def test_a_holder_here_whose_process_is_gone_is_followed_and_it_is_said(desk: Desk) -> None:
    acts(desk, desk.owner(token="dead", process_started="1"))
    take(ARBITER, desk.owner(token="mine"), desk.heard.append)
    assert ARBITER.show()["acting"]["token"] == "mine"
    assert "is taken over: its process" in desk.heard[-1]


def test_a_broken_lock_ends_the_run_before_its_next_step_and_touches_nobody_elses(desk: Desk) -> None:
    remote = RecordLock(ARBITER, desk.heard.append)
    with held("toy", desk.owner(), desk.heard.append, remote) as locks:
        locks.require()
        ARBITER.change("break", {"token": locks.owner.token, "by": "ann", "yes": True})
        acts(desk, desk.owner(token="ann", machine="elsewhere", boot="theirs"))
        locks.beat()
        with pytest.raises(LockLost, match="acts now"):
            locks.require()
    assert ARBITER.show()["acting"]["token"] == "ann"


@pytest.mark.parametrize("rival", [False, True])
def test_a_run_whose_lock_was_broken_does_not_take_it_again_to_write(desk: Desk, rival: bool) -> None:
    """What restore-pitr --swap did as it fenced: it wrote the record, found the lock free, and went on beside ann."""
    desk.everywhere(a_record())
    remote = RecordLock(ARBITER, desk.heard.append)
    with held("toy", desk.owner(), desk.heard.append, remote) as locks:
        locks.require()
        ARBITER.change("break", {"token": locks.owner.token, "by": "ann", "yes": True})
        if rival:
            acts(desk, desk.owner(token="ann", machine="elsewhere", boot="theirs"))
        keeper = Keeper(ESTATE, locks.owner, desk.heard.append, locks=locks)
        with pytest.raises(LockLost, match="was broken") as lost:
            keeper.changing(desk.answer, "restore-pitr", "pg1")
        assert "lock.status" in lost.value.hint
        with pytest.raises(LockLost, match="was broken"):
            locks.require()
    holder = ARBITER.show()["acting"]
    assert (holder and holder["token"]) == ("ann" if rival else None)
    assert written(desk, "backup1")["changing"] is None


def test_a_lock_that_was_taken_unheard_and_broken_since_is_not_taken_again(desk: Desk) -> None:
    """The answer to the first request was lost; the arbiter knows that it gave it, and that somebody ended it."""
    mine = acts(desk)
    ARBITER.change("break", {"token": mine.token, "by": "ann", "yes": True})
    with pytest.raises(LockLost, match="was broken"):
        RecordLock(ARBITER, desk.heard.append).heartbeat(mine)
    desk.everywhere(a_record())
    with pytest.raises(LockLost, match="was broken"):
        desk.keeper(mine).changing(desk.answer, "failover", "pg2")
    resumed = desk.owner(token="again", resumes=True).model_copy(update={"run": mine.run})
    take(ARBITER, resumed, desk.heard.append)
    assert ARBITER.show()["acting"]["token"] == "again", "a person may let it go on where nobody else has acted"


def test_a_run_that_was_taken_for_dead_and_followed_does_not_come_back(desk: Desk) -> None:
    dead = acts(desk, desk.owner(token="dead", process_started="1"))
    follower = desk.owner(token="mine")
    take(ARBITER, follower, desk.heard.append)
    RecordLock(ARBITER, desk.heard.append).release(follower)
    with pytest.raises(LockLost, match="was broken"):
        take(ARBITER, dead, desk.heard.append)
    assert ARBITER.show()["acting"] is None


def test_a_confirmation_of_a_run_whose_lock_was_broken_is_no_mere_warning(desk: Desk) -> None:
    """Whoever acts now says what is so; and no step of this run follows."""
    desk.everywhere(a_record())
    with held("toy", desk.owner(), desk.heard.append, RecordLock(ARBITER, desk.heard.append)) as locks:
        locks.require()
        ARBITER.change("break", {"token": locks.owner.token, "by": "ann", "yes": True})
        run: Any = Context(ESTATE, Options(), locks.owner.run_dir, owner=locks.owner, held=locks)
        with pytest.raises(LockLost):
            keep.settled(run, keep.Truth(SYSTEM, "pg1", 1, (), "alone"))
        keep.unchanged(run)
        with pytest.raises(LockLost):
            locks.require(observes=True)
    assert written(desk, "backup1") == a_record().model_dump(mode="json")


def test_what_acts_outside_a_runbook_stops_at_its_next_operation(desk: Desk, tmp_path: Path) -> None:
    """As deploy does, which says each of them before it begins."""
    heard: list[str] = []
    with pytest.raises(LockLost, match="was broken"), acting(ESTATE, "deploy", tmp_path, heard.append) as keeper:
        voice = while_held(keeper, heard.append)
        voice("one")
        break_lock(ESTATE, _folder(tmp_path), yes=True)
        voice("two")
    assert heard == ["one"]


def _folder(path: Path) -> Path:
    made = path / "breaks"
    made.mkdir()
    return made


def test_a_resumed_run_that_was_overtaken_elsewhere_is_refused_before_its_first_step(desk: Desk) -> None:
    first = desk.owner().model_copy(update={"run": "first"})
    lock = RecordLock(ARBITER, desk.heard.append)
    lock.acquire(first)
    lock.release(first)
    theirs = desk.owner(token="theirs", owner="ann@laptop").model_copy(update={"run": "second"})
    lock.acquire(theirs)
    lock.release(theirs)
    again = desk.owner(token="again", resumes=True).model_copy(update={"run": "first"})
    with held("toy", again, desk.heard.append, RecordLock(ARBITER, desk.heard.append)) as locks:
        with pytest.raises(Refused, match="ann@laptop has begun failover") as refused:
            locks.require()
        assert "runbook.abandon" in refused.value.hint


def test_signs_of_life_go_on_while_a_step_takes_long(desk: Desk) -> None:
    remote = RecordLock(ARBITER, desk.heard.append)
    with held("toy", desk.owner(), desk.heard.append, remote, every=0.02):
        _until(lambda: desk.calls.count(("backup1", "beat")) >= 3)
    assert desk.calls[-1] == ("backup1", "free")


def test_a_lock_that_is_lost_and_found_again_is_taken_as_soon_as_the_arbiter_answers(desk: Desk) -> None:
    desk.away = {"backup1"}
    with held("toy", desk.owner(), desk.heard.append, RecordLock(ARBITER, desk.heard.append)) as locks:
        locks.require()
        assert "WARNING" in desk.heard[0]
        desk.away = set()
        locks.beat()
        assert ARBITER.show()["acting"]["token"] == locks.owner.token
    assert ARBITER.show()["acting"] is None


def test_breaking_a_lock_takes_a_word_while_its_holder_lives_and_is_journalled(desk: Desk, tmp_path: Path) -> None:
    acts(desk, desk.owner(token="ann"))
    for nr, yes in enumerate((False, True)):
        run_dir = tmp_path / f"break-{nr}"
        run_dir.mkdir()
        if yes:
            assert "is broken" in break_lock(ESTATE, run_dir, yes=True)
        else:
            with pytest.raises(Refused, match="sign of life"):
                break_lock(ESTATE, run_dir, yes=False)
        assert '"finished"' in (run_dir / "journal.jsonl").read_text()
    assert ARBITER.show()["acting"] is None
    with pytest.raises(Refused, match="no lock to break"):
        (tmp_path / "again").mkdir()
        break_lock(ESTATE, tmp_path / "again", yes=False)


def _before_a_boot(owner: Owner) -> Owner:
    return owner.model_copy(update={"boot": "another", "token": "before"})


def _left_here(owner: Owner) -> Path:
    """As a machine finds it that lost power in a run and was booted again."""
    path = lock_path(ESTATE.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(owner.model_dump_json())
    return path


@pytest.mark.parametrize("away", [False, True])
def test_a_lock_that_a_lost_run_left_on_this_machine_alone_is_broken_with_the_word_that_the_hint_names(
    desk: Desk, tmp_path: Path, away: bool
) -> None:
    """Somebody elsewhere has broken the arbiter's part, or the arbiter was away."""
    path = _left_here(_before_a_boot(desk.owner()))
    desk.away = {"backup1"} if away else set()
    with pytest.raises(Refused) as told, held(ESTATE.name, desk.owner(), desk.heard.append):
        pass
    assert "./dr lock.break" in told.value.hint
    said = break_lock(ESTATE, _folder(tmp_path), yes=False)
    assert "on this machine is broken" in said and ("backup1 does not answer" in said) == away
    assert not path.exists() and '"finished"' in (tmp_path / "break" / "journal.jsonl").read_text()
    with held(ESTATE.name, desk.owner(), desk.heard.append):
        pass


def test_a_lock_that_is_left_here_goes_with_the_one_that_another_holds(desk: Desk, tmp_path: Path) -> None:
    path = _left_here(_before_a_boot(desk.owner()))
    acts(desk, desk.owner(token="theirs"))
    assert "is broken" in break_lock(ESTATE, _folder(tmp_path), yes=True)
    assert not path.exists() and ARBITER.show()["acting"] is None


def test_a_run_that_lives_here_or_cannot_be_asked_is_not_broken_without_a_word(desk: Desk, tmp_path: Path) -> None:
    for owner in (desk.owner(), desk.owner(machine="another's")):
        path = _left_here(owner)
        with pytest.raises(Refused, match="no lock to break"):
            break_lock(ESTATE, _folder(tmp_path), yes=False)
        assert path.exists() and not (tmp_path / "break").exists(), "and no run is left that did nothing"
    assert "on this machine is broken" in break_lock(ESTATE, _folder(tmp_path), yes=True)
    alive = tmp_path / "alive"
    alive.mkdir()
    _left_here(desk.owner())
    with pytest.raises(Refused, match="no lock to break"):
        break_lock(ESTATE, alive, yes=True)


def _folder(tmp_path: Path) -> Path:
    (tmp_path / "break").mkdir()
    return tmp_path / "break"


def test_nobody_says_that_nobody_acts_where_the_document_cannot_be_read(desk: Desk, tmp_path: Path) -> None:
    desk.document("backup1").write_text("{")
    with pytest.raises(Refused, match="nobody knows who is acting") as told:
        break_lock(ESTATE, _folder(tmp_path), yes=True)
    assert "./dr record.settle --yes" in told.value.hint and not (tmp_path / "break").exists()


def test_a_document_that_cannot_be_believed_gives_no_lock_and_is_a_warning(desk: Desk) -> None:
    desk.document("backup1").write_text("{")
    with held("toy", desk.owner(), desk.heard.append, RecordLock(ARBITER, desk.heard.append)) as locks:
        locks.require()
        assert "WARNING: the estate's lock is not held" in desk.heard[0]
    with pytest.raises(TargetFailed, match="no JSON"):
        take(ARBITER, desk.owner(), desk.heard.append)


def test_an_estate_on_which_nothing_keeps_a_lock_yet_is_no_warning(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> Ran:
        return Ran(1, "", "/usr/bin/python3: No module named agents\n", 0.1)

    monkeypatch.setattr(Host, "run", missing)
    with held("deploy", desk.owner(), desk.heard.append, RecordLock(ARBITER, desk.heard.append)) as locks:
        locks.require()
    assert len(desk.heard) == 1 and "WARNING" not in desk.heard[0]
    assert "backup1 has no program for the estate record yet: until it has, an operator elsewhere" in desk.heard[0]


def _until(holds: Any) -> None:
    until(holds, 5, what="a sign of life", every=0.01)
