"""Every undo of every runbook is drilled: a new one fails here until tests/drills/test_undo.py runs it on a lab.

Those of sqlite-restore start services of one host again: tests/unit/test_sqlite_runbook.py runs them on real processes.
"""

from __future__ import annotations

from runbooks.run import PROCEDURES

# Runbook and step; tests/drills/test_undo.py runs each of these undos and compares what is with what was.
DRILLED = {
    ("switchover", "step-down"),
    ("switchover", "promote"),
    ("restore-pitr", "fence-main"),
    ("restore-pitr", "swap"),
    ("restore-pitr", "start"),
    ("tdengine-restore", "requeue"),
    ("tdengine-rebuild", "requeue"),
    ("tdengine-rebuild", "correct"),
    ("replay-outbox", "replay"),
}
ON_PROCESSES = {("sqlite-restore", "stop"), ("sqlite-restore", "restore")}


def test_every_undo_of_every_runbook_is_drilled() -> None:
    there = {(name, step.name) for name, known in PROCEDURES.items() for step in known.procedure.steps if step.undo}
    assert there, "no runbook undoes anything"
    assert there == DRILLED | ON_PROCESSES
