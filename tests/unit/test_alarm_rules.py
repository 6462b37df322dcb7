"""Each rule of alarms.yaml has what makes it fire, and all are silent over an estate that is whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from drills.board import figures as of_drills
from drills.judging.result import Outcome as Drilled
from inventories.catalog.alarms import Alarms, Severity
from inventories.catalog.load import load_alarms, load_model, load_recovery
from inventories.catalog.tracker.revisions import head
from inventories.errors import BadInput, Unreachable
from runbooks.alarms import alarming, quiet
from runbooks.alarms.evaluating import evaluate, require_known
from runbooks.alarms.spool import Spool
from runbooks.figures import alarms as own
from runbooks.figures import estate as of_estate
from runbooks.figures.kinds import Reading, Sample, together
from runbooks.figures.names import FIGURES, OF_ALARMS, OF_DRILLS, OF_STATUS
from runbooks.judge import blind, objectives
from runbooks.look.status import Status
from runbooks.probes.certificates import Certificate
from runbooks.probes.disk import Disk
from runbooks.probes.jobs import Late, Untold
from runbooks.probes.marks import Marks
from runbooks.probes.monitoring import Monitoring
from runbooks.probes.postgresql.locks import LockRoom
from runbooks.probes.postgresql.promotion import Hindrance, Outlook
from runbooks.probes.sqlite.databases import Glance
from runbooks.probes.tdengine.servers import Server
from runbooks.probes.validations import Outcome
from tests.unit import board_kit
from tests.unit.alarms_kit import rules, ways
from tests.unit.evidence_kit import history
from tests.unit.test_objectives import (
    ALONE,
    ARCHIVER,
    JOBS,
    NOW,
    OFF,
    OUTBOX,
    PRIMARY,
    PROMOTIONS,
    REPOSITORY,
    STANDBY,
    WHOLE,
    host,
)
from tests.unit.test_validation_scheduled import validated

LIMITS = load_recovery().limits
ROOT = Path(__file__).resolve().parents[2]
TRADING = Glance("trading", "/t.db", True, True, True, "", 60.0, 60.0, "")
SOUND = replace(
    WHOLE,
    disks={"pg1": (Disk("/", 100, 80),)}, clocks={"pg1": 0.1},
    locks={name: LockRoom(1000, "t", 10, 10) for name in ("pg1", "pg2")},
    certificates={"pg1": (Certificate("PostgreSQL", NOW + 90 * 86400, NOW + 90 * 86400),)},
    watches={"backup1": "active"}, validations=(), sqlite={"app1": (TRADING,)},
    tracker={"pg1": head(), "pg2": head()},
)  # fmt: skip
SHADOWED = replace(OUTBOX, shadow_bytes=2_040 << 20, shadow_since=NOW - 10)
TAOSD = Server(host("tsdb1"), ssh=True, installed=True, online=False, why="taosd is down")
TD_FULL = replace(JOBS.jobs[0], name="td-full")
STATUSES: dict[str, Status] = {
    "writes": replace(SOUND, nodes=(replace(OFF, host=host("pg1")), replace(STANDBY, receiving_from=None))),
    "replication": replace(SOUND, nodes=(ALONE, OFF), archiving={"pg1": replace(ARCHIVER, open_bytes=3 << 20)}),
    "standbys": replace(SOUND, nodes=(PRIMARY, OFF)),
    "watch": replace(SOUND, watches={"backup1": "failed"}),
    "record": replace(SOUND, record=None),
    "promotion": replace(SOUND, promotions=PROMOTIONS | {"pg2": Outlook(True, 0.1, (
        Hindrance("archive", "nobody answers", "it answers", 9.0, False, "look"),
    ))}),
    "archive": replace(SOUND, archiving={"pg1": replace(ARCHIVER, failing=True)}),
    "backups": replace(SOUND, repository=replace(REPOSITORY, backups=())),
    "jobs": replace(SOUND, jobs=replace(JOBS, late=(Late("full", "full has not succeeded", 9e5, 1e5),))),
    "alarm-command": replace(SOUND, jobs=replace(JOBS, untold=(Untold("pg1 is lost.", 300.0),))),
    "clocks": replace(SOUND, clocks={"pg1": 900.0, "pg2": 0.0}),
    "outbox": replace(SOUND, outbox=replace(OUTBOX, replayer_running=False)),
    "tdengine": replace(SOUND, tdengine=(TAOSD,)),
    "tdengine-outbox": replace(SOUND, tdengine_outbox=replace(OUTBOX, dead_rows=3)),
    "tdengine-backups": replace(SOUND, tdengine_backups=(), jobs=replace(JOBS, jobs=(*JOBS.jobs, TD_FULL))),
    "sqlite": replace(SOUND, sqlite={"app1": (replace(TRADING, protected=False, why="it is away"),)}),
    "tracker": replace(SOUND, tracker={"pg1": "0001", "pg2": "0001"}),
    "shadows": replace(SOUND, outbox=SHADOWED),
    "disks": replace(SOUND, disks={"pg1": (Disk("/", 100, 1),)}),
    "locks": replace(SOUND, locks={"pg1": LockRoom(1000, "t", 900, 900)}),
    "certificates": replace(SOUND, certificates={"pg1": (Certificate("PostgreSQL", NOW + 86400, NOW + 86400),)}),
    "marks": replace(SOUND, marks=Marks(0, None), mark_timers={"backup1": NOW - 3600}),
    "monitoring": replace(SOUND, monitoring=Monitoring("it refuses connections", (), 172_800.0)),
    "validation": replace(SOUND, validations=(validated(Outcome.DIFFERS, NOW - 60, sound=NOW - 86400),)),
    "validation-age": replace(SOUND, validations=(validated(Outcome.WHOLE, NOW - 3 * 86400),)),
    "unknown": replace(SOUND, unknown={"jobs": "did not answer in time"}),
}  # fmt: skip


def of(status: Status) -> Reading:
    return of_estate.reading(status, LIMITS)


def unproved(folder: Path, **channel: object) -> Reading:
    """Of channels that were proved yesterday, but for what is said of one."""
    spool = Spool(folder / "alarms.db")
    routes = ways(folder, SimpleNamespace(url="mailto://127.0.0.1:1?to=o@x.org"), SimpleNamespace(url="json://h"))  # type: ignore[arg-type]
    own.reading(spool, routes, NOW)
    spool.run("update channel set proved_at = ?", NOW - 86400)
    for name, value in channel.items():
        spool.run(f"update channel set {name} = ? where name = 'hook'", value)
    return own.reading(spool, routes, NOW)


def drilled(folder: Path, what: str) -> Reading:
    facts = {"due": board_kit.bad, "slower": board_kit.bad, "stale": board_kit.unknown, "good": board_kit.good}
    if what == "too-slow":
        return of_drills.reading(board_kit.facts(history(folder), plan=board_kit.plan(board_kit.Verdict.TOO_SLOW)))
    if what == "history":
        kept = history(folder)
        kept.add(board_kit.told("bad-update", 1, outcome=Drilled.PASSED))
        kept.files.history.write_text(kept.files.history.read_text().replace("bad-update", "bad-updat3"))
        return of_drills.reading(board_kit.facts(kept))
    if what == "unknown":  # one that is dated ahead of this clock
        kept = history(folder)
        kept.add(board_kit.told("bad-update", -1))
        return of_drills.reading(board_kit.facts(kept))
    return of_drills.reading(facts[what](folder))


FIRES: dict[str, Callable[[Path], Reading]] = {
    **{name: partial(lambda status, _: of(status), status) for name, status in STATUSES.items()},
    "anything-else": lambda _: Reading(NOW, (Sample("finding", 1, {"part": "new", "objective": "x"}, "x: y"),)),
    "unseen": lambda _: of_estate.unseen(NOW, "there is no route", ""),
    "channel-fails": lambda folder: unproved(folder, failing_since=NOW - 400, error="500"),
    "channel-unproved": lambda folder: unproved(folder, proved_at=NOW - 31 * 86400),
    "history": lambda folder: drilled(folder, "history"),
    "drill-due": lambda folder: drilled(folder, "due"),
    "drill-unknown": lambda folder: drilled(folder, "unknown"),
    "drill-slower": lambda folder: drilled(folder, "slower"),
    "drill-stale": lambda folder: drilled(folder, "stale"),
    "too-slow": lambda folder: drilled(folder, "too-slow"),
}


def test_every_rule_has_what_makes_it_fire() -> None:
    assert set(FIRES) == set(load_alarms().rules)


@pytest.mark.parametrize("rule", FIRES)
def test_it_fires(rule: str, tmp_path: Path) -> None:
    found = evaluate(load_alarms(), FIRES[rule](tmp_path))
    mine = [one for one in found.holding if one.rule == rule]
    assert mine and all(one.says and "{" not in one.says for one in mine)


@pytest.mark.parametrize("rule", FIRES)
def test_it_is_silent(rule: str, tmp_path: Path) -> None:
    drills = drilled(tmp_path, "good")
    sound = together(NOW, (of(SOUND), unproved(tmp_path), drills))
    named = {one.figure for one in sound.samples} | {figure.name for figure in FIGURES.values() if figure.only_while}
    assert load_alarms().rules[rule].figure in named, "what was not measured is not silent"
    assert [one.says for one in evaluate(load_alarms(), sound).holding if one.rule == rule] == []


def test_every_figure_that_is_read_has_a_name_and_its_labels(tmp_path: Path) -> None:
    readings = [of(SOUND), *(make(_folder(tmp_path, nr)) for nr, make in enumerate(FIRES.values()))]
    for reading in readings:
        for sample in reading.samples:
            assert tuple(sample.labels) == FIGURES[sample.figure].labels, sample
    exported = {sample.figure for reading in readings for sample in reading.samples}
    never = FIGURES.keys() - exported
    assert never <= {"outbox_lane_rows", "outbox_oldest_timestamp_seconds", "replication_lag_bytes", "shadow_bytes",
                     "archive_oldest_waiting_timestamp_seconds"}, never  # fmt: skip
    assert FIGURES.keys() == OF_STATUS | OF_DRILLS | OF_ALARMS


def _folder(tmp_path: Path, nr: int) -> Path:
    made = tmp_path / str(nr)
    made.mkdir()
    return made


def test_a_name_stands_once_with_the_same_labels() -> None:
    twice = replace(SOUND, tdengine=(TAOSD, replace(TAOSD, host=host("tsdb1"))))
    for status in (*STATUSES.values(), twice):
        named = [(one.figure, tuple(sorted(one.labels.items()))) for one in of(status).samples]
        assert sorted(named) == sorted(set(named))


def test_every_part_is_judged_and_whole() -> None:
    parts = objectives.by_part(SOUND, LIMITS)
    assert not any(parts.values()) and set(parts) <= {rule.where.get("part") for rule in load_alarms().rules.values()}
    assert blind.parts(SOUND) == frozenset()
    for status in STATUSES.values():
        flat = [one for some in objectives.by_part(status, LIMITS).values() for one in some]
        assert flat == list(objectives.findings(status, LIMITS))
        assert blind.parts(status) <= set(parts)


@pytest.mark.parametrize(
    ("status", "parts"),
    [
        (replace(SOUND, jobs=None), {"jobs", "alarm-command", "shadows"}),
        (replace(SOUND, nodes=(PRIMARY, OFF)), {"disks", "clocks", "certificates", "watch", "marks", "standbys"}),
        (replace(SOUND, archiving={}), {"archive"}),
        (
            replace(SOUND, unknown={"monitoring": "did not answer in time"}),
            {"monitoring", "disks", "clocks", "certificates", "watch", "marks", "standbys"},
        ),
        (
            replace(SOUND, sqlite={}, unknown={"SQLite on app1": "did not answer in time"}),
            {"sqlite", "disks", "clocks", "certificates", "watch", "marks", "standbys"},
        ),
        (replace(SOUND, tracker={"pg2": "0001"}), {"tracker"}),
        (
            replace(SOUND, unknown={"tracker's outbox": "did not answer in time"}),
            {"tracker", "disks", "clocks", "certificates", "watch", "marks", "standbys"},
        ),
        (replace(SOUND, tdengine=(TAOSD,)), {"tdengine", "tdengine-outbox", "tdengine-backups", "shadows"}),
    ],
)
def test_what_nobody_can_tell_is_no_all_clear(status: Status, parts: set[str]) -> None:
    assert blind.parts(status) == parts


def changed(**rule: object) -> Alarms:
    one = {"figure": "outbox_rows", "above": 5, "severity": "warning", "to": ["operators"], **rule}
    return rules(rules={"mine": one})


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"figure": "outbox_row"}, "figure is 'outbox_row', and nobody exports such a figure"),
        ({"where": {"host": "app1"}}, "where names 'host', and outbox_rows has no such label"),
        ({"says": "{rows} of {store}"}, "says names {rows}, which nobody fills in"),
    ],
)
def test_a_rule_that_names_what_there_is_not_is_bad_input(rule: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says) as error:
        require_known(changed(**rule))
    assert error.value.hint
    require_known(changed())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rules: {}", "rules is {}"),
        ("rules: {a: {figure: seen, severity: critical, to: [o]}}", "no bound is given for it"),
        ("rules: {a: {figure: seen, above: 1, below: 0, severity: critical, to: [o]}}", "above and below is given"),
        ("rules: {a: {figure: seen, above: 1, severity: bad, to: [o]}}", "severity is 'bad'"),
        ("rules: {a: {figure: seen, above: 1, severity: info, to: []}}", "to is"),
        ("rules: {a: {figure: seen, above: 1, severity: info, to: [o], for: soon}}", "for is 'soon'"),
        ("rules: {a: {figure: seen, above: 1, severity: info, to: [o]}}\nquiet: {from: '22:00', until: '22:00'}",
         "it would never end"),
        ("rules: {a: {figure: seen, above: 1, severity: info, to: [o]}}\nquiet: {from: '22:00', until: '7:00'}",
         "quiet.until is '7:00'"),
        ("rules: {a: {figure: seen, above: 1, severity: info, to: [o]}}\n"
         "quiet: {from: '22:00', until: '07:00', zone: Asia/Shangai}", "nobody knows a time zone of that name"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_rules_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "alarms.yaml"
    path.write_text(f"version: 1\n{text}\n")
    with pytest.raises(BadInput, match=says.replace("{", r"\{")) as error:
        load_model(path, Alarms)
    assert error.value.hint and len(str(error.value).splitlines()) == 1


def test_the_rules_that_are_there_are_sound() -> None:
    require_known(load_alarms())
    assert set(load_alarms().recipients) == {"operators", "lead"}


def test_an_estate_that_cannot_be_looked_at_is_a_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (Unreachable("nothing answers", "plug it in"), KeyError("ours")):
        def look(_: object, error: Exception = error) -> Status:
            raise error

        monkeypatch.setattr(alarming.status, "look", look)
        (sample,) = alarming.estate_source(object())().samples  # type: ignore[arg-type]
        assert (sample.figure, sample.value) == ("seen", 0) and "cannot be looked at" in sample.says and sample.hint


@pytest.mark.parametrize(
    ("hour", "waits_h"), [(12, 0), (22, 9), (23, 8), (2, 5), (6.99, 0.01), (7, 0)]
)
def test_quiet_hours_end_in_their_own_zone(hour: float, waits_h: float) -> None:
    midnight = 1_789_920_000.0  # 2026-09-21 00:00 in Shanghai
    now = midnight + hour * 3600
    said = load_alarms().quiet
    assert quiet.due(said, Severity.WARNING, now) - now == pytest.approx(waits_h * 3600, abs=40)
    assert quiet.due(said, Severity.CRITICAL, now) == now == quiet.due(None, Severity.INFO, now)


def test_what_is_silent_is_told_once() -> None:
    silent = replace(SOUND, repository=None, unknown={"repository": "backup1 does not answer", "jobs": "no such file"})
    seen = evaluate(load_alarms(), of(silent)).holding
    assert [one.rule for one in seen if "backup1" in one.says] == ["backups"]
    assert [one.subject for one in seen if one.rule == "unknown"] == ["jobs"]


def test_moments_are_told_and_ages_are_not() -> None:
    box = replace(OUTBOX, oldest_age_s=30.0, pending_rows=4, lanes={"orders": 4})
    told = {one.figure: one.value for one in of(replace(SOUND, outbox=box)).samples}
    assert told["outbox_oldest_timestamp_seconds"] == NOW - 30 and told["outbox_lane_rows"] == 4

