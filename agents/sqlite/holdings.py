"""What the receiver keeps of every database, read on the backup host: known also when all other hosts are gone.

    python3 -m agents.sqlite.holdings                    as JSON, a shelf after the other
    python3 -m agents.sqlite.holdings --opens < KEY      the same, and which snapshots this key opens

The key is not on this host: without one nothing that is locked is opened, and manifests are believed as they stand.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError, BadConfig, run
from agents.jobs import proofs
from agents.jobs.proofs import Proof
from agents.sqlite import records
from agents.sqlite.manifest import opened
from agents.sqlite.receiver import DEFAULT
from agents.sqlite.records import Header
from agents.sqlite.seal import Broken, Seal
from agents.sqlite.shelf import DATA, MANIFEST, PROOFS, SNAPSHOTS, STREAMS

_TOLD = ("stream", "tx", "at", "taken_at", "bytes", "rows", "key_id")


def look(folder: Path, seal: Seal | None = None) -> dict[str, Any]:
    """{"shelves": [...]}, each of one database of one application host, as `_shelf` tells."""
    return {"shelves": [_shelf(path, seal) for path in _names(folder)]}


def _shelf(folder: Path, seal: Seal | None) -> dict[str, Any]:
    """`snapshots` oldest first; `stream`: the newest, `changes` (tx, at) of its newest record, None where there is
    none; `trouble`: why nobody can say how far its changes go.
    """
    known = proofs.verdicts(proofs.read(folder / PROOFS))
    snapshots = [_snapshot(path, known.get(path.name), seal) for path in _names(folder / SNAPSHOTS)]
    stream = next(reversed(_names(folder / STREAMS)), None)
    changes, trouble = None, ""
    try:
        changes = _end(stream) if stream else None
    except (AgentError, OSError) as error:
        trouble = str(error)
    return {
        "name": folder.name, "snapshots": [one for one in snapshots if one], "stream": stream.name if stream else "",
        "changes": {"tx": changes.tx, "at": changes.at} if changes else None, "trouble": trouble,
        "bytes": sum(_size(one) for one in folder.rglob("*")),
    }  # fmt: skip


def _snapshot(folder: Path, proof: Proof | None, seal: Seal | None) -> dict[str, Any] | None:
    """`proven` is None where nobody tried, `opens` None where no key was given, `manifest` None where it cannot be
    read; None for one that was let go meanwhile.
    """
    told: dict[str, Any] = {
        "label": folder.name, "proven": proof and proof.passed, "proven_at": proof and proof.proven_at,
        "proof_s": proof and proof.seconds, "opens": None, "manifest": None, "stored": _size(folder / DATA),
        "trouble": "" if proof is None or proof.passed else proof.sentence,
    }  # fmt: skip
    try:
        raw = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        told["manifest"] = {name: getattr(opened(raw, None), name) for name in _TOLD}
    except (AgentError, OSError, ValueError, AttributeError) as error:
        told["trouble"] = f"its manifest cannot be read: {error}"
        return told if folder.exists() else None
    if seal is not None:
        try:
            opened(raw, seal)
            told["opens"] = True
        except Broken as error:
            told |= {"opens": False, "trouble": str(error)}
    return told


def _size(path: Path) -> int:
    """0 of what is none, or is gone."""
    with suppress(OSError):
        return path.stat().st_size if path.is_file() else 0
    return 0


def _names(folder: Path) -> list[Path]:
    """Oldest first; what is being made or removed has no name yet, or no more."""
    if not folder.is_dir():
        return []
    return sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))


def _end(stream: Path) -> Header | None:
    """The newest record. Raises Broken where one before others is damaged: nobody knows what lies behind it."""
    for path in sorted(stream.glob("*.wal"), reverse=True):
        last, end = None, 0
        for one, ends in records.headers(path):
            last, end = one, ends
        if end < path.stat().st_size and not records.is_torn(path, end):
            raise Broken(f"{stream.name}/{path.name} is damaged behind transaction {last.tx if last else 0}.", "")
        if last is not None:
            return last
    return None


def _folder(config: Path) -> Path:
    try:
        return Path(str(json.loads(config.read_text(encoding="utf-8"))["folder"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadConfig(f"{config} cannot be read: {error}.", "./dr deploy writes it.") from error


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.sqlite.holdings", description="What is kept of SQLite databases.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument("--opens", action="store_true", help="try the key that comes on standard input")
    options = parser.parse_args(arguments)
    seal = Seal(sys.stdin.readline().strip().encode()) if options.opens else None
    print(json.dumps(look(_folder(options.config), seal)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
