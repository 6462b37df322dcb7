"""Read TDengine backups again: is every file what was written, and does the chain hold every window it promises?

    python3 -m agents.tdengine.backup.verify [--label L]     the newest one, or this one, with all that it needs
    python3 -m agents.tdengine.backup.verify --all           every one, and everything that is wrong

Prints one JSON object. Exit 0 whole, 1 not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError, run
from agents.jobs import verification
from agents.tdengine.backup import file
from agents.tdengine.backup import manifest as td_manifest
from agents.tdengine.backup import settings as td_settings
from agents.tdengine.backup.block import decode
from agents.tdengine.backup.manifest import Manifest
from agents.tdengine.backup.settings import Settings
from agents.tdengine.backup.sums import Sums, runs_of, seeding


def verify_own(manifest: Manifest, folder: Path, settings: Settings) -> dict[str, Any]:
    """Read this backup's own files in `folder`; every window that it holds itself must come out. Raises AgentError."""
    began = time.monotonic()
    found, rows = _read(manifest, folder, settings)
    for stable, windows in manifest.windows.items():
        for hour, window in windows.items():
            if window.held_in != manifest.label:
                continue
            there = found.get(stable, {}).pop(hour, (0, ""))
            if there != (window.rows, window.hash):
                raise file.Broken(
                    f"Backup {manifest.label} holds {there[0]} rows of {stable} in the hour {hour} and should hold "
                    f"{window.rows}, or their content differs.",
                    "Take another backup.",
                )
    if rows != sum(one["rows"] for one in manifest.files.values()):
        raise file.Broken(f"Backup {manifest.label} holds {rows} rows and should hold more.", "Take another backup.")
    return {"files": len(manifest.files), "rows": rows, "seconds": round(time.monotonic() - began, 3)}


def _read(manifest: Manifest, folder: Path, settings: Settings) -> tuple[dict[str, dict[int, tuple[int, str]]], int]:
    sums, rows, seed = Sums(), 0, seeding(manifest)
    for name, expected in manifest.files.items():
        in_file, blocks = Sums(), 0
        for number, data in file.read(folder / name, settings.cipher, expected):
            if number == file.END:
                end = json.loads(data)
                if end["blocks"] != blocks or _as_told(end["windows"]) != in_file.told():
                    raise file.Broken(f"{name} of {manifest.label} does not add up.", "Take another backup.")
                continue
            subtable = manifest.subtables[number]
            block = decode(data)
            runs = runs_of(block, seed(subtable))
            sums.add(subtable.stable, runs)
            in_file.add(subtable.name if manifest.format == 1 else subtable.stable, runs)
            rows += block.rows
            blocks += 1
    return sums.told(), rows


def _as_told(windows: dict[str, dict[str, list[Any]]]) -> dict[str, dict[int, tuple[int, str]]]:
    return {
        key: {int(hour): (rows, digest) for hour, (rows, digest) in found.items()} for key, found in windows.items()
    }


def verify(settings: Settings, label: str = "") -> dict[str, Any]:
    """Verify one with its whole chain. Raises NoBackup, Edited, Broken, which are noted where they name a backup."""
    manifest = td_manifest.load(label, settings) if label else td_manifest.newest(settings)
    chain = td_manifest.links(manifest, settings)
    rows = 0
    for one in chain:
        try:
            rows += int(verify_own(chain.load(one), settings.folder / one, settings)["rows"])
        except AgentError as error:
            verification.note(settings.proofs, {one: str(error)}, ())
            raise
    _promised(manifest, chain)
    sentence = f"{manifest.label} is whole: a chain of {len(chain)}, {rows:,} rows read"
    return {"label": manifest.label, "chain": list(manifest.chain), "rows": rows, "sentence": sentence}


def verify_all(settings: Settings) -> dict[str, Any]:
    """Verify every backup, each file once, and note what was found. Raises Broken that tells all that is wrong."""
    labels = td_manifest.labels(settings)
    rows, wrong = 0, dict[str, str]()
    for label in labels:
        try:
            manifest = td_manifest.load(label, settings)
            _promised(manifest, td_manifest.links(manifest, settings))
            rows += int(verify_own(manifest, settings.folder / label, settings)["rows"])
        except AgentError as error:
            wrong[label] = str(error)
    said = " ".join(dict.fromkeys(wrong.values()))
    verification.note(settings.proofs, wrong)
    verification.ended(settings.proofs, said)
    if wrong:
        hint = "./dr backup.list says what can be restored; a new full backup begins a sound chain."
        raise file.Broken(f"{len(wrong)} of {len(labels)} backups are not whole: {said}", hint)
    return {"labels": list(labels), "rows": rows, "sentence": f"{len(labels)} backups are whole: {rows:,} rows read"}


def _promised(manifest: Manifest, chain: td_manifest.Links) -> None:
    """Raises Broken where a link tells otherwise of a window than the manifest that needs it."""
    for label in chain:
        held = manifest.windows if label == manifest.label else chain.load(label, subtables=False).windows
        for stable, windows in manifest.windows.items():
            for hour, window in windows.items():
                there = held.get(stable, {}).get(hour)
                if window.held_in == label and (there is None or there[:2] != window[:2]):
                    raise file.Broken(
                        f"Backup {label} does not hold what {manifest.label} needs of {stable} in hour {hour}.",
                        "Restore an older backup.",
                    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.tdengine.backup.verify", description="Read TDengine backups again.")
    parser.add_argument("--label", default="", help="with all that it needs (default: the newest)")
    parser.add_argument("--config", type=Path, default=td_settings.PATH)
    parser.add_argument("--all", action="store_true", help="every one, unless --label names one")
    options = parser.parse_args(arguments)
    settings = td_settings.load(options.config)
    if not td_manifest.labels(settings):
        raise AgentError("There is no TDengine backup to verify.", "./dr backup.run --store tdengine --type full")
    every = options.all and not options.label
    print(json.dumps(verify_all(settings) if every else verify(settings, options.label)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
