"""What the backup host's jobs came to, and which backups were proven: from the files that they keep themselves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agents.monitor import growing
from agents.monitor.seen import Seen
from agents.monitor.spool import line, utc


def proofs(path: Path, store: str, estate: str, seen: Seen) -> Iterator[str]:
    """Each line of a file of proofs is one, see agents/jobs/proofs.py."""
    for source, at, data in growing.since(path, seen.get(str(path))):
        for raw in data.splitlines():
            if (told := _object(raw)) is not None and told.get("label") and "proven_at" in told:
                yield line("proof", _proof(told, hashlib.sha256(raw).hexdigest()[:32], store, estate))
        if source == path:
            seen.put(str(path), growing.mark(path, at + len(data)))


def runs(folder: Path, estate: str, seen: Seen) -> Iterator[str]:
    """The last run of each job; one that is not over is no line yet."""
    for path in sorted(folder.glob("*.json")):
        told = _object(path.read_bytes()) or {}
        if not told.get("ended_at") or not told.get("outcome"):
            continue
        name = f"{estate}:{told['job']}:{told['started_at']}"
        if seen.get(str(path)) != name:
            yield line("job", {
                "job_run_id": name, "estate": estate, "job": told["job"], "outcome": told["outcome"],
                "seconds": told.get("seconds"), "sentence": told.get("sentence"), "started_at": utc(told["started_at"]),
            })  # fmt: skip
            seen.put(str(path), name)


def _proof(told: Mapping[str, Any], name: str, store: str, estate: str) -> dict[str, Any]:
    return {
        "proof_id": name, "estate": estate, "store": store, "label": told["label"], "kind": told.get("kind"),
        "repo": told.get("repo"), "outcome": told.get("outcome") or "unknown", "seconds": told.get("seconds"),
        "sentence": told.get("sentence"), "told": told, "proven_at": utc(float(told["proven_at"])),
    }  # fmt: skip


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(raw)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None
