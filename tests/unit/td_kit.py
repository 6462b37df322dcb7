"""A folder of TDengine backups without a server: sealed manifests that hold what a test says."""

from __future__ import annotations

from calendar import timegm
from collections.abc import Mapping
from pathlib import Path
from time import strptime
from typing import Any

from agents.tdengine.backup import manifest as td_manifest
from agents.tdengine.backup.manifest import Manifest, Window
from agents.tdengine.backup.settings import Settings

OPTIONS = {"keep": "3650d,3650d,3650d"}


def place(folder: Path) -> Settings:
    (folder / "key").write_text("a secret of sixteen\n")
    (folder / "tdengine").mkdir()
    return Settings(
        folder / "tdengine", folder / "key", folder / "td-proofs.jsonl", folder / "none.json", "market_data", 1
    )


def began(label: str) -> float:
    return float(timegm(strptime(label[-16:-1], "%Y%m%d-%H%M%S")))


def holds(
    settings: Settings, label: str, windows: Mapping[str, Mapping[int, str]] | None = None, data: bytes = b"rows",
    options: Mapping[str, Any] = OPTIONS, left_out: Mapping[str, str] | None = None,
) -> Manifest:  # fmt: skip
    """A published backup of one file; `windows`: supertable -> hour -> label that holds its ten rows."""
    folder = settings.folder / label
    folder.mkdir()
    (folder / "data-0001").write_bytes(data)
    said = windows or {"tick_data": {500000: label}}
    told = {name: {hour: Window(10, "0" * 16, link) for hour, link in one.items()} for name, one in said.items()}
    manifest = Manifest(
        label, "incr" if "_" in label else "full", None, began(label), began(label) + 60, "3.3.7.5", "market_data",
        dict(options), {name: {} for name in said}, [], told, {}, {"data-0001": {"bytes": len(data), "sha256": ""}},
        {}, {}, sum(len(one) * 10 for one in said.values()), 10, len(data), settings.key_id(), 1.0,
        left_out=dict(left_out or {}),
    )  # fmt: skip
    td_manifest.save(manifest, folder, settings)
    return manifest
