"""Retention by proof: the only way in which backups expire.

    python3 -m agents.postgresql.expire plan     what would go, what could still be restored afterwards; changes nothing
    python3 -m agents.postgresql.expire apply      run by agents.jobs.runner, which holds the repository's lock

Prints one JSON object: {"keep_fulls", "goes": [...], "stays": [...], "why", "held", "restorable_from", "applied",
"sentence"}.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

from agents.base.errors import AgentError, run
from agents.jobs import in_step, leases, proofs, verification
from agents.jobs.config import PATH, Settings, load
from agents.jobs.retention import Backup, Plan, plan
from agents.postgresql.pgbackrest import taken

_INFO_S = 120.0


def look(settings: Settings) -> Plan:
    """The plan as things are now. Raises AgentError when the repository does not say what it holds."""
    clock, there = in_step.look(settings), backups(settings.stanza)
    now = in_step.now(settings)
    holds = (
        *(lease.sentence for lease in leases.live(settings.leases)), *filter(None, [in_step.why_not(clock, "expire")]),
        *verification.holds(settings, "verify", settings.proofs, now), *_disorder(there),
    )  # fmt: skip
    return plan(there, proofs.verdicts(proofs.read(settings.proofs)), holds, settings.retention, now)


def _disorder(there: Sequence[Backup]) -> tuple[str, ...]:
    """pgBackRest expires by the order of labels, which a clock gave, and not by that in which backups were taken."""
    fulls = [one.label for one in there if one.type == "full"]
    wrong = next((later for earlier, later in pairwise(fulls) if later < earlier), "")
    if not wrong:
        return ()
    ahead = max(label for label in fulls[: fulls.index(wrong)])
    return (f"{ahead} was taken before {wrong} by a clock that was ahead: {let_go(ahead)}",)


def let_go(label: str) -> str:
    """What removes a backup whose label lies ahead, so that later ones can be taken, and expire in their order."""
    return f"when a newer one is proven, `pgbackrest --stanza=main --set={label} expire` as postgres lets it go"


def apply(settings: Settings) -> Plan:
    """Expire what the plan lets go. No lease is given meanwhile."""
    with leases.exclusively(settings.leases):
        found = look(settings)
        if found.keep_fulls is not None:
            _pgbackrest(settings.stanza, f"--repo1-retention-full={found.keep_fulls}", "expire")
            still = {one.label for one in backups(settings.stanza)}
            wrong = [one.label for one in found.stays if one.label not in still]
            if wrong:
                raise AgentError(f"pgBackRest expired {', '.join(wrong)}, which was to stay.", "Look at its log.")
    return found


def backups(stanza: str) -> tuple[Backup, ...]:
    """What the repository holds, in the order in which it was taken: that of the WAL, which no clock disturbs."""
    said = json.loads(_pgbackrest(stanza, "--output=json", "info", timeout=_INFO_S))
    found = [one for stanza_said in said for one in stanza_said.get("backup") or ()]
    return tuple(
        Backup(
            label=one["label"],
            type=one["type"],
            started_at=one["timestamp"]["start"],
            stopped_at=one["timestamp"]["stop"],
            bytes=one["info"]["repository"].get("delta", 0),
            error=bool(one.get("error")),
            needs=tuple(one.get("reference") or ()),
        )
        for one in sorted(found, key=taken)
    )


def _pgbackrest(stanza: str, *words: str, timeout: float | None = None) -> str:
    command = ["pgbackrest", f"--stanza={stanza}", "--log-level-console=off", "--log-level-stderr=warn", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise AgentError(f"pgBackRest cannot {words[-1]}: {lines[-1]}.", "Its log is in /var/log/pgbackrest.")
    return done.stdout


def _document(found: Plan, applied: bool) -> dict[str, object]:
    labels = ", ".join(one.label for one in found.goes)
    verb = "expired" if applied else "would expire"
    sentence = f"{verb}: {labels}; {found.why}" if found.goes else found.why
    return {
        **asdict(found), "restorable_from": found.restorable_from, "applied": applied and bool(found.goes),
        "sentence": sentence,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.postgresql.expire", description="Retention by proof.")
    parser.add_argument("command", choices=("plan", "apply"))
    parser.add_argument("--config", type=Path, default=PATH)
    options = parser.parse_args(arguments)
    settings = load(options.config)
    applying = options.command == "apply"
    print(json.dumps(_document(apply(settings) if applying else look(settings), applying)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
