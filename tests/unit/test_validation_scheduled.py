"""A scheduled validation is kept on the backup host, a failed one too, and is missed once it does not come."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from agents.validation import keep
from inventories.catalog.load import load_recovery
from inventories.errors import DrError, Refused, TargetFailed
from runbooks.figures import estate as figures
from runbooks.hosts import Host, Ran
from runbooks.judge import blind, objectives, validation
from runbooks.probes import validations
from runbooks.probes.validations import Kept, Outcome
from runbooks.validation.difference import Check, Difference, Looked
from runbooks.validation.report import Report
from runbooks.validation.scheduled import kept
from tests.unit.test_objectives import NOW, WHOLE, host

ROOT = Path(__file__).resolve().parents[2]
LIMITS = load_recovery().limits
MISSING = Difference(Check.CONTENT, "order_records", "row event_id=7", "a row", "no such row")
ONE_TABLE = Report("postgresql", "pg1", "full", "", 1, (Looked(Check.CONTENT, "rows", 9, "", ()),), 1.0)
WHAT = {"store": "postgresql", "level": "full", "against": ""}
_KEEP = (
    "import sys; from pathlib import Path; from agents.base.errors import run; from agents.validation import keep;"
    "sys.exit(run(lambda: keep.main(sys.stdin.read(), Path(sys.argv[1]))))"
)


@dataclass(frozen=True)
class Here(Host):
    """A backup host that is a folder of this machine; the program and the shell's words are the real ones."""

    folder: Path = field(default=Path(), compare=False)

    def run(
        self, command: str, *args: object, timeout: float | None = None, expect: int | None = 0, user: str = "root",
        stdin: str | None = None,
    ) -> Ran:  # fmt: skip
        if "agents.validation.keep" in command:
            words = [sys.executable, "-c", _KEEP, str(self.folder)]
        else:
            words = ["sh", "-c", command.replace(validations.FOLDER, shlex.quote(str(self.folder)))]
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False, cwd=ROOT)
        return Ran(done.returncode, done.stdout, done.stderr, 0.0)


@pytest.fixture
def backup(tmp_path: Path) -> Host:
    one = host("backup1")
    return Here(one.name, one.entry, one.ssh_config, folder=tmp_path / "validations")


def validated(outcome: Outcome, at: float, looked: float | None = -1.0, sound: float | None = None) -> Kept:
    looked_at = at if looked == -1.0 else looked
    return Kept("postgresql", outcome, "1 difference", "full", "", "ops@desk", 61.0, at, looked_at, sound)


def gone() -> Report:
    raise Refused("no host takes writes")


def test_nothing_is_known_of_a_store_that_nobody_validates_on_a_schedule(backup: Host) -> None:
    assert validations.look(backup, 5) == ()
    assert validation.sentence((), NOW).startswith("none on a schedule")


def test_what_came_of_it_is_kept_and_when_somebody_could_look_and_found_it_whole(backup: Host) -> None:
    assert kept(backup, WHAT, lambda: ONE_TABLE) is ONE_TABLE
    (whole,) = validations.look(backup, 5)
    assert (whole.outcome, whole.sound_at, whole.looked_at) == (Outcome.WHOLE, whole.at, whole.at)
    broken = replace(ONE_TABLE, checks=(replace(ONE_TABLE.checks[0], differences=(MISSING,)),))
    kept(backup, WHAT, lambda: broken)
    (differs,) = validations.look(backup, 5)
    assert (differs.outcome, differs.sound_at) == (Outcome.DIFFERS, whole.at)
    assert differs.looked_at == differs.at > whole.at
    assert "row event_id=7" in differs.says and "@" in differs.by


def test_one_that_could_not_look_is_kept_and_told_all_the_same(backup: Host) -> None:
    kept(backup, WHAT, lambda: ONE_TABLE)
    with pytest.raises(Refused, match="no host takes writes"):
        kept(backup, WHAT, gone)
    (failed,) = validations.look(backup, 5)
    assert (failed.outcome, failed.says) == (Outcome.FAILED, "no host takes writes")
    assert failed.looked_at is not None and failed.looked_at < failed.at


def test_where_nothing_can_be_kept_the_job_fails(backup: Host) -> None:
    cast(Here, backup).folder.write_text("no folder\n")
    with pytest.raises(TargetFailed, match="backup1"):
        kept(backup, WHAT, lambda: ONE_TABLE)


def test_each_store_has_its_own(backup: Host) -> None:
    for store in ("tdengine", "postgresql"):
        kept(backup, {**WHAT, "store": store}, lambda: ONE_TABLE)
    assert [one.store for one in validations.look(backup, 5)] == ["postgresql", "tdengine"]


@pytest.mark.parametrize("text", ["{", '{"store": "postgresql"}', "[]"])
def test_a_record_that_was_damaged_is_told_and_written_anew_by_the_next(backup: Host, text: str) -> None:
    kept(backup, WHAT, lambda: ONE_TABLE)
    (cast(Here, backup).folder / "postgresql.json").write_text(text)
    with pytest.raises(DrError, match="cannot be read"):
        validations.look(backup, 5)
    kept(backup, WHAT, lambda: ONE_TABLE)
    assert validations.look(backup, 5)[0].outcome is Outcome.WHOLE


@pytest.mark.parametrize(
    "told", [None, {}, {"store": "../../etc/x", "outcome": "whole"}, {"store": "postgresql", "outcome": "fine"}]
)
def test_what_is_no_outcome_is_bad_input(tmp_path: Path, told: Any) -> None:
    with pytest.raises(keep.BadRequest):
        keep.keep(tmp_path, told)


@pytest.mark.parametrize(
    ("one", "objective", "measured"),
    [
        (validated(Outcome.DIFFERS, NOW - 7200), "validation of postgresql", "not whole 2.0 h ago: 1 difference"),
        (validated(Outcome.FAILED, NOW - 120, None), "validation of postgresql", "could not look 2 min ago"),
        (validated(Outcome.WHOLE, NOW - 27 * 3600), "age of the newest validation of postgresql", "27.0 h"),
        (validated(Outcome.WHOLE, NOW + 86400), "age of the newest validation of postgresql", "24.0 h in the time to "
         "come"),
        (validated(Outcome.FAILED, NOW - 60, NOW - 27 * 3600), "age of the newest validation of postgresql", "27.0 h"),
    ],
)
def test_what_is_not_as_promised_is_a_finding(one: Kept, objective: str, measured: str) -> None:
    found = {each.objective: each for each in objectives.findings(replace(WHOLE, validations=(one,)), LIMITS)}
    assert found[objective].measured.startswith(measured)
    assert "./dr validate --store postgresql" in found[objective].hint


def test_one_of_last_night_is_none() -> None:
    night = replace(WHOLE, validations=(validated(Outcome.WHOLE, NOW - 25 * 3600),))
    assert objectives.findings(night, LIMITS) == ()
    assert objectives.findings(replace(WHOLE, validations=()), LIMITS) == ()


def test_where_the_backup_host_is_silent_nobody_can_tell() -> None:
    parts: Callable[..., frozenset[str]] = blind.parts
    assert {"validation", "validation-age"} <= parts(replace(WHOLE, validations=None))
    assert not {"validation", "validation-age"} & parts(replace(WHOLE, validations=()))


def test_its_figures_are_told() -> None:
    told = validated(Outcome.DIFFERS, NOW - 60, sound=NOW - 86400)
    reading = figures.reading(replace(WHOLE, validations=(told,)), LIMITS)
    found = {one.figure: one.value for one in reading.samples if one.labels.get("store") == "postgresql"}
    assert found["validation_failed"] == 1 and found["validation_seconds"] == 61.0
    assert found["validation_sound_timestamp_seconds"] == NOW - 86400
