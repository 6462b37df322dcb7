"""Rounds: drill after drill on one standing estate, nothing deployed in between, roles and scars handed on.

One drill proves a failover of an estate that was just made. What a rewind, a re-clone or a promotion leaves behind
shows in the next round, or in the one after it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from drills import gather, prepare
from drills.by_watch import OPERATOR, WATCH
from drills.evidence import results
from drills.judging.result import DrillResult, NegativeTwin, Outcome
from drills.rounds import report, second_primary, witness
from drills.rounds import rows as rounds_rows
from drills.rounds.result import Round, RoundsResult, besides_slowness, judge, round_of, write_rounds
from drills.run import Begun, Plan, drill, even_unheard, nobody
from drills.scenarios.catalogue import REJOINED, ROUND_TWINS, SCENARIOS, SECOND_PRIMARY, TWINS, VANISHED_ROW
from drills.scenarios.parts import nothing
from inventories.errors import BadInput, DrError, Refused
from runbooks import hosts
from runbooks.actions.postgresql import server as act
from runbooks.engine.rundir import new_run_dir
from runbooks.engine.signals import held_back, interruptible
from runbooks.hosts import Estate
from runbooks.layout import KEPT
from runbooks.probes import disk
from runbooks.probes.postgresql import server

# Each of them ends on the estate that it began on, its roles exchanged at most.
_ROUND_TRIPS = (
    "primary-power-loss", "primary-crash", "primary-partition", "planned-switchover", "site-power-loss",
)  # fmt: skip
# A runbook's own verification and backup pass while the feed writes on, so that less of it is needed around them.
_CALM_S, _AFTER_S = 2.0, 1.0
MOST = 1000  # half a day of them
ROOM_BYTES = 2 << 30  # a round takes an eighth of it, on all hosts of a lab together


def pool() -> tuple[str, ...]:
    """The scenarios that rounds are drawn from."""
    return tuple(name for name in _ROUND_TRIPS if name in SCENARIOS)


@dataclass(frozen=True)
class Drawn:
    nr: int
    scenario: str
    reclone: bool
    seed: int
    kill: bool = False
    by: str = OPERATOR

    @property
    def rejoin(self) -> str:
        return "re-clone" if self.reclone else "rewind"

    @property
    def says(self) -> str:
        """Where no host is lost, none has to come back."""
        lost = SCENARIOS[self.scenario].restore is not nothing
        killed = ", the operator's process killed in every runbook" if self.kill else ""
        watched = ", by the watch" if self.by == WATCH else ""
        return f"{self.scenario}{watched}{f', then {self.rejoin}' if lost else ''}{killed}"


@dataclass(frozen=True)
class RoundsPlan:
    """How many rounds of which scenarios; `seed` fixes what is drawn. Raises BadInput for what makes no rounds.

    `kill`: in every second round the operator's process is killed in the middle of each runbook. `by` the watch: it
    acts wherever a watch may and nobody is killed.
    """

    count: int
    seed: int
    scenarios: tuple[str, ...] = field(default_factory=pool)
    rate: float = 6000.0
    twin: str = ""
    kill: bool = False
    by: str = OPERATOR

    def __post_init__(self) -> None:
        Plan(rate=self.rate)
        if self.count < 1:
            raise BadInput(f"{self.count} rounds would prove nothing", "--rounds 10 runs ten")
        if self.count > MOST:
            raise BadInput(f"{self.count} rounds are more than {MOST} in one run", "--rounds 50 takes under an hour")
        if self.twin and self.twin not in ROUND_TWINS:
            raise BadInput(*_no_twin_of_rounds(self.twin))
        if self.by == WATCH and not any(SCENARIOS[name].by_itself for name in self.scenarios):
            acts_on = ",".join(name for name in pool() if SCENARIOS[name].by_itself)
            raise BadInput(
                f"no watch acts on {' or '.join(self.scenarios)}: an operator would run every round",
                f"leave --by out, or --scenario {acts_on}",
            )

    def drawn(self) -> tuple[Drawn, ...]:
        """What each round is. Every scenario comes once before one comes again, so that few rounds leave none out."""
        chance = random.Random(self.seed)  # noqa: S311 - moments, no secret
        names: list[str] = []
        while len(names) < self.count:
            names += chance.sample(self.scenarios, len(self.scenarios))
        kills = [self.kill and nr % 2 == 1 for nr in range(self.count)]
        return tuple(
            Drawn(nr, name, chance.random() < 0.5, chance.randrange(2**31), kill, self._who(name, kill))
            for nr, (name, kill) in enumerate(zip(names, kills, strict=False), 1)
        )

    def _who(self, name: str, kill: bool) -> str:
        return self.by if SCENARIOS[name].by_itself and not kill else OPERATOR


def plan(
    rounds: str, scenarios: str, twin: str, rate: float, seed: int | None, *, kill: bool = False, by: str = OPERATOR
) -> RoundsPlan:
    """From the words of an operator. Raises BadInput."""
    try:
        count = int(rounds)
    except ValueError:
        raise BadInput(f"{rounds!r} is no number of rounds", "--rounds 10 runs ten") from None
    drawn = seed if seed is not None else random.SystemRandom().randrange(1, 2**31)
    return RoundsPlan(count, drawn, _scenarios(scenarios), rate, twin, kill, by)


def _scenarios(words: str) -> tuple[str, ...]:
    if not words:
        return pool()
    names = tuple(dict.fromkeys(name.strip() for name in words.split(",")))
    for name in names:
        if name not in SCENARIOS:
            raise BadInput(f"there is no scenario {name!r}", f"rounds are drawn from {', '.join(pool())}")
        if name not in pool():
            raise BadInput(
                f"{name} cannot be part of rounds: it needs more than a failover to bring the estate back",
                f"rounds are drawn from {', '.join(pool())}; ./dr drill --scenario {name} runs it by itself",
            )
    return names


def _no_twin_of_rounds(name: str) -> tuple[str, str]:
    known = ", ".join(ROUND_TWINS)
    if name not in TWINS:
        return f"there is no negative twin {name!r}", f"the twins of rounds: {known}"
    hint = f"./dr drill --twin {name}; the twins of rounds: {known}"
    return f"{name} is a twin of a single drill, not of rounds", hint


@dataclass
class _Going:
    """Rounds on their way. `result` is on disk after each of them, so that a kill leaves what has been proven."""

    plan: RoundsPlan
    lab: str
    say: Callable[[str], None]
    folder: Path
    result: RoundsResult
    began: float
    begun: Begun = nobody
    taken_out: rounds_rows.TakenOut | None = None

    def go(self) -> None:
        """Every round, then the look back. Raises KeyboardInterrupt."""
        for drawn in self.plan.drawn():
            if not self._whole(drawn):
                return
            self._round(drawn)
        self._look_back()

    def _whole(self, drawn: Drawn) -> bool:
        """Whether the round may begin. Nothing is repaired here: the round before was to leave a whole estate."""
        estate = hosts.load("lab")
        try:
            prepare.settled(estate)
        except DrError as error:
            after = f"Round {drawn.nr - 1} left" if drawn.nr > 1 else "There was"
            self.stop(f"{after} an estate that is not whole: {error}", error.hint)
            return False
        try:
            _require_room(estate)
        except DrError as error:
            self.stop(f"Round {drawn.nr} was not begun: {error}", error.hint)
            return False
        return True

    def _round(self, drawn: Drawn) -> None:
        self.say(f"round {drawn.nr} of {self.plan.count}: {drawn.says}")
        how = Plan(self.plan.rate, _CALM_S, _AFTER_S, drawn.seed, drawn.reclone, drawn.kill, drawn.by)
        with (self.folder / "said.log").open("a", encoding="utf-8") as log:
            result, folder = drill(
                SCENARIOS[drawn.scenario], self.lab, self._hearing(log.write), how, runs=self.folder, begun=self.begun
            )
        how_back, darkens = _rejoin(drawn, result), SCENARIOS[drawn.scenario].darkens
        one = round_of(drawn.nr, result, folder.name, *how_back, killed=drawn.kill, darkens=darkens)
        self.result = self.result.with_round(one)
        self.write()
        if one.passed:
            _forget_kept(folder)
        self.say(f"round {drawn.nr}: {told(one)}")
        if result.outcome is Outcome.INTERRUPTED:
            raise KeyboardInterrupt

    def _hearing(self, write: Callable[[str], object]) -> Callable[[str], None]:
        """What a drill says goes to a file; what a person should see at once is said aloud as well."""

        def hear(sentence: str) -> None:
            write(f"{datetime.now(UTC):%H:%M:%S} {sentence}\n")
            if sentence.startswith("WARNING"):
                self.say(sentence)

        return hear

    def _look_back(self) -> None:
        """Every row that any round acknowledged, on both copies."""
        try:
            prepare.settled(hosts.load("lab"))
            estate = hosts.load("lab")
            every = tuple(self._written())
            if self.plan.twin == VANISHED_ROW and every:
                primary = server.the_primary(server.survey(estate)).host
                self.taken_out = rounds_rows.take_out(primary, str(estate.data["database"]), every[0])
            self.say(f"looking for the {self.result.acked:,} rows of all rounds again")
            self.result = self.result.model_copy(update={"last_check": rounds_rows.look(estate, every)})
            if self.plan.twin == SECOND_PRIMARY:
                second_primary.appear(estate, self._hearing(lambda _: 0), self.folder)
        except DrError as error:
            self.stop(f"The rows of all rounds could not be looked for again: {error}", error.hint)

    def witnessed(self) -> None:
        """Whether two hosts ever took writes at the same time."""
        self.result = self.result.model_copy(update={"witnessed": witness.read(self.folder)})

    def _written(self) -> Iterator[rounds_rows.Written]:
        for one in self.result.rounds:
            if found := rounds_rows.written(one.nr, self.folder / one.folder):
                yield found

    def stop(self, why: str, hint: str) -> None:
        self.result = self.result.model_copy(update={"stopped": why, "hint": hint})

    def write(self) -> None:
        """What has run so far. It is not over, and says so."""
        ran = f"{len(self.result.rounds)} of {self.plan.count} rounds have run; the run has not ended."
        lasts = round(time.monotonic() - self.began, 3)
        write_rounds(self.result.model_copy(update={"reasons": (ran,), "duration_s": lasts}), self.folder)

    def conclude(self, *, interrupted: bool) -> None:
        """The verdict, with all its evidence."""
        if interrupted:
            self.stop("The rounds were interrupted.", "./dr status shows what each host is")
        lasted = round(time.monotonic() - self.began, 3)
        update: dict[str, object] = {"duration_s": lasted, "fingerprint": gather.machine()}
        if not interrupted:
            update["versions"] = gather.versions(hosts.load("lab"))
        self.result = judge(self.result.model_copy(update=update), interrupted=interrupted)
        if self.plan.twin:
            self.result = self.result.model_copy(update={"negative_twin": self._twin()})
        write_rounds(self.result, self.folder)
        report.write_junit(self.result, self.folder)
        report.write_report(self.result, self.folder)
        results.kept(lambda: results.record_rounds(self.result, self.folder), self.say)

    def _twin(self) -> NegativeTwin:
        """It holds when the very thing that was done is the only one that is wrong; rounds may have been slow."""
        alone = len(besides_slowness(self.result)) == 1
        held = alone and (self._row_gone() if self.plan.twin == VANISHED_ROW else self._two())
        return NegativeTwin(name=self.plan.twin, held=held, reason="; ".join(self.result.reasons) or "it passed")

    def _row_gone(self) -> bool:
        out, check = self.taken_out, self.result.last_check
        found = [(one.nr, one.table, one.numbers) for one in check.gone] if check else []
        return out is not None and found == [(out.nr, out.table, str(out.number))]

    def _two(self) -> bool:
        return self.result.witnessed is not None and len(self.result.witnessed.two) == 1


def _require_room(estate: Estate) -> None:
    """Rows, WAL and backups of every round stay. Raises Refused where a further one might fill a disk."""
    for host in (*estate.postgres, estate.backup):
        for found in disk.look(host, disk.paths(estate, host)):
            if found.free_bytes < ROOM_BYTES:
                raise Refused(
                    f"{found.free_bytes / 2**30:.1f} GiB are free on {found.mount} of {host}, and a round may take "
                    f"{ROOM_BYTES / 2**30:.0f}",
                    "make room, or begin with a new lab: ./dr lab.down removes this one",
                )


def _forget_kept(round_folder: Path) -> None:
    """Remove the copies of what only a lost host had: of a round that passed every row was found on both hosts."""
    rejoins = [path.name for path in round_folder.glob("runbooks/*-rejoin*")]
    for host in hosts.load("lab").postgres:
        for name in rejoins:
            act.forget_kept(host, f"{KEPT}/{name}")


def run(
    plan: RoundsPlan, lab: str, say: Callable[[str], None], begun: Begun = nobody
) -> tuple[RoundsResult, Path]:  # fmt: skip
    """Run them and leave their evidence. The estate must be whole: nothing is deployed here.
    `begun`: of each round, as of `drill`.

    Raises Refused before anything was broken, when it is not.
    """
    primary, _ = prepare.settled(hosts.load("lab"))
    folder = new_run_dir(f"rounds{f'-{plan.twin}' if plan.twin else ''}")
    result = RoundsResult(
        name=folder.name, run_id=str(plan.seed), lab=lab, host=primary.name, started_at=datetime.now(UTC),
        wanted=plan.count, pool=plan.scenarios,
    )  # fmt: skip
    going = _Going(plan, lab, even_unheard(say), folder, result, time.monotonic(), begun)
    going.say(f"{plan.count} rounds of {', '.join(plan.scenarios)}; --seed {plan.seed} repeats them")
    going.write()
    interrupted = False
    try:
        with interruptible(), witness.present(hosts.load("lab").app, folder):
            going.go()
    except KeyboardInterrupt:
        interrupted = True
    except DrError as error:
        going.stop(f"Round {len(going.result.rounds) + 1} could not be run: {error}", error.hint)
    with held_back():
        going.witnessed()
        going.conclude(interrupted=interrupted)
    return going.result, folder


def told(one: Round) -> str:
    """A round in one line."""
    rto = "RTO unknown" if one.rto_s is None else f"RTO {one.rto_s:.2f} s"
    lost = "not compared" if one.lost is None else f"{one.lost:,} lost, {one.duplicated or 0:,} duplicated"
    rows = f"{one.acked or 0:,} rows, {lost}"
    why = f"; {one.reasons[0]}" if one.reasons else ""
    return f"{one.outcome.value}, {rto}, {rows}, {one.duration_s:.1f} s{why}"


def _rejoin(drawn: Drawn, result: DrillResult) -> tuple[str, str]:
    """How a host was to come back, and how it did; both empty where none had to."""
    told = next((fact.says for fact in result.facts if fact.label == REJOINED), "")
    rejoins = any(step.procedure == "rejoin" for step in result.steps)
    return (drawn.rejoin if rejoins else "", told)
