"""What a TDengine backup holds: its manifest, sealed with the backups' key, and the chain of backups that it needs.

    <folder>/<label>/manifest.json   {"seal", "body": {"label", "windows": {stable: {hour: [rows, hash, mark, label]}}}}

Each manifest tells of the whole database: for every supertable and hour how many rows there were, their hash, the mark
by which a change is noticed, and the backup whose files hold these rows. Hours count from 1970 in UTC.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from agents.base import files
from agents.base.errors import AgentError
from agents.tdengine.backup.settings import Settings

HOUR_NS = 3600 * 10**9
FORMAT = 1
LABEL = re.compile(r"\d{8}-\d{6}F(_\d{8}-\d{6}I)?")


class NoBackup(AgentError):  # noqa: N818
    """There is no such backup, or one that it needs is gone."""


class Edited(AgentError):  # noqa: N818
    """A manifest that is not what was written, or was sealed with another key."""


class Window(NamedTuple):
    """The rows of one supertable in one hour. `hash` and `mark` are 16 hex digits; `held_in` names a backup."""

    rows: int
    hash: str
    mark: str
    held_in: str


class Subtable(NamedTuple):
    """A subtable with its tags, as the server tells them."""

    name: str
    stable: str
    tags: list[Any]


@dataclass(frozen=True)
class Manifest:
    """Times in unix seconds. `supertables`: {"columns": [[name, type, is key]], "tags": [[name, type]]} by name;
    `files`: {"bytes", "sha256", "rows"} by name; `totals`: [rows, hash] by supertable; `filesets` and
    `days`: what tells where anything was written since, by number; `verified`: what reading it again has shown.
    """

    label: str
    kind: str
    base: str | None
    started_at: float
    ended_at: float
    server_version: str
    database: str
    options: dict[str, Any]
    supertables: dict[str, Any]
    subtables: list[Subtable]
    windows: dict[str, dict[int, Window]]
    totals: dict[str, list[Any]]
    files: dict[str, dict[str, Any]]
    filesets: dict[str, Any]
    days: dict[str, dict[int, str]]
    rows: int
    rows_dumped: int
    bytes: int
    key_id: str
    seconds: float
    verified: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def chain(self) -> tuple[str, ...]:
        """The labels whose files hold this backup's rows, oldest first; its own among them."""
        held = {window.held_in for windows in self.windows.values() for window in windows.values()}
        return tuple(sorted({*held, self.label}))


def save(manifest: Manifest, folder: Path, settings: Settings) -> None:
    """Write it into `folder`, on the disk when this returns."""
    body = json.dumps(asdict(manifest), separators=(",", ":"), sort_keys=True)
    files.new(folder / "manifest.json", json.dumps({"seal": seal(body, settings), "body": body}))


def seal(body: str, settings: Settings) -> str:
    return hmac.new(settings.key(), body.encode(), hashlib.sha256).hexdigest()


def load(label: str, settings: Settings) -> Manifest:
    """Read one. Raises NoBackup, Edited."""
    if not LABEL.fullmatch(label):
        raise NoBackup(f"{label!r} is no label of a TDengine backup.", "./dr backup.list --store tdengine")
    path = settings.folder / label / "manifest.json"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        there = ", ".join(labels(settings)) or "none"
        raise NoBackup(f"There is no TDengine backup {label}.", f"There is {there}.") from error
    try:
        outer = json.loads(text)
        body, sealed = str(outer["body"]), str(outer["seal"])
    except (ValueError, KeyError, TypeError) as error:
        raise Edited(f"The manifest of backup {label} is damaged: {error!r}.", _HINT) from error
    if not hmac.compare_digest(sealed, seal(body, settings)):
        raise Edited(f"The manifest of backup {label} was edited, or sealed with another key.", _HINT)
    raw = json.loads(body)
    raw["windows"] = {
        stable: {int(hour): Window(*window) for hour, window in windows.items()}
        for stable, windows in raw["windows"].items()
    }
    raw["days"] = {
        stable: {int(day): digest for day, digest in days.items()} for stable, days in raw["days"].items()
    }
    raw["subtables"] = [Subtable(*one) for one in raw["subtables"]]
    return Manifest(**raw)


_HINT = "Restore another backup, or fetch this one from the off-site copy; was the key changed?"


def labels(settings: Settings) -> tuple[str, ...]:
    """Every published backup, oldest first."""
    if not settings.folder.is_dir():
        return ()
    found = (path.name for path in settings.folder.iterdir() if LABEL.fullmatch(path.name))
    return tuple(sorted(found, key=lambda label: label[-16:-1]))


def newest(settings: Settings) -> Manifest:
    """The newest backup. Raises NoBackup, Edited."""
    found = labels(settings)
    if not found:
        raise NoBackup("There is no TDengine backup.", "./dr backup.run --store tdengine --type full")
    return load(found[-1], settings)


def links(manifest: Manifest, settings: Settings) -> dict[str, Manifest]:
    """The manifests of its chain by label. Raises NoBackup naming the missing link, Edited."""
    found = {manifest.label: manifest}
    for label in manifest.chain:
        if label not in found:
            try:
                found[label] = load(label, settings)
            except NoBackup as error:
                raise NoBackup(
                    f"Backup {manifest.label} needs {label}, which is not there.",
                    "Restore an older backup, or fetch the folder from the off-site copy.",
                ) from error
    return found
