"""What watches keep where the estate record is kept: declared maintenance, and when they acted by themselves.

    python3 -m agents.guard.notes show
    python3 -m agents.guard.notes declare|end|act|back < REQUEST
    python3 -m agents.guard.notes serve       the same for somebody who stays, and the record's text: lines of JSON

`act` is asked before a watch acts: of two that ask, and of one that was started anew, the second is refused for
`cooldown_s` seconds, and everybody while maintenance is declared. Every change is made under a kernel lock and is on
the disk before it is answered. A declaration is by this host's clock and ends by itself; how long ago somebody acted is
told by this host's uptime, or by its clock where it was booted since; a moment that is yet to come was a moment ago.

Exit codes: 0 done, 2 the request is not one, 3 refused, with one sentence and its kind in the answer.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.base import clock, files, locks
from agents.base.errors import AgentError
from agents.guard.record import FOLDER, NAME, BadRequest, Json, Refused, now

NOTES, GUARD = "watch.json", "watch.lock"
SCHEMA, KEPT = 1, 20
LONGEST_S = 7 * 86400.0
_PATIENCE_S = 3.0
_EMPTY: Json = {"schema": SCHEMA, "maintenance": None, "acted": []}


def main(argv: list[str], stdin: str, folder: Path = FOLDER) -> int:
    """Answer on standard output; a refusal's sentence and hint go to standard error as well."""
    verb = argv[0] if argv else ""
    try:
        print(json.dumps(answered(verb, json.loads(stdin or "{}"), folder)))
    except (BadRequest, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    except Refused as refused:
        print(json.dumps(_no(refused)))
        print(refused, *([f"HINT: {refused.hint}"] if refused.hint else []), sep="\n", file=sys.stderr)
        return 3
    except (AgentError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def serve(folder: Path = FOLDER) -> int:
    """Lines of {"n", "verb", "request"} until there are no more; each is answered with the same number."""
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            said: Json = {"ok": answered(asked["verb"], asked.get("request") or {}, folder)}
        except Refused as refused:
            said = {**_no(refused), "hint": refused.hint}
        except (BadRequest, AgentError, ValueError, OSError) as error:
            said = {"failed": str(error)}
        print(json.dumps({"n": asked["n"], **said}), flush=True)
    return 0


def _no(refused: Refused) -> Json:
    return {"refused": refused.kind, "why": str(refused), **refused.more}


def answered(verb: str, request: Any, folder: Path) -> Json:
    """What the verb comes to. Raises Refused, BadRequest, AgentError, OSError."""
    if not isinstance(request, dict):
        raise BadRequest("the request is no JSON object")
    if verb == "show":
        return show(folder)
    if verb == "look":
        return {"notes": show(folder), "record": _text(folder)}
    if verb not in VERBS:
        raise BadRequest(f"there is no verb {verb!r}; they are show, look, {', '.join(VERBS)}")
    with locks.held(folder / GUARD, AgentError(f"somebody else is changing {folder / NOTES}"), _PATIENCE_S, 0o644):
        return VERBS[verb](folder, request)


def show(folder: Path) -> Json:
    """`maintenance` that is on now, with the seconds that are left of it, and the newest deed with its age."""
    found = read(folder)
    declared, acted = found["maintenance"], found["acted"]
    left = declared["until"] - time.time() if declared else 0.0
    last = acted[-1] if acted else None
    return {
        "maintenance": {**declared, "left_s": left} if declared and left > 0 else None,
        "acted": last and {**last, "age_s": age(last)},
    }  # fmt: skip


def read(folder: Path) -> Json:
    """Raises Refused for what cannot be believed: nobody knows then what was declared."""
    path = folder / NOTES
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return dict(_EMPTY)
    except (OSError, ValueError, RecursionError) as error:
        raise Refused("unreadable", f"{path} cannot be read: {error}", _ASIDE) from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA or not _sound(found):
        raise Refused("unreadable", f"{path} is not what a watch keeps, or of another version", _ASIDE)
    return found


_ASIDE = "see who has written it; removed, nothing is declared and no watch has ever acted"


def _sound(found: Json) -> bool:
    declared, acted = found.get("maintenance"), found.get("acted")
    if declared is not None and not (isinstance(declared, dict) and _number(declared.get("until"))):
        return False
    return isinstance(acted, list) and all(isinstance(one, dict) and _number(one.get("at")) for one in acted)


def _number(value: object) -> bool:
    return type(value) in (int, float)


def declare(folder: Path, request: Json) -> Json:
    """Maintenance for `for_s` seconds from now; a declaration that is on is replaced."""
    for_s = request.get("for_s")
    if not isinstance(for_s, int | float) or not 0 < for_s <= LONGEST_S:
        raise BadRequest(f"maintenance is declared for seconds, {LONGEST_S:.0f} at most, not for {for_s!r}")
    if not str(request.get("reason") or "").strip():
        raise BadRequest("maintenance has a reason")
    declared = {
        "until": time.time() + for_s, "since": now(), "reason": str(request["reason"]),
        "by": str(request.get("by")),
    }  # fmt: skip
    return _put(folder, {**read(folder), "maintenance": declared})


def end(folder: Path, _request: Json) -> Json:
    """Maintenance is over; also where none was declared."""
    return _put(folder, {**read(folder), "maintenance": None})


def act(folder: Path, request: Json) -> Json:
    """A watch is about to act: noted, or refused. Raises Refused."""
    cooldown = request.get("cooldown_s")
    if not isinstance(cooldown, int | float) or cooldown <= 0 or not request.get("token"):
        raise BadRequest("act takes a token and a cooldown of more than 0 seconds")
    known = show(folder)
    if declared := known["maintenance"]:
        raise Refused("maintenance", f"maintenance is declared by {declared['by']}: {declared['reason']}")
    if (last := known["acted"]) and last["age_s"] < cooldown:
        raise Refused(
            "cooldown", f"a watch ({last['by']}) has acted {last['age_s']:.0f} s ago, and acts once in {cooldown:.0f} s"
        )
    entry = {
        "at": time.time(), "boot": clock.boot_id(), "ticks": time.monotonic(), "token": str(request["token"]),
        "by": str(request.get("by")), "primary": str(request.get("primary")),
    }  # fmt: skip
    found = read(folder)
    return _put(folder, {**found, "acted": [*found["acted"], entry][-KEPT:]})


def back(folder: Path, request: Json) -> Json:
    """The one that was noted with this token has touched nothing: it does not count."""
    found = read(folder)
    kept = [one for one in found["acted"] if one.get("token") != request.get("token")]
    return _put(folder, {**found, "acted": kept})


VERBS: dict[str, Callable[[Path, Json], Json]] = {"declare": declare, "end": end, "act": act, "back": back}


def age(entry: Json) -> float:
    """Seconds since somebody acted."""
    if entry.get("boot") == clock.boot_id() and _number(entry.get("ticks")):
        return max(0.0, time.monotonic() - float(entry["ticks"]))
    return max(0.0, time.time() - float(entry["at"]))


def _put(folder: Path, document: Json) -> Json:
    files.replace(folder / NOTES, json.dumps(document, indent=1) + "\n", 0o644)
    return show(folder)


def _text(folder: Path) -> str | None:
    """The estate record as it lies here; None where there is none."""
    try:
        return (folder / NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        sys.exit(serve())
    sys.exit(main(sys.argv[1:], "" if sys.argv[1:] == ["show"] else sys.stdin.read()))
