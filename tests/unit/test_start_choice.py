"""Who is started of a cluster that is down everywhere: by files that a survey found, no host needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from inventories.errors import Refused
from runbooks.probes.postgresql.stopped import Stopped, parse
from runbooks.procedures.postgresql.start_choice import Archive, Choice, How, Noted, Word, choose, holds
from tests.unit.start_kit import ALONE, ARCHIVE, IN_STEP, SYSTEM, alike, host, primary, silent, standby

NEWER = Archive(SYSTEM, 2, "000000020000000000000007")
CAREFUL, LOSS = Word(), Word(accept_loss=True)


def chosen(
    nodes: Sequence[Stopped], mode: Noted | None = IN_STEP, archive: Archive | None = ARCHIVE, word: Word = CAREFUL
) -> Choice:
    return choose(nodes, mode, archive, word)


def refused(
    nodes: Sequence[Stopped], mode: Noted | None = IN_STEP, archive: Archive | None = ARCHIVE, word: Word = CAREFUL
) -> Refused:
    with pytest.raises(Refused) as told:
        choose(nodes, mode, archive, word)
    return told.value


# ---- the last primary is there


@pytest.mark.parametrize("mode", [IN_STEP, ALONE, None])
@pytest.mark.parametrize("archive", [ARCHIVE, None])
def test_a_primary_that_lost_its_power_is_started_whatever_the_mode_was(
    mode: Noted | None, archive: Archive | None
) -> None:
    choice = chosen(alike(primary(), standby(end=0x7000028)), mode, archive)
    assert (choice.node.name, choice.how) == ("pg1", How.START)
    assert [node.name for node in choice.standbys] == ["pg2"]
    assert (choice.left, choice.fence, choice.unproven) == ((), (), "")


def test_after_a_degraded_time_the_standby_that_is_older_follows() -> None:
    behind = replace(standby(end=0x2000060), digests={})  # the primary has recycled that segment since
    choice = chosen((primary(), behind), ALONE)
    assert choice.node.name == "pg1"
    assert [node.name for node in choice.standbys] == ["pg2"]


def test_after_a_failover_the_fenced_old_primary_stays_down() -> None:
    old = primary("pg1", 0x7000060, fenced=True)
    new = primary("pg2", 0x9000060, newest=2, timeline=2, forks={1: 0x7000040})
    choice = chosen((old, new), ALONE, NEWER)
    assert (choice.node.name, choice.how) == ("pg2", How.START)
    assert [node.name for node in choice.left] == ["pg1"]
    assert choice.fence == ()


def test_an_old_primary_whose_power_was_cut_by_the_hook_has_no_mark_and_is_not_started_either() -> None:
    old = primary("pg1", 0x7000060)
    new = primary("pg2", 0x9000060, newest=2, timeline=2, forks={1: 0x7000040})
    choice = chosen((old, new), ALONE, NEWER)
    assert choice.node.name == "pg2"
    assert [node.name for node in choice.left] == ["pg1"]


def test_a_standby_of_the_older_timeline_without_a_fork_follows() -> None:
    new = primary("pg2", 0x9000060, newest=2, timeline=2, forks={1: 0x7000040})
    choice = chosen((standby("pg1", 0x7000028), new), ALONE, NEWER)
    assert [node.name for node in choice.standbys] == ["pg1"]


# ---- files that no crash leaves behind


def test_an_older_copy_in_the_primarys_place_is_not_started_unasked() -> None:
    nodes = alike(primary(end=0x5000060), standby())
    told = refused(nodes)
    assert "the data directory of pg1 is an older copy" in str(told)
    assert "pg2, its standby, has WAL to 0/7000060" in str(told)
    choice = chosen(nodes, word=LOSS)
    assert (choice.node.name, choice.how) == ("pg2", How.PROMOTE)
    assert [node.name for node in choice.fence] == ["pg1"]


def test_an_older_copy_is_known_by_the_archive_too() -> None:
    told = refused(alike(primary(end=0x5000060), standby(end=0x5000060)))
    assert "older copy" in str(told)
    assert "the archive holds 000000010000000000000006" in str(told)
    assert chosen(alike(primary(end=0x5000060), standby(end=0x5000060)), word=LOSS).node.name == "pg1"


def test_a_segment_that_was_just_switched_is_no_reason_to_call_a_primary_a_copy() -> None:
    assert chosen(alike(primary(end=0x6FFFF60), standby(end=0x6FFFF60))).node.name == "pg1"


def test_an_older_copy_of_the_primary_on_the_standbys_host_is_not_started() -> None:
    choice = chosen(alike(primary(), primary("pg2", 0x5000060)))
    assert choice.node.name == "pg1"
    assert [node.name for node in choice.left] == ["pg2"]


@pytest.mark.parametrize("end", [0x7000060, 0x5000060])
def test_two_primaries_of_one_timeline_are_a_refusal_that_names_both_with_what_each_has(end: int) -> None:
    nodes = (primary(), primary("pg2", end))
    told = refused(nodes)
    assert "pg1 and pg2 cannot be told apart" in str(told)
    assert "WAL to 0/7000060" in str(told)
    assert "./dr start-cluster --host HOST --yes --accept-loss" in told.hint
    for name in ("pg1", "pg2"):
        assert chosen(nodes, word=Word(accept_loss=True, host=name)).node.name == name
    refused(nodes, word=Word(host="pg1"))  # a name alone is no consent


def test_two_copies_that_are_the_same_to_the_byte_cannot_be_told_apart_either() -> None:
    assert "cannot be told apart" in str(refused(alike(primary(), primary("pg2"))))


def test_a_standby_whose_wal_is_another_one_makes_the_primary_suspect() -> None:
    nodes = (primary(), standby(end=0x6000060))
    differs = (
        replace(nodes[0], digests={nodes[1].mark: "mine"}), replace(nodes[1], digests={nodes[1].mark: "its"})
    )  # fmt: skip
    assert "the WAL of pg2, its standby, is another one" in str(refused(differs))


@pytest.mark.parametrize("archive", [ARCHIVE, None])
def test_a_cluster_of_another_identity_is_a_refusal_and_left_out_on_the_operators_word(archive: Archive | None) -> None:
    nodes = alike(primary(), standby(system="1"))
    told = refused(nodes, archive=archive)
    assert "identifier" in str(told)
    if archive:
        assert "pg2 has 1" in str(told)
        choice = chosen(nodes, word=LOSS)
        assert choice.node.name == "pg1"
        assert [node.name for node in choice.left] == ["pg2"]


def test_a_blank_mark_is_believed_of_another_cluster_only() -> None:
    marked = alike(primary(blank=True), standby(blank=True))
    assert chosen(marked).node.name == "pg1"
    made = primary("pg1", system="1", blank=True, state="shut down")
    told = refused((made, standby()), ALONE)
    assert "may lack acknowledged rows" in str(told)
    assert chosen((made, standby())).node.name == "pg2"


def test_a_timeline_that_only_the_repository_knows_is_a_refusal_that_no_word_lifts() -> None:
    nodes = alike(primary(), standby())
    for word in (Word(), LOSS):
        assert "the repository holds timeline 2" in str(refused(nodes, archive=NEWER, word=word))


# ---- the last primary is away, fenced or damaged


def test_a_standby_that_commits_waited_for_is_promoted_and_the_silent_primary_fenced() -> None:
    choice = chosen((silent("pg1"), standby()))
    assert (choice.node.name, choice.how, choice.unproven) == ("pg2", How.PROMOTE, "")
    assert [node.name for node in choice.fence] == ["pg1"]


@pytest.mark.parametrize("mode", [ALONE, None])
def test_a_standby_alone_is_not_promoted_where_commits_did_not_wait_for_it(mode: Noted | None) -> None:
    told = refused((silent("pg1"), standby()), mode)
    assert "pg2 may lack acknowledged rows" in str(told)
    assert "bring pg1 back" in told.hint
    assert "--accept-loss promotes pg2" in told.hint
    assert chosen((silent("pg1"), standby()), mode, word=LOSS).unproven


def test_a_failover_that_ended_between_fence_and_promotion_is_gone_on_with() -> None:
    fenced = primary(fenced=True)
    assert chosen(alike(fenced, standby())).how is How.PROMOTE
    assert chosen(alike(fenced, standby()), None).node.name == "pg2"  # it holds all that the fenced one has
    assert chosen(alike(fenced, standby(end=0x6000060))).node.name == "pg2"  # what it lacks was never acknowledged
    refused(alike(fenced, standby(end=0x6000060)), ALONE)


def test_a_promotion_that_broke_off_is_begun_again_by_the_same_node() -> None:
    broken = primary("pg2", 0x7000040, state="in archive recovery", newest=2, forks={1: 0x7000060})
    assert broken.half_promoted
    choice = chosen(alike(primary(fenced=True), broken), archive=NEWER)
    assert (choice.node.name, choice.how) == ("pg2", How.PROMOTE)


def test_a_fenced_host_is_never_the_one() -> None:
    for nodes in ((primary(fenced=True), silent("pg2")), (standby("pg1", fenced=True), silent("pg2"))):
        for word in (Word(), LOSS):
            told = refused(nodes, word=word)
            assert "nobody may be started" in str(told)
            assert "./dr restore-cluster --replace" in told.hint


def test_half_a_switchover_is_undone_where_nobody_was_promoted() -> None:
    down = standby("pg1", state="shut down")
    choice = chosen(alike(down, standby(state="shut down in recovery")))
    assert (choice.node.name, choice.how) == ("pg1", How.AGAIN)
    assert [node.name for node in choice.standbys] == ["pg2"]


def test_a_switchover_that_got_as_far_as_the_promotion_goes_on_with_the_new_primary() -> None:
    new = primary("pg2", 0x8000060, newest=2, timeline=2, forks={1: 0x7000090})
    choice = chosen((standby("pg1", state="shut down"), new), ALONE, NEWER)
    assert (choice.node.name, choice.how) == ("pg2", How.START)
    assert [node.name for node in choice.standbys] == ["pg1"]


def test_of_two_standbys_the_one_that_holds_the_other_is_promoted_whatever_was_noted() -> None:
    choice = chosen(alike(standby("pg1", 0x6000060), standby("pg2")), None, None)
    assert (choice.node.name, choice.how) == ("pg2", How.PROMOTE)
    assert [node.name for node in choice.standbys] == ["pg1"]
    assert choice.fence == ()


def test_of_three_one_that_is_silent_besides_a_fenced_primary_may_be_the_one_that_commits_waited_for() -> None:
    nodes = (*alike(primary(fenced=True), standby(end=0x6000060)), silent("pg3"))
    assert "may each have been the one" in str(refused(nodes))


# ---- a primary, and somebody who cannot be looked at


def test_a_primary_beside_a_silent_host_is_started_where_note_and_archive_know_of_no_other() -> None:
    choice = chosen((primary(), silent("pg2")))
    assert (choice.how, choice.standbys, choice.fence) == (How.START, (), ())
    assert [node.name for node in choice.left] == ["pg2"]


@pytest.mark.parametrize(("mode", "archive"), [(ALONE, ARCHIVE), (None, ARCHIVE), (IN_STEP, None)])
def test_a_primary_beside_a_silent_host_that_may_have_been_promoted_is_not(
    mode: Noted | None, archive: Archive | None
) -> None:
    told = refused((primary(), silent("pg2")), mode, archive)
    assert "what pg2 held cannot be looked at" in str(told)
    choice = chosen((primary(), silent("pg2")), mode, archive, LOSS)
    assert [node.name for node in choice.fence] == ["pg2"]


def test_nothing_to_start_says_what_brings_it_back() -> None:
    told = refused((silent("pg1"), Stopped(host("pg2"), why="its data directory is empty")))
    assert "pg2: its data directory is empty" in str(told)
    assert "./dr restore-cluster" in told.hint


def test_a_host_that_is_named_and_is_not_the_one_is_a_refusal() -> None:
    assert "pg1 is the one to start, not pg2" in str(refused(alike(primary(), standby()), word=Word(host="pg2")))


# ---- what a host says


SAID = """installed=yes
fenced=
runs=
signal=yes
blank=
label=
files=PG_VERSION
control=Database system identifier:           7712820265723870263
control=Database cluster state:               in archive recovery
control=Latest checkpoint location:           0/2000080
control=Latest checkpoint's REDO location:    0/2000028
control=Latest checkpoint's TimeLineID:       1
control=Minimum recovery ending location:     0/2000120
control=Min recovery ending loc's timeline:   2
control=Bytes per WAL segment:                16777216
newest=00000003
history=1\t0/3000000\tno recovery target specified
history=
history=2\t0/5000000\tno recovery target specified
"""


def test_what_a_host_says_becomes_what_it_holds() -> None:
    found = parse(host("pg2"), SAID)
    assert (found.readable, found.standby_signal, found.runs, found.system) == (True, True, False, SYSTEM)
    assert (found.timeline, found.newest, found.forks) == (2, 3, {1: 0x3000000, 2: 0x5000000})
    assert (found.checkpoint, found.redo, found.recovered) == (0x2000080, 0x2000028, 0x2000120)


@pytest.mark.parametrize(
    ("was", "is_", "why"),
    [
        ("installed=yes", "installed=", "not installed"),
        ("files=PG_VERSION", "files=", "empty"),
        ("label=", "label=yes", "never started"),
        ("control=Database system", "control=pg_controldata: error: could not open file", "cannot be read"),
        ("16777216", "many", "cannot be read"),
        (
            "control=Database system",
            "control=pg_controldata: warning: calculated CRC checksum does not match value stored in control file\n"
            "control=Database system", "checksum",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_says_why(was: str, is_: str, why: str) -> None:
    found = parse(host("pg2"), SAID.replace(was, is_, 1))
    assert not found.readable
    assert why in found.why
    assert why in found.says


def test_a_mark_names_the_segment_of_the_last_record_and_its_bytes() -> None:
    assert primary(end=0x1_07000060, timeline=3).mark == "000000030000000100000007 120"
    assert primary(end=0x5000060, segment_bytes=1 << 26).mark == "000000010000000000000001 16777336"


def test_equal_positions_with_other_bytes_hold_nothing_of_each_other() -> None:
    one, other = primary(), primary("pg2")
    one, other = replace(one, digests={one.mark: "a"}), replace(other, digests={one.mark: "b"})
    assert not holds(one, other)
    assert not holds(other, one)
