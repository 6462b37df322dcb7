"""Every backup of TDengine with what is known of it, and the dumps of the second engine.

    python3 -m agents.tdengine.backup.listing

Prints {"backups": [{"label", "kind", "base", "started_at", "ended_at", "rows", "rows_dumped", "bytes", "key_id",
"seconds", "server_version", "totals", "verified", "left_out", "chain": [label], "ok", "why"}], "dumps": [...]}, oldest
first. One that is not ok cannot be restored; of one whose manifest cannot be read, nothing else is told. Files are
measured here and not read: agents.tdengine.backup.verify does that.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError, run
from agents.jobs import proofs
from agents.tdengine.backup import manifest as td_manifest
from agents.tdengine.backup import settings as td_settings
from agents.tdengine.backup.dump import Dumps
from agents.tdengine.backup.manifest import Manifest
from agents.tdengine.backup.settings import Settings

_TOLD = (
    "label", "kind", "base", "started_at", "ended_at", "rows", "rows_dumped", "bytes", "key_id", "seconds",
    "server_version", "totals", "verified", "left_out",
)  # fmt: skip


@dataclass(frozen=True)
class Head:
    """A manifest without its hours: those of every backup at once would fill the memory."""

    facts: dict[str, Any]
    chain: tuple[str, ...]
    files: dict[str, dict[str, Any]]
    apart: bool  # its subtables have a file of their own


def backups(settings: Settings) -> list[dict[str, Any]]:
    """Those that are published."""
    found: dict[str, Head | str] = {}
    for label in td_manifest.labels(settings):
        try:
            found[label] = head(td_manifest.load(label, settings, subtables=False))
        except AgentError as error:
            found[label] = str(error)
    return [_told(label, one, found, settings) for label, one in found.items()]


def head(manifest: Manifest) -> Head:
    facts = {name: getattr(manifest, name) for name in _TOLD}
    return Head(facts, manifest.chain, manifest.files, manifest.format > 1)


def _told(label: str, one: Head | str, known: Mapping[str, Head | str], settings: Settings) -> dict[str, Any]:
    if isinstance(one, str):
        return {"label": label, "kind": "incr" if label.endswith("I") else "full", "ok": False, "why": one}
    why = next((said for link in one.chain if (said := _wrong(link, known, settings))), "")
    return {**one.facts, "chain": list(one.chain), "ok": not why, "why": why}


def _wrong(link: str, known: Mapping[str, Head | str], settings: Settings) -> str:
    """Why this link of a chain is of no use; empty when it is."""
    one = known.get(link)
    if one is None:
        return f"{link}, which it needs, is not there"
    if isinstance(one, str):
        return one
    for name, expected in one.files.items():
        path = settings.folder / link / name
        size = path.stat().st_size if path.exists() else None
        if size != expected["bytes"]:
            there = "is missing" if size is None else f"has {size} bytes instead of {expected['bytes']}"
            return f"{name} of {link} {there}"
    if one.apart and not (settings.folder / link / td_manifest.SUBTABLES).exists():
        return f"{td_manifest.SUBTABLES} of {link} is missing"
    return ""


def dumps(settings: Settings) -> list[dict[str, Any]]:
    """What the second engine took; one that cannot be used is told with its reason, one that was proven with when."""
    store, found = Dumps(settings), []
    known = proofs.verdicts(proofs.read(store.proofs))
    for label in store.labels():
        proof = known.get(label)
        why = "" if proof is None or proof.passed else next(iter(proof.damaged), proof.sentence)
        proven = proof.proven_at if proof and proof.passed else None
        try:
            found.append({**asdict(store.load(label)), "ok": not why, "why": why, "proven_at": proven})
        except AgentError as error:
            found.append({"label": label, "ok": False, "why": str(error), "proven_at": None})
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.tdengine.backup.listing", description="Every backup of TDengine.")
    parser.add_argument("--config", type=Path, default=td_settings.PATH)
    settings = td_settings.load(parser.parse_args(arguments).config)
    print(json.dumps({"backups": backups(settings), "dumps": dumps(settings)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
