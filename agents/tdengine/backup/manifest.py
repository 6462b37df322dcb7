"""What a TDengine backup holds: its manifest, sealed with the backups' key, and the chain of backups that it needs.

    <folder>/<label>/manifest.json      {"seal", "body": {"label", "windows": {table: {hour: [rows, hash, label]}}}}
    <folder>/<label>/subtables.json.gz  [[name, supertable, [tag], days to live, comment]], its hash in the manifest

Each manifest tells of the whole database: for every table and hour how many rows there were, their hash, and the backup
whose files hold these rows. Hours count from 1970 in UTC. Subtables lie apart, since there may be a hundred thousand of
them: who lists backups reads none.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from agents.base import files
from agents.base.errors import AgentError
from agents.tdengine.backup.settings import Settings

HOUR_NS = 3600 * 10**9
FORMAT = 2
SUBTABLES = "subtables.json.gz"
LABEL = re.compile(r"\d{8}-\d{6}F(_\d{8}-\d{6}I)?")


class NoBackup(AgentError):  # noqa: N818
    """There is no such backup, or one that it needs is gone."""


class Edited(AgentError):  # noqa: N818
    """A manifest that is not what was written, or was sealed with another key."""


class Window(NamedTuple):
    """The rows of one table in one hour. `hash` is 16 hex digits; `held_in` names a backup."""

    rows: int
    hash: str
    held_in: str


class Subtable(NamedTuple):
    """A subtable with its tags, as the server tells them. `ttl`: days after which it removes itself, 0 for never."""

    name: str
    stable: str
    tags: list[Any]
    ttl: int = 0
    comment: str = ""


@dataclass(frozen=True)
class Manifest:
    """Times in unix seconds. `tables` and `definitions` as agents/tdengine/backup/schema.py tells them; `left_out`:
    why, of what this backup has nothing of, by name; `files`: {"bytes", "sha256", "rows"} by name; `totals`: [rows,
    hash] by table; `filesets` and `days`: what tells where anything was written since, by number; `next_day`: from
    which day on, by table, the next incremental one reads days again that look untouched; `verified`: what reading it
    again has shown.
    """

    label: str
    kind: str
    base: str | None
    started_at: float
    ended_at: float
    server_version: str
    database: str
    options: dict[str, Any]
    tables: dict[str, Any]
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
    definitions: dict[str, list[str]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    next_day: dict[str, int] = field(default_factory=dict)

    @property
    def chain(self) -> tuple[str, ...]:
        """The labels whose files hold this backup's rows, oldest first; its own among them."""
        held = {window.held_in for windows in self.windows.values() for window in windows.values()}
        return tuple(sorted({*held, self.label}))


def save(manifest: Manifest, folder: Path, settings: Settings) -> None:
    """Write it into `folder`, on the disk when this returns."""
    told = {one.name: getattr(manifest, one.name) for one in fields(manifest)}
    packed = gzip.compress(json.dumps(told.pop("subtables"), separators=(",", ":")).encode(), 6, mtime=0)
    files.new(folder / SUBTABLES, packed)
    told["subtables_sha256"] = hashlib.sha256(packed).hexdigest()
    body = json.dumps(told, separators=(",", ":"), sort_keys=True)
    files.new(folder / "manifest.json", json.dumps({"seal": seal(body, settings), "body": body}))


def seal(body: str, settings: Settings) -> str:
    return hmac.new(settings.key(), body.encode(), hashlib.sha256).hexdigest()


def load(label: str, settings: Settings, subtables: bool = True) -> Manifest:
    """Read one, with its subtables unless nobody asks for them. Raises NoBackup, Edited."""
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
    known: dict[str, str] = {}  # one text for each label, however many hours name it
    raw["windows"] = {
        stable: {int(hour): _window(window, known) for hour, window in windows.items()}
        for stable, windows in raw["windows"].items()
    }
    raw["days"] = {
        stable: {int(day): digest for day, digest in days.items()} for stable, days in raw["days"].items()
    }
    if raw["format"] == 1:
        raw["tables"] = raw.pop("supertables")
        raw["subtables"] = [Subtable(*one) for one in raw["subtables"]]
    else:
        digest = raw.pop("subtables_sha256")
        raw["subtables"] = list(_subtables(settings.folder / label / SUBTABLES, digest)) if subtables else []
    return Manifest(**raw)


def _window(told: list[Any], known: dict[str, str]) -> Window:
    held_in = known.setdefault(told[-1], told[-1])
    return Window(told[0], told[1], held_in)  # an old one has a mark between


def _subtables(path: Path, digest: str) -> Iterator[Subtable]:
    """Raises Edited unless they are those of the manifest."""
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise Edited(f"{path.name} of backup {path.parent.name} cannot be read: {error.strerror}.", _HINT) from error
    if hashlib.sha256(packed).hexdigest() != digest:
        raise Edited(f"{path.name} of backup {path.parent.name} is not what was written.", _HINT)
    # One text for each supertable, however many subtables name it.
    return (Subtable(name, sys.intern(stable), *rest) for name, stable, *rest in json.loads(gzip.decompress(packed)))


_HINT = "Restore another backup, or fetch this one from the off-site copy; was the key changed?"


def labels(settings: Settings) -> tuple[str, ...]:
    """Every published backup, oldest first."""
    if not settings.folder.is_dir():
        return ()
    found = (path.name for path in settings.folder.iterdir() if LABEL.fullmatch(path.name))
    return tuple(sorted(found, key=lambda label: label[-16:-1]))


def newest(settings: Settings, subtables: bool = True) -> Manifest:
    """The newest backup. Raises NoBackup, Edited."""
    found = labels(settings)
    if not found:
        raise NoBackup("There is no TDengine backup.", "./dr backup.run --store tdengine --type full")
    return load(found[-1], settings, subtables)


class Links:
    """The manifests of a backup's chain by label, oldest first, each read when it is asked for and not kept: together
    they would fill the memory.
    """

    def __init__(self, manifest: Manifest, settings: Settings) -> None:
        self._label, self._labels, self._settings = manifest.label, manifest.chain, settings

    def load(self, label: str, subtables: bool = True) -> Manifest:
        """One of them. Raises NoBackup naming the missing link, Edited."""
        try:
            return load(label, self._settings, subtables)
        except NoBackup as error:
            raise NoBackup(
                f"Backup {self._label} needs {label}, which is not there.",
                "Restore an older backup, or fetch the folder from the off-site copy.",
            ) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)


def links(manifest: Manifest, settings: Settings) -> Links:
    """The manifests of its chain. Raises NoBackup naming the missing link, Edited."""
    found = Links(manifest, settings)
    for label in found:
        if label != manifest.label:
            found.load(label, subtables=False)
    return found
