"""Take one backup of TDengine, run by agents.jobs.runner, and tell the application host what it covers.

    python3 -m agents.tdengine.backup.take full|incr
    python3 -m agents.tdengine.backup.take accept        what is missing in the newest backup is meant to be gone

A backup of a database that has lost rows covers nothing new: the rows may be in the shadow and nowhere else. Until they
are back, or `accept` was said, the alarm is raised and the shadow is left to its bounds of age and size.

Prints what agents.tdengine.backup.rows prints.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from agents.base import files
from agents.base.clock import has_been
from agents.base.errors import AgentError, run
from agents.jobs import config, in_step
from agents.jobs.alarm import raise_alarm
from agents.tdengine.backup import cover as td_cover
from agents.tdengine.backup import manifest, rows
from agents.tdengine.backup import settings as td_settings
from agents.tdengine.backup.manifest import Manifest
from agents.tdengine.backup.missing import missing
from agents.tdengine.backup.settings import Settings
from agents.tdengine.session import TdengineError

_ACCEPT = "if they are meant to be gone: python3 -m agents.tdengine.backup.take accept, on the backup host"


def lost_since(settings: Settings, made: Manifest, covered: str | None) -> list[str]:
    """What the backup that was noted last has and this one lacks; nothing when that is gone too."""
    if covered is None or covered == made.label or covered not in manifest.labels(settings):
        return []
    return list(missing([manifest.load(covered, settings, subtables=False)], [made]))


def cover(settings: Settings, made: Manifest) -> str:
    """Note that this one covers what came before it; what to say about it. Raises AgentError."""
    jobs = config.load()
    doubt = in_step.doubt(jobs)
    if doubt or not has_been(made.started_at, in_step.now(jobs)):
        return f"; {doubt or 'its time is still to come'}, so it covers nothing yet and the shadow keeps what it has"
    before = held_before(settings, jobs, made)
    lost = lost_since(settings, made, before)
    if not lost:
        publish(settings, jobs, made)
        return ""
    sentence = f"TDengine lacks {'; '.join(lost)}, which {before} has"
    note = json.dumps({"label": before, "since": made.started_at, "sentence": sentence})
    files.replace(jobs.td_lost, f"{note}\n")
    raise_alarm(jobs, [f"{sentence}; ./dr tdengine-restore --label {before}, or {_ACCEPT}"])
    return f"; {sentence}, so the shadow keeps what it has"


def held_before(settings: Settings, jobs: config.Settings, made: Manifest) -> str | None:
    """The backup whose rows must all be in this one: the one that was noted, or what a lost note leaves to go by.

    A server on a blank host has no note. What it lacks is then what the last backup before it has.
    """
    with suppress(TdengineError):  # the note may have been on a node that is lost
        known = td_cover.look(settings.server())
        if known:
            return known.label
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads(jobs.td_lost.read_text())["label"])
    return next((label for label in reversed(manifest.labels(settings)) if label != made.label), None)


def publish(settings: Settings, jobs: config.Settings, made: Manifest) -> None:
    td_cover.publish(settings.server(), made.label, made.started_at)
    jobs.td_lost.unlink(missing_ok=True)


def name_left_out(jobs: config.Settings, made: Manifest) -> None:
    """For `status`: what this edition or version cannot give is in no backup, and nobody else would notice."""
    if made.left_out:
        files.replace(jobs.td_left_out, f"{json.dumps(made.left_out, ensure_ascii=False)}\n")
    else:
        jobs.td_left_out.unlink(missing_ok=True)


def take(settings: Settings, kind: str) -> dict[str, object]:
    made = rows.take(settings, kind)
    name_left_out(config.load(), made)
    said = rows.told(made)
    try:
        said["sentence"] += cover(settings, made)
    except AgentError as error:  # the backup is there in any case; the shadow merely stays as it is
        said["sentence"] += f"; the application host was not told: {error}"
    return said


def accept(settings: Settings) -> dict[str, object]:
    newest = manifest.newest(settings, subtables=False)
    publish(settings, config.load(), newest)
    return {"label": newest.label, "sentence": f"{newest.label} covers what came before it"}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="agents.tdengine.backup.take", description="Back TDengine up, and say what is covered."
    )
    parser.add_argument("command", choices=("full", "incr", "accept"))
    parser.add_argument("--config", type=Path, default=td_settings.PATH)
    options = parser.parse_args(arguments)
    settings = td_settings.load(options.config)
    said = accept(settings) if options.command == "accept" else take(settings, options.command)
    print(json.dumps(said), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
