"""The marks, on the backup host beside the estate record: a file for each, so that damage takes one and no other.

    python3 -m agents.marks.keep show              every mark, what is damaged, and this host's clock
    python3 -m agents.marks.keep newest            the newest of those that a timer takes, and how many there are of all
    python3 -m agents.marks.keep add  < MARK       keep one; refused for a name that stands already
    python3 -m agents.marks.keep drop < [FILE, ..] let these go

    <folder>/NAME@20261128T193500.250000Z.json        {"schema", "sum", "mark"}: the moment is the primary's

Written under a kernel lock and on the disk before it is answered. The sum finds a file that was damaged or edited; who
forges one makes a sum as well. Exit codes: 0 done, 2 the request is not one, 3 refused.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.base import clock, files, locks
from agents.base.errors import AgentError, run

FOLDER = Path("/var/lib/mystocks-dr/marks")
GUARD = "lock"
SCHEMA = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")  # a restore point's, in 63 bytes, and a file's
_FILE = re.compile(rf"({NAME.pattern})@\d{{8}}T\d{{6}}\.\d{{6}}Z\.json")
_PATIENCE_S = 3.0
# What every mark has, whatever was added later.
_FIELDS: dict[str, tuple[type, ...]] = {
    "name": (str,), "at": (int, float), "estate": (str,), "system": (str,), "timeline": (int,), "lsn": (str,),
}  # fmt: skip
Json = dict[str, Any]


class BadRequest(AgentError):  # noqa: N818
    """What came on standard input is not what this verb takes."""

    exit_code = 2


class NotKept(AgentError):  # noqa: N818
    """Refused, and nothing was written."""

    exit_code = 3


def show(folder: Path, _request: Any = None) -> Json:
    """Every mark, the oldest first; `damaged` those that cannot be believed, by the name that their file has."""
    marks, damaged = list[Json](), list[Json]()
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        named = _FILE.fullmatch(path.name)
        try:
            marks.append({**_read(path), "file": path.name})
        except (OSError, ValueError, RecursionError) as error:
            damaged.append({"file": path.name, "name": named[1] if named else path.stem, "why": str(error)})
    return {"now": time.time(), "marks": sorted(marks, key=lambda mark: float(mark["at"])), "damaged": damaged}


def newest(folder: Path, _request: Any = None) -> Json:
    """By the moments in the files' names, so that one file is read, or few. `newest` is None where there is none."""
    there = [path for path in folder.glob("*.json") if _FILE.fullmatch(path.name)] if folder.is_dir() else []
    for path in sorted(there, key=lambda one: one.name.rpartition("@")[2], reverse=True):
        try:
            mark = _read(path)
        except (OSError, ValueError, RecursionError):
            continue  # ./dr marks tells
        if mark.get("scheduled"):
            return {"now": time.time(), "count": len(there), "newest": mark}
    return {"now": time.time(), "count": len(there), "newest": None}


def _read(path: Path) -> Json:
    """Raises OSError, ValueError: a sentence's end."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or set(found) != {"schema", "sum", "mark"}:
        raise ValueError("it is no mark")
    if found["schema"] != SCHEMA:
        raise ValueError(f"it is of version {found['schema']}, and this program reads {SCHEMA}")
    if wrong := _wrong(found["mark"]):
        raise ValueError(wrong)
    mark: Json = found["mark"]
    if sum_of(mark) != found["sum"]:
        raise ValueError("its sum does not fit: it was edited, or the disk has damaged it")
    if path.name != file_of(mark):
        raise ValueError(f"it is that of {mark['name']}, under another name")
    return mark


def _wrong(mark: Any) -> str:
    if not isinstance(mark, dict):
        return "it is no mark"
    for name, types in _FIELDS.items():
        if type(mark.get(name)) not in types:
            return f"it has no {name}"
    return "" if NAME.fullmatch(mark["name"]) else f"{mark['name']!r} is no name of a mark"


def sum_of(mark: Json) -> str:
    return hashlib.sha256(json.dumps(mark, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_of(mark: Json) -> str:
    whole, fraction = divmod(round(float(mark["at"]) * 1_000_000), 1_000_000)
    return f"{mark['name']}@{time.strftime('%Y%m%dT%H%M%S', time.gmtime(whole))}.{fraction:06d}Z.json"


def add(folder: Path, mark: Any) -> Json:
    """Keep it. Raises BadRequest, NotKept for a name that stands already or a moment that this host's clock denies."""
    if wrong := _wrong(mark):
        raise BadRequest(f"This is no mark: {wrong}.")
    ahead = float(mark["at"]) - time.time()
    if abs(ahead) > clock.SLACK_S:
        raise NotKept(
            f"The clock of {mark.get('primary') or 'the primary'} is {clock.span(ahead)} "
            f"{'ahead of' if ahead > 0 else 'behind'} this host's, so the mark's moment means nothing: it is not kept.",
            "`chronyc makestep` on the host that is wrong; ./dr status tells which",
        )
    standing = [path.name for path in sorted(folder.glob(f"{mark['name']}@*.json"))]
    if standing:
        raise NotKept(
            f"A mark {mark['name']} stands already, {standing[0].rpartition('@')[2].removesuffix('.json')}.",
            "Give another name: one that means two moments means none.",
        )
    document = {"schema": SCHEMA, "sum": sum_of(mark), "mark": mark}
    files.replace(folder / file_of(mark), json.dumps(document, indent=1) + "\n", 0o644)
    return {"file": file_of(mark)}


def drop(folder: Path, names: Any) -> Json:
    """Let these files go; what is gone already is. Raises BadRequest for what is no mark's file."""
    if not isinstance(names, list) or not all(isinstance(name, str) and _FILE.fullmatch(name) for name in names):
        raise BadRequest("drop takes a list of marks' files.")
    for name in names:
        (folder / name).unlink(missing_ok=True)
    files.sync_folder(folder)
    return {"dropped": len(names)}


VERBS: dict[str, Callable[[Path, Any], Json]] = {"show": show, "newest": newest, "add": add, "drop": drop}
_READ = ("show", "newest")  # each file is whole whenever it is read


def main(argv: list[str], stdin: Callable[[], str], folder: Path = FOLDER) -> int:
    verb = argv[0] if argv else ""
    if verb not in VERBS:
        raise BadRequest(f"There is no verb {verb!r}; they are {', '.join(VERBS)}.")
    try:
        print(json.dumps(VERBS[verb](folder, None) if verb in _READ else _changed(folder, verb, stdin())))
    except OSError as error:
        raise AgentError(f"{error.filename or folder}: {error.strerror}.", "Is its disk full? df -h") from error
    return 0


def _changed(folder: Path, verb: str, text: str) -> Json:
    try:
        request = json.loads(text)
    except ValueError as error:
        raise BadRequest(f"The request is no JSON: {error}.") from error
    folder.mkdir(mode=0o755, exist_ok=True)
    with locks.held(folder / GUARD, AgentError(f"Somebody else is changing {folder}."), _PATIENCE_S, 0o644):
        return VERBS[verb](folder, request)


if __name__ == "__main__":
    sys.exit(run(lambda: main(sys.argv[1:], sys.stdin.read)))
