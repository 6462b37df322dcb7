"""Backups go wrong while production writes on: an archive that lies, a byte that rots, a disk that is full."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from drills.result import Check, CheckOutcome
from drills.scenario import Result, Scenario, Twin
from drills.stage import Stage
from inventories.catalog.load import load_recovery
from inventories.errors import DrError, VerificationFailed
from lab.disks import SmallDisk
from runbooks import status
from runbooks.engine.context import Context, Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Step
from runbooks.engine.wait import until
from runbooks.hosts import Estate
from runbooks.objectives import Finding, findings
from runbooks.probes import disk, pgbackrest
from runbooks.procedures.mend_archive import MEND_ARCHIVE, MendArchiveOptions

Run = Context[Estate, Any]
PAUSE_S = 0.5  # between two looks of an alarm that asks again and again


def detect_s(stage: Stage, scenario: str) -> float:
    """Seconds that the alarm may take, from the catalogue."""
    promised = load_recovery().scenarios[scenario].detect_s
    assert promised, f"recovery.yaml promises no alarm for {scenario}"
    return promised


def store_wrote_on(stage: Stage) -> Check:
    """The fault was one of the backups: no row may have had to go to the outbox."""
    rows = stage.feed.ledger.view().by_outbox
    return check("production wrote on: the outbox took nothing", not rows, f"{rows:,} rows went to the outbox")


def check(name: str, good: bool, detail: str) -> Check:
    return Check(name=name, outcome=CheckOutcome.PASSED if good else CheckOutcome.FAILED, detail=detail)


def switch_wal(stage: Stage) -> None:
    """Close the primary's WAL segment, so that there is one to archive."""
    stage.primary.execute("SELECT pg_logical_emit_message(false, 'mystocks-dr', 'drill'); SELECT pg_switch_wal();")


def run_job(stage: Stage, job: str, *further: str) -> dict[str, Any]:
    """Run a scheduled job as cron would, to its end. Returns its state: outcome, sentence and so on."""
    command = "cd /opt/mystocks-dr && python3 -m agents.jobs run %s --wait 60" + " %s" * len(further)
    ran = stage.estate.backup.run(command, job, *further, user="postgres", expect=None, timeout=300)
    said = ran.json()
    assert isinstance(said, dict)
    return said


# ---- silent-archive-failure


def _lie(stage: Stage) -> None:
    """What somebody sets to silence a failing archiver for a moment, and forgets."""
    primary = stage.primary
    stage.later(
        "the declared archive_command",
        lambda: primary.execute("ALTER SYSTEM RESET archive_command; SELECT pg_reload_conf();"),
    )
    primary.execute("ALTER SYSTEM SET archive_command = '/bin/true'; SELECT pg_reload_conf();")
    until(
        lambda: primary.query("select setting from pg_settings where name = 'archive_command'")[0]["setting"],
        5, what="the reload", accept=lambda command: command == "/bin/true",
    )  # fmt: skip
    switch_wal(stage)


def _scheduled_check(stage: Stage) -> str:
    """The job that closes a segment and looks for it in the repository."""
    state = run_job(stage, "check")
    if state["outcome"] == "passed":
        raise VerificationFailed(f"the scheduled check of the archive passed: {state['sentence']}")
    return f"the scheduled check of the archive: {state['sentence']}"


def _believing_check(stage: Stage) -> str:
    """The twin's: what PostgreSQL says of its archiver, which is what archive_command said."""
    archiver = until(
        lambda: pgbackrest.archiving(stage.primary), 10, what="an archiver that is done",
        accept=lambda seen: not seen.waiting,
    )  # fmt: skip
    if archiver.failing:
        return f"the archiver of {stage.primary} failed"
    raise VerificationFailed(f"pg_stat_archiver knows of no failure; {archiver.last_archived} was archived, it says")


def _mend(stage: Stage) -> Result:
    result = stage.run(MEND_ARCHIVE, MendArchiveOptions(yes=True))
    stage.fact("gap in the archive", ", ".join(result.state.gaps) or "none that it knew of")
    stage.fact("lost for ever", ", ".join(result.state.left) or "nothing: pg_wal still had every segment")
    return result


def _archive_is_whole(stage: Stage) -> tuple[Check, ...]:
    state = run_job(stage, "check")
    said = check("the scheduled check passes again", state["outcome"] == "passed", str(state["sentence"]))
    return said, store_wrote_on(stage)


# ---- disk-full


class Nothing(BaseModel):
    """A drill's own repair keeps no state."""

    model_config = ConfigDict(frozen=True)


def _repository_disk(stage: Stage) -> SmallDisk:
    return SmallDisk(stage.lab, stage.estate.backup.name, disk.REPOSITORY, "pgbackrest-server")


def _small_repository(stage: Stage) -> None:
    small = _repository_disk(stage)
    stage.later("the repository's own disk", small.grow)
    small.shrink()
    _catch_up(stage)


def _fill(stage: Stage) -> None:
    _repository_disk(stage).fill()
    switch_wal(stage)


def _look(stage: Stage) -> tuple[Finding, ...]:
    """What `./dr status` finds wrong with archiver and disks."""
    found = findings(status.look(stage.estate), load_recovery().limits)
    wanted = (f"archiver of {stage.primary}", f"disk {disk.REPOSITORY} of {stage.estate.backup}")
    return tuple(finding for finding in found if finding.objective in wanted)


def _status_alarm(stage: Stage) -> str:
    """Both must be told: that WAL is not archived, and why."""
    found = until(
        lambda: _look(stage), detect_s(stage, "disk-full"), what="./dr status to tell that the repository is full",
        accept=lambda seen: len(seen) == 2, every=PAUSE_S,
    )  # fmt: skip
    return "./dr status: " + "; ".join(f"{finding.objective} {finding.measured}" for finding in found)


def _deaf_alarm(stage: Stage) -> str:
    """The twin's: looks at the age of the newest backup only, long after the archiver has begun to fail."""
    until(lambda: pgbackrest.archiving(stage.primary).failing, 60, what="an archiver that fails")
    found = [f for f in findings(status.look(stage.estate), load_recovery().limits) if "backup" in f.objective]
    told = [finding for finding in found if finding.objective.startswith("age of")]
    if told:
        return told[0].measured
    raise VerificationFailed("the newest backup is young enough, and nothing else was looked at")


def _catch_up(stage: Stage) -> None:
    """Wait until the repository has all WAL. Wakes the archiver, which sleeps for a minute after three failures."""

    def done() -> bool:
        switch_wal(stage)
        archiver = pgbackrest.archiving(stage.primary)
        return not archiver.failing and not archiver.waiting

    until(done, "archive.catch_up", what="an archive that has everything", retry=(DrError,), every=1)


def _make_room(stage: Stage) -> Procedure[Nothing]:
    """What an operator does: make room. The archiver needs nothing else."""

    def room(context: Run, state: Nothing) -> Nothing:
        _repository_disk(stage).empty()
        return state

    def caught_up(context: Run, state: Nothing) -> None:
        _catch_up(stage)

    def checked(context: Run, state: Nothing) -> None:
        stage.estate.backup.run(
            "pgbackrest --stanza=%s --io-timeout=5 check", stage.estate.data["stanza"], user="postgres",
            timeout=context.remaining(),
        )  # fmt: skip

    return Procedure(
        name="make-room",
        summary="Make room in the repository and wait for the archiver to catch up.",
        purpose="The repository is full: WAL waits on the primary until there is room.",
        gate=(),
        initial=lambda context: Nothing(),
        steps=(
            Step(
                name="make-room", role="backup", budget="archive.catch_up", action=room,
                says="Make room on the repository's disk.",
                evidence=Evidence("no segment waits any more and the archiver works", caught_up),
            ),
            Step(
                name="check", role="backup", budget="archive.catch_up", action=lambda context, state: state,
                says="Close a segment and look for it in the repository.",
                evidence=Evidence("pgBackRest finds the segment that it closed", checked),
            ),
        ),
    )  # fmt: skip


def _disk_has_room(stage: Stage) -> tuple[Check, ...]:
    left = _look(stage)
    said = "; ".join(f"{finding.objective}: {finding.measured}" for finding in left) or "no finding is left"
    return check("the alarm is over", not left, said), store_wrote_on(stage)


# ---- damaged-backup


def take_backup(stage: Stage) -> str:
    """Take an incremental backup by the scheduled job and return its label."""
    state = run_job(stage, "incr")
    if state["outcome"] != "passed":
        raise VerificationFailed(f"no backup could be taken: {state['sentence']}")
    return newest_backup(stage)


def newest_backup(stage: Stage) -> str:
    newest = pgbackrest.info(stage.estate.backup, str(stage.estate.data["stanza"])).newest
    assert newest is not None, "a backup was just taken"
    return newest.label


SCENARIOS = (
    Scenario(
        name="silent-archive-failure",
        summary="archive_command ends with 0 and archives nothing; the primary believes it.",
        fault=_lie,
        detect=_scheduled_check,
        recover=_mend,
        check=_archive_is_whole,
        new_timeline=False,
    ),
    Scenario(
        name="disk-full",
        summary="The repository's disk is full; production has to write on.",
        prepare=_small_repository,
        fault=_fill,
        detect=_status_alarm,
        recover=lambda stage: stage.run(_make_room(stage), Options(yes=True)),
        check=_disk_has_room,
        new_timeline=False,
    ),
)

TWINS = (
    Twin(
        name="believed-archiver",
        says="The check believes what archive_command says: the lie must go undetected.",
        reason="Time from the fault to the alarm is unknown",
        scenario="silent-archive-failure",
        detect=_believing_check,
    ),
    Twin(
        name="deaf-alarm",
        says="The alarm looks at the age of the newest backup only: the full disk must go undetected.",
        reason="Time from the fault to the alarm is unknown",
        scenario="disk-full",
        detect=_deaf_alarm,
    ),
)
