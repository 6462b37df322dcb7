"""Every undo of every runbook is drilled on a lab: a new one fails here until tests/drills/test_undo.py runs it."""

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


def test_every_undo_of_every_runbook_runs_on_a_lab() -> None:
    there = {(name, step.name) for name, known in PROCEDURES.items() for step in known.procedure.steps if step.undo}
    assert there, "no runbook undoes anything"
    assert there == DRILLED
