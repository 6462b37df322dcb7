"""Rounds: what is drawn, when they stop, what is left on disk, and what only looking back finds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import pytest

from agents.feed.market import Market
from drills import prepare
from drills.course import Course, Plan
from drills.evidence import results
from drills.evidence.checking import check
from drills.evidence.files import files
from drills.judging.compare import FoundIds
from drills.judging.result import DrillResult, Fact, Outcome
from drills.judging.summary import HEADINGS, past_drills, past_runs, row
from drills.judging.verdict import judge
from drills.measuring.events import Malformed, parse_line
from drills.measuring.ranges import RangeSet
from drills.rounds import course as rounds
from drills.rounds import rows as rounds_rows
from drills.rounds.course import RoundsPlan, plan, pool
from drills.rounds.keys import Numbering, keys, without
from drills.rounds.result import Gone, LastCheck, Looked, RoundsResult, read_rounds
from drills.rounds.rows import TakenOut, Written, required, written
from drills.scenarios.catalogue import SCENARIOS
from drills.stage import Stage
from inventories.errors import BadInput, Interrupted, Refused, VerificationFailed
from runbooks.engine.outcome import Outcome as Ended
from runbooks.hosts import Estate
from runbooks.probes.disk import Disk
from tests.unit.rounds_kit import failed as failed_rounds
from tests.unit.rounds_kit import interrupted, looked, passed
from tests.unit.sample_drill import begun, power_loss, power_loss_ledger


def test_a_seed_repeats_scenarios_moments_and_ways_to_rejoin() -> None:
    assert RoundsPlan(20, 7).drawn() == RoundsPlan(20, 7).drawn()
    assert RoundsPlan(20, 7).drawn() != RoundsPlan(20, 8).drawn()
    assert len(RoundsPlan(1, 7).drawn()) == 1


@pytest.mark.parametrize("seed", range(1, 20))
def test_every_scenario_comes_once_before_one_comes_again(seed: int) -> None:
    drawn = RoundsPlan(3 * len(pool()), seed).drawn()
    for at in range(3):
        turn = drawn[at * len(pool()) : (at + 1) * len(pool())]
        assert {one.scenario for one in turn} == set(pool())
    assert [one.nr for one in drawn] == list(range(1, len(drawn) + 1))


def test_rewind_and_reclone_are_mixed() -> None:
    ways = [one.rejoin for one in RoundsPlan(50, 3).drawn()]
    assert 10 < ways.count("re-clone") < 40


def test_the_pool_is_of_scenarios_that_end_where_they_began() -> None:
    assert len(pool()) >= 4
    for name in pool():
        assert not SCENARIOS[name].refused
        assert SCENARIOS[name].prepare is None, "a round begins on what the round before left"


@pytest.mark.parametrize(
    ("words", "sentence", "hint"),
    [
        (("0", "", ""), "0 rounds", "--rounds 10"),
        (("-2", "", ""), "-2 rounds", "--rounds 10"),
        (("many", "", ""), "'many' is no number", "--rounds 10"),
        (("2", "primary-crash,flood", ""), "no scenario 'flood'", "primary-power-loss"),
        (("2", "primary-crash,", ""), "no scenario ''", "primary-power-loss"),
        (("2", "dropped-table", ""), "dropped-table cannot be part of rounds", "./dr drill --scenario dropped-table"),
        (("2", "primary-partition-unfenced", ""), "cannot be part of rounds", "primary-partition,"),
        (("2", "", "leaky-fence"), "leaky-fence is a twin of a single drill", "--twin leaky-fence"),
        (("2", "", "evil"), "no negative twin 'evil'", "vanished-row"),
    ],
)
def test_what_makes_no_rounds_is_refused(words: tuple[str, str, str], sentence: str, hint: str) -> None:
    with pytest.raises(BadInput, match=sentence) as caught:
        plan(*words, rate=6000, seed=1)
    assert hint in caught.value.hint


def test_scenarios_of_rounds_are_named_with_commas() -> None:
    found = plan("3", "primary-crash, planned-switchover", "", 6000, None)
    assert (found.count, found.scenarios) == (3, ("primary-crash", "planned-switchover"))
    assert found.seed > 0


LOOKS: dict[str, object] = {"kind": "looks", "at": 9.0, "hosts": {"pg1": 90, "pg2": 90}}


def ack(host: str, timeline: int, began: float) -> dict[str, object]:
    return {"kind": "ack", "host": host, "timeline": timeline, "began": began, "ended": began + 0.01}


@dataclass
class Lab:
    """A lab that is none: `outcomes` by round; from the round `broken` on the estate is not whole any more."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    broken: int = 0
    missed: int = 0
    duplicated: int = 0  # rows, in the round that missed its objective
    interrupted_in: int = 0
    drilled: list[Plan] = field(default_factory=list)
    gone: tuple[Gone, ...] = ()
    said: list[str] = field(default_factory=list)
    forgotten: list[tuple[str, str]] = field(default_factory=list)
    full_from: int = 0
    seen: list[dict[str, object]] = field(default_factory=lambda: [LOOKS, ack("pg1", 3, 1.0)])

    def estate(self) -> SimpleNamespace:
        app = SimpleNamespace(start=self.witness)
        return SimpleNamespace(data={"database": "quant_research"}, postgres=("pg1", "pg2"), backup="backup1", app=app)

    def witness(self, *_: object, **__: object) -> subprocess.Popen[bytes]:
        """The process boundary: what the witness says, until its input ends."""
        command = ["sh", "-c", 'printf "%s\\n" "$@"; cat > /dev/null', "witness", *map(json.dumps, self.seen)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def disks(self, *_: object) -> tuple[Disk, ...]:
        full = self.full_from and len(self.drilled) >= self.full_from
        return (Disk("/", 100 << 30, (1 if full else 50) << 30),)

    def settled(self, *_: object) -> tuple[SimpleNamespace, SimpleNamespace]:
        if self.broken and len(self.drilled) >= self.broken:
            raise Refused("the estate is not whole: pg1 does not answer", "./dr status tells more")
        return SimpleNamespace(name="pg1"), SimpleNamespace(name="pg2")

    def drill(
        self, scenario: Any, lab: str, say: Callable[[str], None], how: Plan, runs: Path, begun: Any
    ) -> tuple[DrillResult, Path]:
        self.drilled.append(how)
        begun(self, how)
        nr = len(self.drilled)
        say("a sentence of the drill")
        say("WARNING: something is odd")
        folder = runs / f"{nr}-{scenario.name}"
        folder.mkdir()
        (folder / "runbooks" / f"{nr}-rejoin").mkdir(parents=True)
        (folder / "ledger.jsonl").write_text("\n".join(power_loss_ledger()) + "\n")
        if nr == self.interrupted_in:
            raise KeyboardInterrupt("SIGINT")
        result = power_loss()[0].model_copy(update={"scenario": scenario.name})
        if nr == self.missed:
            strict = result.objectives.model_copy(update={"rto_s": 1.0})
            twice = [one.model_copy(update={"duplicated": self.duplicated}) for one in result.tables]
            return judge(result.model_copy(update={"objectives": strict, "tables": tuple(twice)})), folder
        return result.model_copy(update={"outcome": self.outcomes.get(nr, Outcome.PASSED)}), folder

    def look(self, _estate: object, every: tuple[Written, ...]) -> LastCheck:
        copies = tuple(
            Looked(host=host, role=role, rounds=len(every), acked=9, overwritten=0, lost=len(self.gone), duplicated=0)
            for host, role in (("pg1", "primary"), ("pg2", "standby"))
        )
        return LastCheck(looked=copies, gone=self.gone)


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    made = Lab()
    monkeypatch.setenv("DR_STATE", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("DR_RUNS", str(tmp_path))
    monkeypatch.setattr(rounds, "drill", made.drill)
    monkeypatch.setattr(prepare, "settled", made.settled)
    monkeypatch.setattr(rounds.hosts, "load", lambda *_: made.estate())
    monkeypatch.setattr(rounds.disk, "look", made.disks)
    monkeypatch.setattr(rounds.disk, "paths", lambda *_: ())
    monkeypatch.setattr(rounds.act, "forget_kept", lambda host, folder: made.forgotten.append((host, folder)))
    monkeypatch.setattr(rounds.gather, "machine", lambda: None)
    monkeypatch.setattr(rounds.gather, "versions", lambda _estate: {})
    monkeypatch.setattr(rounds_rows, "look", made.look)
    monkeypatch.setattr(rounds_rows, "take_out", lambda *_: TakenOut(1, "order_records", 7))
    monkeypatch.setattr(rounds.server, "survey", lambda _estate: ())
    monkeypatch.setattr(rounds.server, "the_primary", lambda _nodes: SimpleNamespace(host=None))
    monkeypatch.setattr(prepare.deploys, "deploy", no_deploy)
    return made


def no_deploy(*_: object, **__: object) -> None:
    raise AssertionError("a deploy between rounds would repair what a round left behind")


def go(lab: Lab, count: int = 4, twin: str = "") -> tuple[RoundsResult, Path]:
    return rounds.run(RoundsPlan(count, 5, twin=twin), "lab", lab.said.append)


def test_rounds_that_all_pass_leave_one_report_and_each_its_own_folder(lab: Lab, tmp_path: Path) -> None:
    result, folder = go(lab)
    assert (result.outcome, result.reasons, len(result.rounds)) == (Outcome.PASSED, (), 4)
    assert [how.reclone for how in lab.drilled] == [one.reclone for one in RoundsPlan(4, 5).drawn()]
    assert read_rounds(folder / "result.json") == result
    told = json.loads((folder / "result.json").read_text())
    assert (told["outcome"], told["lost"], told["duplicated"], told["rpo_rows"]) == ("passed", 0, 0, 0)
    assert {"name", "started_at", "duration_s", "rto_s", "acked", "replayed", "phases", "objectives"} <= set(told)
    assert all((folder / one.folder / "ledger.jsonl").exists() for one in result.rounds)
    assert "Passed" in (folder / "report.html").read_text()
    cases = ElementTree.parse(folder / "junit.xml").findall(".//testcase")
    assert len(cases) == 6 and not ElementTree.parse(folder / "junit.xml").findall(".//failure")
    assert (folder / "said.log").read_text().count("a sentence of the drill") == 4
    assert "a sentence of the drill" not in lab.said and "WARNING: something is odd" in lab.said
    assert any("--seed 5 repeats" in said for said in lab.said)
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, "evidence"}


def test_a_round_that_fails_on_an_estate_that_is_whole_again_lets_the_others_go_on(lab: Lab) -> None:
    lab.missed = 2
    result, folder = go(lab)
    assert (result.outcome, len(result.rounds), result.passed) == (Outcome.FAILED, 4, 3)
    assert result.reasons[0].startswith("Round 2 (") and "promised was at most 1 s" in result.reasons[0]
    assert len(result.reasons) == 1
    assert result.worst_first()[0].nr == 2
    assert [one.nr for one in result.missed] == [2]
    assert len(ElementTree.parse(folder / "junit.xml").findall(".//failure")) == 2, "the round, and the verdict"


def test_whoever_looks_on_hears_of_every_round(lab: Lab) -> None:
    heard: list[object] = []
    rounds.run(RoundsPlan(3, 5), "lab", lab.said.append, lambda _, how: heard.append(how))
    assert heard == lab.drilled and len(heard) == 3


def test_rounds_stop_at_an_estate_that_is_not_whole_and_count_none_that_was_not_run(lab: Lab) -> None:
    lab.broken = 2
    result, folder = go(lab)
    assert (result.outcome, len(result.rounds)) == (Outcome.FAILED, 2)
    assert result.reasons == (
        "Round 2 left an estate that is not whole: the estate is not whole: pg1 does not answer",
        "Rounds 3 to 4 were not run.",
        "Rows of earlier rounds were not looked for again after the last round.",
    )
    assert result.hint == "./dr status tells more"
    failures = ElementTree.parse(folder / "junit.xml").findall(".//failure")
    assert len(failures) == 4, "the verdict, two rounds that were not run, and the look back"


def test_rounds_stop_before_a_disk_is_full(lab: Lab) -> None:
    lab.full_from = 3
    result, _ = go(lab)
    assert (result.outcome, len(result.rounds)) == (Outcome.FAILED, 3)
    assert result.reasons[0] == "Round 4 was not begun: 1.0 GiB are free on / of pg1, and a round may take 2"
    assert "lab.down" in result.hint


def test_what_goes_wrong_between_rounds_leaves_a_report_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise Refused("pg2 cannot be reached over SSH", "./dr status")

    monkeypatch.setattr(rounds.act, "forget_kept", fails)
    result, folder = go(lab)
    assert (result.outcome, len(result.rounds)) == (Outcome.FAILED, 1)
    assert result.reasons[0] == "Round 2 could not be run: pg2 cannot be reached over SSH"
    assert "Failed" in (folder / "report.html").read_text()


def test_what_a_rejoin_kept_aside_is_removed_after_a_round_that_passed_and_no_other(lab: Lab) -> None:
    lab.missed = 2
    go(lab, 3)
    kept = "/var/lib/postgresql/mystocks-kept"
    assert lab.forgotten == [(host, f"{kept}/{nr}-rejoin") for nr in (1, 3) for host in ("pg1", "pg2")]


@pytest.mark.parametrize("how", ["inside", "between"])
def test_an_interrupt_leaves_a_report_of_what_has_run(lab: Lab, how: str) -> None:
    if how == "inside":
        lab.outcomes[3] = Outcome.INTERRUPTED
    else:
        lab.interrupted_in = 3
    result, folder = go(lab, 5)
    assert result.outcome is Outcome.INTERRUPTED
    assert result.passed == 2
    assert "The rounds were interrupted." in result.reasons
    assert "Interrupted" in (folder / "report.html").read_text()
    assert read_rounds(folder / "result.json").outcome is Outcome.INTERRUPTED


def test_a_terminal_that_is_closed_loses_no_report(lab: Lab) -> None:
    def closed(_: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    lab.outcomes[2] = Outcome.INTERRUPTED
    result, folder = rounds.run(RoundsPlan(3, 5), "lab", closed)
    assert (result.outcome, result.passed) == (Outcome.INTERRUPTED, 1)
    assert (folder / "report.html").exists() and "Broken pipe" not in " ".join(result.reasons)


def test_a_kill_leaves_what_was_proven_and_no_verdict(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds._Going, "conclude", lambda *_, **__: None)
    _, folder = go(lab, 3)
    left = read_rounds(folder / "result.json")
    assert (left.outcome, len(left.rounds)) == (Outcome.INTERRUPTED, 3)
    assert left.reasons == ("3 of 3 rounds have run; the run has not ended.",)


def test_a_row_that_a_later_round_lost_fails_rounds_that_all_passed(lab: Lab) -> None:
    lab.gone = (Gone(nr=1, table="order_records", rows=2, numbers="7-8", hosts=("pg1", "pg2")),)
    result, _ = go(lab)
    assert (result.outcome, result.passed, result.lost) == (Outcome.FAILED, 4, 1)
    assert result.reasons == (
        "2 rows of order_records acknowledged in round 1 are gone from pg1 and pg2 after the last round (number 7-8).",
    )


def test_the_twin_holds_only_for_the_very_row_that_was_taken_out(lab: Lab) -> None:
    taken = Gone(nr=1, table="order_records", rows=1, numbers="7", hosts=("pg1", "pg2"))
    lab.gone = (taken,)
    result, _ = go(lab, 2, "vanished-row")
    assert result.outcome is Outcome.FAILED and result.negative_twin and result.negative_twin.held
    others = [
        taken.model_copy(update={"numbers": "8"}), taken.model_copy(update={"nr": 2}),
        taken.model_copy(update={"table": "transaction_records"}),
    ]  # fmt: skip
    for wrong in ((), *((other,) for other in others), (taken, others[0])):
        lab.gone, lab.drilled = wrong, []
        result, _ = go(lab, 2, "vanished-row")
        assert result.negative_twin and not result.negative_twin.held, wrong


def test_the_twin_holds_where_a_round_was_slow_and_not_where_one_failed_for_more(lab: Lab) -> None:
    lab.gone, lab.missed = (Gone(nr=1, table="order_records", rows=1, numbers="7", hosts=("pg1",)),), 2
    result, _ = go(lab, 2, "vanished-row")
    assert result.negative_twin and result.negative_twin.held
    assert "promised was at most 1 s" in result.negative_twin.reason, "what was missed is said all the same"
    lab.drilled, lab.duplicated = [], 1
    result, _ = go(lab, 2, "vanished-row")
    assert result.negative_twin and not result.negative_twin.held
    lab.drilled, lab.missed, lab.outcomes = [], 0, {2: Outcome.FAILED}
    result, _ = go(lab, 2, "vanished-row")
    assert result.negative_twin and not result.negative_twin.held, "a round that failed without a reason"


def test_two_hosts_that_took_writes_fail_rounds_that_all_passed_and_nobody_seen_does_too(lab: Lab) -> None:
    lab.seen = [LOOKS, ack("pg1", 3, 1.0), ack("pg2", 4, 2.0), ack("pg1", 3, 3.0)]
    result, _ = go(lab, 2)
    assert (result.outcome, result.passed) == (Outcome.FAILED, 2)
    assert result.reasons == ("Two hosts took writes: pg2 on timeline 4, and after it pg1 on 3.",)
    lab.seen, lab.drilled = [LOOKS], []
    result, _ = go(lab, 2)
    assert result.reasons == ("The witness saw no host take a write, so nothing is known about two that did.",)


def test_the_twin_of_the_witness_holds_only_when_it_saw_both(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds.second_primary, "appear", lambda *_: None)
    lab.seen = [LOOKS, ack("pg1", 3, 1.0), ack("pg2", 4, 2.0), ack("pg1", 3, 3.0)]
    result, _ = go(lab, 2, "second-primary")
    assert result.negative_twin and result.negative_twin.held
    lab.seen, lab.drilled = [LOOKS, ack("pg1", 3, 1.0)], []
    result, _ = go(lab, 2, "second-primary")
    assert result.negative_twin and not result.negative_twin.held


def test_every_second_round_kills_the_operator_where_that_is_wanted() -> None:
    assert [one.kill for one in RoundsPlan(5, 1, kill=True).drawn()] == [False, True, False, True, False]
    assert not any(one.kill for one in RoundsPlan(5, 1).drawn())


def test_an_estate_that_is_not_whole_is_refused_before_a_folder_is_made(lab: Lab, tmp_path: Path) -> None:
    lab.drilled.append(Plan())
    lab.broken = 1
    with pytest.raises(Refused):
        go(lab)
    assert list(tmp_path.iterdir()) == []


def ids(*pairs: tuple[int, int]) -> RangeSet:
    return RangeSet(pairs)


ROUNDS = (
    Written(1, 100, {"orders": ids((1, 50)), "positions": ids((1, 50))}),
    Written(2, 200, {"orders": ids((1, 20)), "positions": ids((1, 20))}),
)


def found(**changed: RangeSet) -> dict[tuple[int, str], FoundIds]:
    """What is there: every order, the positions of the second round over those of the first."""
    usual = {
        "orders1": ids((1, 50)), "positions1": ids((21, 50)), "orders2": ids((1, 20)), "positions2": ids((1, 20)),
    } | changed  # fmt: skip
    return {(100 * int(name[-1]), name[:-1]): FoundIds(rows) for name, rows in usual.items()}


def missing(told: dict[tuple[int, str], FoundIds]) -> list[tuple[int, str, int]]:
    return [(one.nr, one.table, one.rows) for one in rounds_rows._missing(ROUNDS, told, {"positions"})]


def test_a_later_row_of_the_same_key_takes_an_earlier_ones_place() -> None:
    assert missing(found()) == []
    wanted = required(ROUNDS, found(), {"positions"})
    assert (wanted[1, "positions"], wanted[2, "positions"]) == (ids((21, 50)), ids((1, 20)))
    assert wanted[1, "orders"] == ids((1, 50)), "nothing takes the place of an order"


def test_what_is_gone_is_named_with_its_round() -> None:
    assert missing(found(orders1=ids((1, 9), (11, 50)))) == [(1, "orders", 1)]
    assert missing(found(positions1=ids((22, 50)))) == [(1, "positions", 1)]


def test_an_older_row_that_came_back_over_a_newer_one_is_found() -> None:
    """As a replay would do that is late and does not look at the event id."""
    assert missing(found(positions1=ids((5, 5), (21, 50)), positions2=ids((1, 4), (6, 20)))) == [(2, "positions", 1)]


def test_a_row_in_flight_that_was_never_acknowledged_may_take_an_earlier_ones_place() -> None:
    assert missing(found(positions1=ids((31, 50)), positions2=ids((1, 30)))) == []


def test_a_row_whose_newer_one_is_gone_as_well_stays_lost_and_one_that_was_replaced_does_not() -> None:
    """Number 7 was replaced and is gone with what replaced it; number 30 nobody ever replaced."""
    gone = found(positions1=ids((21, 29), (31, 50)), positions2=ids((1, 6), (8, 20)))
    assert missing(gone) == [(1, "positions", 1), (2, "positions", 1)]


def test_a_round_that_acknowledged_nothing_may_have_replaced_rows_all_the_same() -> None:
    rounds_, told = (ROUNDS[0], Written(2, 200, {})), found(positions1=ids((3, 50)), positions2=ids((1, 2)))
    assert [one.rows for one in rounds_rows._missing(rounds_, told, {"positions"})] == []
    told = found(positions1=ids((3, 50)), positions2=ids())
    assert [one.rows for one in rounds_rows._missing(rounds_, told, {"positions"})] == [2], "nobody took their place"


BEGUN = {"orders": 3, "positions": 2}  # numbers 4 and 5 of five are positions
EARLY, AGAIN = Numbering(0, BEGUN), Numbering(100, BEGUN)


def test_a_feed_that_was_started_again_replaces_rows_that_have_other_numbers() -> None:
    """Behind number 100 it counts keys from 100 on, which a long feed of an earlier round had reached at number 254."""
    long = Written(1, 100, {"positions": RangeSet((nr, nr + 1) for nr in range(4, 300, 5))}, (EARLY,))
    short = Written(2, 200, {"positions": ids((4, 5), (104, 105), (109, 110))}, (EARLY, AGAIN))
    replaced = ids((4, 5), (254, 255), (259, 260))
    there = {
        (100, "positions"): FoundIds(long.acked["positions"].difference(replaced)),
        (200, "positions"): FoundIds(short.acked["positions"]),
    }  # fmt: skip
    assert list(rounds_rows._missing((long, short), there, {"positions"})) == []
    there[100, "positions"] = FoundIds(there[100, "positions"].ids.difference(ids((104, 105))))
    assert [one.numbers for one in rounds_rows._missing((long, short), there, {"positions"})] == ["104-105"]
    there[200, "positions"] = FoundIds(ids((4, 5), (109, 110)))
    assert [(one.nr, one.numbers) for one in rounds_rows._missing((long, short), there, {"positions"})] == [
        (1, "104-105"), (2, "104-105"),
    ]  # fmt: skip


def test_what_a_feed_wrote_after_it_was_started_again_is_replaced_by_a_long_one() -> None:
    short = Written(1, 100, {"positions": ids((4, 5), (104, 105), (109, 110))}, (EARLY, AGAIN))
    long = Written(2, 200, {"positions": RangeSet((nr, nr + 1) for nr in range(4, 258, 5))}, (EARLY,))
    there = {(100, "positions"): FoundIds(ids((109, 110))), (200, "positions"): FoundIds(long.acked["positions"])}
    assert list(rounds_rows._missing((short, long), there, {"positions"})) == []
    there[100, "positions"] = FoundIds(ids())
    assert [(one.nr, one.numbers) for one in rounds_rows._missing((short, long), there, {"positions"})] == [
        (1, "109-110"),
    ]


def test_numbers_have_the_same_key_where_the_market_makes_the_same_key(natural: dict[str, Keyed]) -> None:
    for table, rows in natural.items():
        assert len(rows) > 1000
        by_key: dict[int, set[object]] = {}
        for start, number, said in rows:
            (key,) = keys((start,), table, ids((number, number)))
            by_key.setdefault(key, set()).add(said)
        assert all(len(said) == 1 for said in by_key.values()), "one key, one natural key"
        assert len({said for one in by_key.values() for said in one}) == len(by_key), "and no two keys for the same"
        assert len(by_key) < len(rows), "some are written twice"


Keyed = list[tuple[Numbering, int, object]]


@pytest.fixture(scope="module")
def natural() -> dict[str, Keyed]:
    """Rows of three feeds, two of them started further on, by the tables that keep the newest row of a key."""
    made: dict[str, Keyed] = {"position_records": [], "daily_kline": []}
    for first, size in ((0, 300), (700, 300), (1000, 70)):
        start, market = Numbering(first, Market.counts(size)), Market(1, first=first)
        for _ in range(30):
            batch = market.batch(size)
            for table, width in (("position_records", 4), ("daily_kline", 3)):
                made[table] += [(start, int(str(row[0])) & 0xFFFFFFFF, row[1:width]) for row in batch[table]]
    return made


def test_rows_across_batches_are_taken_apart_by_their_keys() -> None:
    every = RangeSet([(1, 500)])
    alone = Numbering(0, {"positions": 7})
    assert keys((alone,), "positions", every) == ids((0, 499))
    assert without((alone,), "positions", every, ids((10, 19))) == ids((1, 10), (21, 500))
    assert without((EARLY,), "positions", ids((4, 5), (9, 10)), ids((1, 2))) == ids((4, 4), (10, 10))


def test_a_feed_that_was_started_again_is_seen_in_its_ledger(tmp_path: Path) -> None:
    lines = power_loss_ledger()
    at = next(nr for nr, line in enumerate(lines) if '"start"' in line)
    said = json.loads(lines[at])
    lines[at] = json.dumps({**said, "first": 0, "batch": BEGUN})
    again = json.dumps({**said, "first": 250_000, "batch": BEGUN})
    (tmp_path / "ledger.jsonl").write_text("\n".join([*lines[:-40], again, *lines[-40:]]) + "\n")
    read = written(3, tmp_path)
    assert read is not None
    assert sum(map(len, read.acked.values())) == 330_500
    assert read.starts == (Numbering(0, BEGUN), Numbering(250_000, BEGUN))


@pytest.mark.parametrize("batch", [{"orders": 0}, {"orders": -1}, [], {"orders": "3"}])
def test_a_feed_that_numbers_no_rows_is_no_feed(batch: object) -> None:
    line = json.dumps({"kind": "start", "run": 1, "rate": 1, "tables": ["orders"], "batch": batch})
    assert isinstance(parse_line(line, 1.0), Malformed)


def test_rounds_that_acknowledged_nothing_prove_nothing() -> None:
    with pytest.raises(VerificationFailed, match="nothing to look for"):
        rounds_rows.look(cast(Estate, None), (Written(1, 100, {"orders": ids()}),))
    assert list(LastCheck().reasons()) == ["No copy was looked at after the last round."]


def test_the_ledger_of_a_round_says_what_it_acknowledged(tmp_path: Path) -> None:
    assert written(1, tmp_path) is None
    (tmp_path / "ledger.jsonl").write_text("\n".join(power_loss_ledger()) + "\n")
    read = written(3, tmp_path)
    assert read is not None
    assert (read.nr, read.run, sum(map(len, read.acked.values()))) == (3, 1790000000, 330_500)


def test_duplicates_in_the_end_are_a_reason() -> None:
    check = looked().model_copy(
        update={"looked": tuple(one.model_copy(update={"duplicated": 2}) for one in looked().looked[:1])}
    )
    assert list(check.reasons()) == ["2 acknowledged rows are on pg1 more than once after the last round."]


def test_what_is_not_measured_is_unknown_for_all(lab: Lab) -> None:
    assert interrupted().rto_s is None and interrupted().lost is None
    assert passed().rto_s == max(one.rto_s or 0 for one in passed().rounds)
    assert passed(5).trend() is None
    trend = passed().trend()
    assert trend is not None and 0.5 < trend[1] / trend[0] < 2


def test_runs_lists_rounds_beside_drills_and_counts_each_round_as_measured(tmp_path: Path) -> None:
    for name, result in (("b-rounds", passed()), ("c-rounds", failed_rounds()), ("a-drill", power_loss()[0])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(result.model_dump_json())
    listed = past_runs(tmp_path)
    assert listed.notes == ()
    told = [dict(zip(HEADINGS, row(run), strict=True)) for run in listed.runs]
    assert {"12 of 12 rounds", "primary-power-loss"} <= {one["scenario"] for one in told}
    measured = [one for one in past_drills(tmp_path) if one.scenario == "primary-crash"]
    assert len(measured) == 3, "the rounds that passed; those of a negative twin do not count"


def test_a_runbook_that_was_interrupted_interrupts_the_drill(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = SimpleNamespace(
        outcome=Ended.INTERRUPTED, error="failover was interrupted (SIGINT)", phases=(), steps=(), state=None, started=0
    )
    monkeypatch.setattr("drills.stage.execute", lambda *_, **__: ended)
    stage = Stage("lab", cast(Estate, None), cast(Any, None), cast(Any, None), "192.0.2.1", Path(), lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        stage.run(cast(Any, SimpleNamespace(name="failover")), cast(Any, None))
    assert stage.results, "what it had done is evidence all the same"
    for error in (KeyboardInterrupt(), Interrupted("failover was interrupted")):
        stage.results.clear()
        course = Course(SCENARIOS["primary-crash"], None, Plan(), stage, cast(Any, None), begun())
        course.ended_by(error)
        assert course.result.outcome is Outcome.INTERRUPTED
        assert "./dr status" in course.result.hint, "the report names what leads on"


def test_a_host_comes_back_as_was_drawn_and_the_drill_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def execute(_procedure: object, _estate: object, options: Any, *_: object, **__: object) -> SimpleNamespace:
        asked.append(options.reclone)
        state = SimpleNamespace(rebuilt_by="re-clone from the repository")
        return SimpleNamespace(outcome=Ended.PASSED, phases=(), steps=(), state=state)

    monkeypatch.setattr("drills.stage.execute", execute)
    for reclone in (True, False):
        host = cast(Any, SimpleNamespace(name="pg1"))
        stage = Stage("lab", cast(Estate, None), host, host, "192.0.2.1", Path(), lambda _: None, reclone=reclone)
        SCENARIOS["primary-crash"].restore(stage)
        assert stage.facts == [Fact(label="rejoined", says="pg1, by re-clone from the repository")]
    assert asked == [True, False]


def test_rounds_are_recorded_as_a_whole_and_disprove_their_drills_when_rows_are_gone_in_the_end(lab: Lab) -> None:
    result, folder = go(lab)
    lab.gone = (Gone(nr=1, table="order_records", rows=1, numbers="7", hosts=("pg1",)),)
    lab.drilled = []
    go(lab)
    checked = check(files())
    assert checked.sound
    whole, gone = (results.read(record) for record in checked.records)
    assert whole and gone
    assert (whole.kind, whole.run, whole.passed, whole.scenarios) == (results.Kind.ROUNDS, folder.name, True, ())
    assert not gone.passed and set(gone.scenarios) == {one.scenario for one in result.rounds}


def test_rounds_that_failed_by_a_round_leave_it_to_that_rounds_own_record(lab: Lab) -> None:
    lab.outcomes = {2: Outcome.FAILED}
    go(lab)
    (record,) = check(files()).records
    told = results.read(record)
    assert told and told.outcome is Outcome.FAILED and told.scenarios == ()
