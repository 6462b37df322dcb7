"""What several scenarios need: the WAL closed, a scheduled job run, a check written down, a side cluster removed."""

from __future__ import annotations

from typing import Any

from drills.judging.result import Check, CheckOutcome
from drills.stage import Stage
from inventories.errors import DrError
from runbooks.actions.postgresql import side as sides
from runbooks.engine.wait import until
from runbooks.hosts import Host
from runbooks.probes.postgresql import pgbackrest, server, side

# A long recovery under a full-speed feed would be a drill of the outbox.
RATE = 2000.0
_AGENTS = "cd /opt/mystocks-dr && python3 -m "
_PATIENCE_S = 300.0


def check(name: str, good: bool, detail: str) -> Check:
    return Check(name=name, outcome=CheckOutcome.PASSED if good else CheckOutcome.FAILED, detail=detail)


def switch_wal(stage: Stage) -> None:
    """Close the primary's WAL segment, so that there is one to archive."""
    stage.primary.execute("SELECT pg_logical_emit_message(false, 'mystocks-dr', 'drill'); SELECT pg_switch_wal();")


def catch_up(stage: Stage) -> None:
    """Wait until the repository has all WAL. Wakes the archiver, which sleeps for a minute after three failures."""

    def done() -> bool:
        switch_wal(stage)
        archiver = pgbackrest.archiving(stage.primary)
        return not archiver.failing and not archiver.waiting

    until(done, "archive.catch_up", what="an archive that has everything", retry=(DrError,), every=1)


def run_job(stage: Stage, job: str) -> dict[str, Any]:
    """Run a scheduled job as cron would, to its end. Returns its state: outcome, sentence and so on."""
    return agent(stage, "agents.jobs.runner run %s --wait 60", job)


def agent(stage: Stage, words: str, *args: str) -> dict[str, Any]:
    """What an agent on the backup host said as its one JSON object, whatever its exit code."""
    ran = stage.estate.backup.run(_AGENTS + words, *args, user="postgres", expect=None, timeout=_PATIENCE_S)
    said = ran.json()
    assert isinstance(said, dict)
    return said


def primary_now(stage: Stage) -> Host:
    """Who takes writes at this moment. Raises DrError when nobody does, or more than one."""
    return server.the_primary(server.survey(stage.estate)).host


def drop_side(stage: Stage, name: str) -> None:
    """A runbook that failed, or was only to look, leaves its side cluster open."""
    host = primary_now(stage)
    if side.look(host, name) is not None:
        sides.drop(host, name, 60)
