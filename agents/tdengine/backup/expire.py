"""Retention by proof for TDengine's backups: the only way in which they expire.

    python3 -m agents.tdengine.backup.expire plan                        what would go and what stays; changes nothing
    python3 -m agents.tdengine.backup.expire apply [--uncovered]         run by agents.jobs.runner

A full backup goes only with its incremental ones, and only when a newer backup was restored and found whole. Rows that
no backup that stays has, and that the database would still keep, hold everything back: a dropped supertable may be
noticed late. --uncovered lets also that go.

Prints one JSON object as agents.postgresql.expire does, with "uncovered": [sentence].
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError, run
from agents.jobs import config, in_step, leases, proofs, verification
from agents.jobs.lock import Lock, Owner
from agents.jobs.retention import Backup, Plan, plan
from agents.tdengine.backup import manifest as td_manifest
from agents.tdengine.backup import settings as td_settings
from agents.tdengine.backup.listing import Head, head
from agents.tdengine.backup.manifest import Edited, Manifest, NoBackup
from agents.tdengine.backup.missing import missing
from agents.tdengine.backup.rows import locked

GOING = ".gone-"  # before the name of a backup that is being removed
_OFFSITE_S = 1800.0  # the off-site copy is let end first: it must not meet a folder that is half gone
_SHOWN = 3


def look(jobs: config.Settings, settings: td_settings.Settings, uncovered: bool = False) -> tuple[Plan, list[str]]:
    """The plan as things are now, and what would be gone for good."""
    if jobs.td_retention is None:
        raise AgentError("jobs.json has no retention for TDengine's backups.", "./dr deploy writes it.")
    clock, (heads, broken) = in_step.look(jobs), _heads(settings)
    now = in_step.now(jobs)
    holds = (
        *(lease.sentence for lease in leases.live(jobs.leases)), *filter(None, [in_step.why_not(clock, "td-expire")]),
        *verification.holds(jobs, "td-verify", settings.proofs, now),
    )  # fmt: skip
    known = proofs.verdicts(proofs.read(settings.proofs))
    found = plan(backups(heads, broken), known, holds, jobs.td_retention, now)
    return judged(found, heads, settings, uncovered)


def judged(
    found: Plan, heads: Mapping[str, Head], settings: td_settings.Settings, uncovered: bool
) -> tuple[Plan, list[str]]:
    """Held back where something that stays needs what would go, or where only that has what the database keeps."""
    going = {one.label for one in found.goes}
    if not going:
        return found, []
    for one in found.stays:
        needed = sorted(going & set(heads[one.label].chain)) if one.label in heads else []
        if needed:
            return _held(found, f"nothing expires: {one.label}, which stays, holds rows in {needed[0]}"), []
    staying = [one.label for one in found.stays if one.label in heads and not one.damaged]
    lost = list(missing(_each(sorted(going & heads.keys()), settings), _each(staying, settings)))
    if lost and not uncovered:
        return _held(found, f"nothing expires: no backup that stays has {'; '.join(lost[:_SHOWN])}"), lost
    return found, lost


def _each(labels: Sequence[str], settings: td_settings.Settings) -> Iterator[Manifest]:
    return (td_manifest.load(label, settings, subtables=False) for label in labels)


def apply(
    jobs: config.Settings, settings: td_settings.Settings, uncovered: bool = False
) -> tuple[Plan, list[str]]:
    """Let go of what the plan lets go. No lease is given, no backup taken and no copy made meanwhile."""
    offsite = Lock(jobs.repository_lock)
    if jobs.repository.is_dir():
        offsite.acquire(Owner.me("td-expire"), _OFFSITE_S)
    try:
        with locked(settings), leases.exclusively(jobs.leases):
            for torn in settings.folder.glob(f"{GOING}*"):
                shutil.rmtree(torn)
            found, lost = look(jobs, settings, uncovered)
            # What needs another goes first, so that at no time there is one that cannot be restored.
            for one in reversed(found.goes):
                aside = settings.folder / f"{GOING}{one.label}"
                (settings.folder / one.label).rename(aside)
                shutil.rmtree(aside)
            return found, lost
    finally:
        offsite.release()


def backups(heads: Mapping[str, Head], broken: Mapping[str, str]) -> tuple[Backup, ...]:
    """For the plan, in the order of their labels, which only go up; one whose manifest cannot be read is damaged, and
    as old as its label says.
    """
    sound = [
        Backup(
            label, one.facts["kind"], one.facts["started_at"], one.facts["ended_at"], one.facts["bytes"],
            needs=one.chain,
        )
        for label, one in heads.items()
    ]  # fmt: skip
    return tuple(sorted((*sound, *map(_broken, broken)), key=lambda one: one.label[-16:-1]))


def _broken(label: str) -> Backup:
    at = proofs.labelled_at(label)
    return Backup(label, "incr" if label.endswith("I") else "full", at, at, 0, error=True)


def _heads(settings: td_settings.Settings) -> tuple[dict[str, Head], dict[str, str]]:
    """Of those that can be read, and why the others cannot."""
    found: dict[str, Head] = {}
    broken: dict[str, str] = {}
    for label in td_manifest.labels(settings):
        try:
            found[label] = head(td_manifest.load(label, settings, subtables=False))
        except (Edited, NoBackup) as error:
            broken[label] = str(error)
    return found, broken


def _held(found: Plan, why: str) -> Plan:
    stays = tuple(sorted((*found.goes, *found.stays), key=lambda one: one.label[-16:-1]))
    return replace(found, keep_fulls=None, goes=(), stays=stays, why=why, held=True)


def document(found: Plan, lost: Sequence[str], applied: bool) -> dict[str, Any]:
    labels = ", ".join(one.label for one in found.goes)
    verb = "expired" if applied else "would expire"
    sentence = f"{verb}: {labels}; {found.why}" if found.goes else found.why
    return {
        **asdict(found), "restorable_from": found.restorable_from, "uncovered": list(lost),
        "applied": applied and bool(found.goes), "sentence": sentence,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="agents.tdengine.backup.expire", description="Retention by proof, of TDengine's backups."
    )
    parser.add_argument("command", choices=("plan", "apply"))
    parser.add_argument("--uncovered", action="store_true", help="let go also what no backup that stays has")
    parser.add_argument("--config", type=Path, default=config.PATH)
    parser.add_argument("--backups", type=Path, default=td_settings.PATH)
    options = parser.parse_args(arguments)
    jobs, settings = config.load(options.config), td_settings.load(options.backups)
    applying = options.command == "apply"
    found, lost = (apply if applying else look)(jobs, settings, options.uncovered)
    print(json.dumps(document(found, lost, applying)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
