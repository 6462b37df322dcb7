"""Backups go wrong while production writes on: an archive that lies, a byte that rots, a disk that is full."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from drills.judging.result import Check
from drills.scenarios.common import RATE, agent, catch_up, check, drop_side, run_job, switch_wal
from drills.scenarios.parts import Result, Scenario, Twin
from drills.stage import Stage
from inventories.catalog.load import load_recovery
from inventories.errors import VerificationFailed
from lab.disks import SmallDisk, biggest_file, flip_byte
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Step
from runbooks.engine.wait import until
from runbooks.hosts import Run
from runbooks.judge.objectives import Finding, findings
from runbooks.look import status
from runbooks.probes import disk
from runbooks.probes.postgresql import pgbackrest
from runbooks.procedures.postgresql import restore_pitr
from runbooks.procedures.postgresql.delayed import REPOSITORY
from runbooks.procedures.postgresql.mend_archive import MEND_ARCHIVE, MendArchiveOptions
from runbooks.procedures.postgresql.restore_pitr import RESTORE_PITR, RestorePitrOptions

PAUSE_S = 0.5  # between two looks of an alarm that asks again and again


def detect_s(stage: Stage, scenario: str) -> float:
    """Seconds that the alarm may take, from the catalogue."""
    promised = load_recovery().scenarios[scenario].detect_s
    assert promised, f"recovery.yaml promises no alarm for {scenario}"
    return promised


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
    return (check("the scheduled check passes again", state["outcome"] == "passed", str(state["sentence"])),)


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
    catch_up(stage)


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


def _make_room(stage: Stage) -> Procedure[Nothing]:
    """What an operator does: make room. The archiver needs nothing else."""

    def room(context: Run, state: Nothing) -> Nothing:
        _repository_disk(stage).empty()
        return state

    def caught_up(context: Run, state: Nothing) -> None:
        catch_up(stage)

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
    return (check("the alarm is over", not left, said),)


# ---- damaged-backup


def _back_up(stage: Stage) -> None:
    """A backup of its own to damage, with sound ones before it."""
    stage.damaged = _taken(stage, "incr")


def _taken(stage: Stage, kind: str) -> str:
    """Take a backup by the scheduled job and return its label."""
    state = run_job(stage, kind)
    if state["outcome"] != "passed":
        raise VerificationFailed(f"no backup could be taken: {state['sentence']}")
    newest = pgbackrest.info(stage.estate.backup, str(stage.estate.data["stanza"])).newest
    assert newest is not None, "a backup was just taken"
    return newest.label


def _flip(stage: Stage) -> None:
    """A byte in the middle of the backup's biggest file, its manifest apart: pgBackRest keeps two of those."""
    host = stage.estate.backup.name
    folder = f"{disk.REPOSITORY}/backup/{stage.estate.data['stanza']}/{stage.damaged}"
    file = biggest_file(stage.lab, host, folder, "backup.manifest*")
    stage.later("the flipped byte", lambda: flip_byte(stage.lab, host, file))
    flip_byte(stage.lab, host, file)
    stage.fact("flipped byte", f"in the middle of {file.removeprefix(disk.REPOSITORY + '/')}")


def _prove(stage: Stage, label: str) -> dict[str, Any]:
    """`./dr prove-backup --set LABEL`, on the backup host. Returns the record of the proof."""
    return agent(stage, "agents.postgresql.prove --set %s", label)


def _proof_finds_it(stage: Stage) -> str:
    proof = _prove(stage, stage.damaged)
    if proof["outcome"] == "passed":
        raise VerificationFailed(f"prove-backup found nothing wrong with {stage.damaged}: {proof['sentence']}")
    stage.fact("found damaged", ", ".join(proof["damaged"]) or "nothing was named")
    return f"prove-backup: {proof['sentence']}"


def _listed(stage: Stage) -> str:
    """The twin's proof: a backup that is listed without an error is called good."""
    repository = pgbackrest.info(stage.estate.backup, str(stage.estate.data["stanza"]))
    backup = next(one for one in repository.backups if one.label == stage.damaged)
    if backup.error or repository.status:
        return f"{backup.label}: {repository.message}"
    raise VerificationFailed(f"pgBackRest lists {backup.label} without an error; nothing in it was read")


def _restore_from_older(stage: Stage) -> Result:
    """Somebody needs what was there a moment ago; then the damaged backup is replaced by a sound one."""
    now = str(stage.primary.query("select clock_timestamp()::text as now")[0]["now"])
    stage.later("the side cluster", lambda: drop_side(stage, restore_pitr.SIDE))
    options = RestorePitrOptions(yes=True, to_time=now, replace=True, hurry=True, source=REPOSITORY)
    restored = stage.run(RESTORE_PITR, options)
    stage.fact("restored from", restored.state.label)
    for sentence in restored.state.skipped:
        stage.fact("passed over", sentence)
    return stage.run(_replace_backup(stage), Options(yes=True))


def _replace_backup(stage: Stage) -> Procedure[Nothing]:
    """What an operator does: an increment on top of a damaged backup would be damaged too, hence a full one."""
    stanza = str(stage.estate.data["stanza"])
    new: list[str] = []

    def remove(context: Run, state: Nothing) -> Nothing:
        backup = stage.estate.backup
        backup.run("pgbackrest --stanza=%s --set=%s expire", stanza, stage.damaged, user="postgres", timeout=60)
        return state

    def gone(context: Run, state: Nothing) -> None:
        left = [one.label for one in pgbackrest.info(stage.estate.backup, stanza).backups]
        if stage.damaged in left:
            raise VerificationFailed(f"{stage.damaged} is still in the repository")

    def take(context: Run, state: Nothing) -> Nothing:
        new[:] = [_taken(stage, "full")]
        return state

    def proven(context: Run, state: Nothing) -> None:
        proof = _prove(stage, new[0])
        if proof["outcome"] != "passed":
            raise VerificationFailed(f"the new backup {new[0]} is not proven: {proof['sentence']}")
        stage.fact("proven", str(proof["sentence"]))

    return Procedure(
        name="replace-backup",
        summary="Replace a damaged backup by a sound one.",
        purpose="A proof found the newest backup damaged: it must not be the one that is restored.",
        gate=(),
        initial=lambda context: Nothing(),
        steps=(
            Step(
                name="remove", role="backup", budget="ssh.command", action=remove,
                says="Remove the damaged backup from the repository.",
                evidence=Evidence("it is not listed any more", gone),
            ),
            Step(
                name="backup", role="backup", budget="backup", action=take,
                says="Take a full backup and prove it.",
                evidence=Evidence("prove-backup passes", proven),
            ),
        ),
    )  # fmt: skip


def _older_was_taken(stage: Stage) -> tuple[Check, ...]:
    label, passed_over = stage.told("restored from"), stage.told("passed over")
    said = f"restored from {label or 'nothing'}; passed over: {passed_over or 'nothing'}"
    good = bool(label) and label != stage.damaged and stage.damaged in passed_over
    return (check("a restore takes an older backup and says why", good, said),)


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
        name="damaged-backup",
        summary="A byte of the newest backup in the repository is flipped.",
        rate=RATE,
        prepare=_back_up,
        fault=_flip,
        detect=_proof_finds_it,
        recover=_restore_from_older,
        check=_older_was_taken,
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
        name="blind-proof",
        says="The proof looks at the list of backups and reads none: the flipped byte must go undetected.",
        reason=(
            "Time from the fault to the alarm is unknown|.* is damaged"
            "|1 check of the verification failed: a restore takes an older backup"
        ),
        scenario="damaged-backup",
        detect=_listed,
    ),
    Twin(
        name="deaf-alarm",
        says="The alarm looks at the age of the newest backup only: the full disk must go undetected.",
        reason="Time from the fault to the alarm is unknown",
        scenario="disk-full",
        detect=_deaf_alarm,
    ),
)
