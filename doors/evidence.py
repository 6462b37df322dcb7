"""Evidence: hold the history of drills against itself, and show an auditor what answers a control."""

from __future__ import annotations

import json as jsonlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from doors.support import caller_path, door
from inventories.errors import ExitCode

if TYPE_CHECKING:
    from drills.evidence.checking import Checked

SINCE_HELP = "only what began since this day or moment, such as 2026-11-01 or 2026-11-01T06:00 (UTC), or 30d"
_COPY = "records before it hold; put the history back from a copy, and look who could write there"


@task(
    help={
        "history": "folder of a history that was copied, with its public.pem (default: the one beside the runs)",
        "key": "file with the public keys to trust, several with commas (default: this machine's, and those beside it)",
        "json": "print JSON instead of sentences",
    }
)
@door
def verify(c: Context, history: str = "", key: str = "", json: bool = False) -> None:
    """Hold every record against its signature and place.

    Ends with 1 for a hole, a line that was edited, a signature that does not fit, a result that is not the one that
    was recorded, and a history that is empty: nothing is no evidence.
    """
    from drills.evidence.checking import check, trusted
    from drills.evidence.files import files

    keys = trusted([caller_path(path.strip()) for path in key.split(",")]) if key else None
    checked = check(files(caller_path(history) if history else None), keys)
    if json:
        plain = {"sound": checked.sound, "records": len(checked.records), "keys": checked.keys}
        print(jsonlib.dumps({**plain, "troubles": checked.troubles}, indent=2))
    require_sound(checked)
    if not json:
        first, last = checked.records[0], checked.records[-1]
        print(
            f"{len(checked.records)} records from {first.at[:10]} to {last.at[:10]} hold: none is missing, none was "
            f"edited, each is signed (key {', '.join(checked.keys)})."
        )


def require_sound(checked: Checked) -> None:
    """Ends with 1, the first trouble and how many more there are."""
    if checked.sound:
        return
    if not checked.troubles:
        raise Exit(
            "The history is empty: nothing was ever drilled.\nHINT: ./dr drill runs one", code=int(ExitCode.FAILED)
        )
    more = len(checked.troubles) - 1
    others = f" ({more} more; --json tells all)" if more else ""
    raise Exit(f"{checked.troubles[0]}{others}.\nHINT: {_COPY}", code=int(ExitCode.FAILED))


@task(
    help={
        "control": "the standard: iso22301, iso27001 or soc2",
        "since": SINCE_HELP,
        "out": "the new folder (default: one below runs/evidence)",
    }
)
@door
def export(c: Context, control: str, since: str = "", out: str = "") -> None:
    """Write what answers the controls of a standard.

    A page, the same as JSON, the whole signed history and the public key. Refuses (1) while the history does not hold.
    Which record answers what is written in drills/evidence/controls.yaml.
    """
    from drills.evidence import export as evidence
    from drills.evidence.checking import check
    from drills.evidence.controls import standard
    from drills.evidence.files import files
    from drills.evidence.since import moment

    chosen, kept, at = standard(control), files(), datetime.now(UTC)
    checked = check(kept)
    require_sound(checked)
    every = evidence.shown(chosen, checked, moment(since, at))
    folder = caller_path(out) if out else kept.folder / "exports" / f"{at:%Y%m%dT%H%M%SZ}-{control}"
    evidence.write(control, chosen, every, kept, at, folder)
    for one in every:
        print(f"{control} {one.number}: {one.passed} of {len(one.records)} records passed")
    unanswered = [one.number for one in every if not one.records]
    print(f"evidence: {folder}/evidence.html")
    if unanswered:
        raise Exit(
            f"No record answers {', '.join(unanswered)}.\nHINT: ./dr drills.due says what to drill",
            code=int(ExitCode.FAILED),
        )


collection = Collection("evidence", verify, export)
