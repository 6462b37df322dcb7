"""The estate record: who is primary, who has every acknowledged row, who is acting. Changed by this program alone.

    python3 -m agents.guard.record show                  what is written here, and whether it can be believed
    python3 -m agents.guard.record swap  < REQUEST       a new record, if nobody has changed it meanwhile
    python3 -m agents.guard.record copy  < REQUEST       on a database host: keep what the arbiter holds
    python3 -m agents.guard.record take|beat|free|break < REQUEST      the lock of who is acting

The backup host's file decides; a database host's is a copy. Requests and answers are JSON. Every change is made under
a kernel lock, compares first (the revision, and the token of whoever is acting), and is on the disk, the directory's
entry too, before it is answered: a reader and a power cut find the old document or the new one. A document that was
edited by hand, belongs to another database system or was written by a later version of this program is not believed.
Times are for people; the one age that is judged (is whoever acts alive?) is of this machine's own uptime.

Exit codes: 0 done, 2 the request is not one, 3 refused, with one sentence and its kind in the answer.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.base import clock, files, locks
from agents.base.errors import AgentError

FOLDER = Path("/var/lib/mystocks-dr")
NAME, GUARD, LOG = "estate.json", "estate.lock", "estate.log.jsonl"
RUNS = "estate.runs.json"  # beside the document: an older version of this program does not know it
KEPT_RUNS = 50
SCHEMA = 2  # the newest that is understood
_PLAIN = 1  # of a record without a quorum, and of none: what the versions before wrote and read
_PATIENCE_S = 3.0  # for another change, which takes milliseconds
FRESH_S = 60.0  # whoever acts leaves a sign of life every ten seconds
Json = dict[str, Any]

_FIELDS: dict[str, tuple[type, ...]] = {
    "revision": (int,), "system_identifier": (str,), "epoch": (int,), "primary": (str,), "timeline": (int,),
    "mode": (str,), "synchronous": (list,), "since": (str,), "why": (str,), "changing": (dict, type(None)),
    "based_on": (dict, type(None)),
}  # fmt: skip
_QUORUM = "quorum"  # with several standbys: on how many of the named ones each row is; without it, on each
_CHANGE = {"procedure", "run", "to"}
_ACTING = {"token", "machine_id", "boot_id", "pid_space", "pid", "started", "owner", "procedure", "run_dir"}

_BEATEN = ("since", "heartbeat", "beat_boot")


class Refused(Exception):  # noqa: N818 - named after what is meant
    """`kind` is for programs, the sentence for people, `more` goes into the answer."""

    def __init__(self, kind: str, sentence: str, hint: str = "", **more: Any) -> None:
        super().__init__(sentence)
        self.kind, self.hint, self.more = kind, hint, more


class BadRequest(Exception):  # noqa: N818
    """What came on standard input is not what this verb takes."""


def main(argv: list[str], stdin: str, folder: Path = FOLDER) -> int:
    """Answer on standard output; a refusal's sentence and hint go to standard error as well."""
    verb = argv[0] if argv else ""
    try:
        if verb == "show":
            print(json.dumps(show(folder)))
            return 0
        if verb not in VERBS:
            raise BadRequest(f"there is no verb {verb!r}; they are show, {', '.join(VERBS)}")
        request = json.loads(stdin or "null")
        if not isinstance(request, dict):
            raise BadRequest("the request is no JSON object")
        with locks.held(folder / GUARD, AgentError(f"somebody else is changing {folder / NAME}"), _PATIENCE_S, 0o644):
            print(json.dumps(VERBS[verb](folder, request)))
    except (BadRequest, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    except Refused as refused:
        print(json.dumps({"refused": refused.kind, "why": str(refused), **refused.more}))
        print(refused, *([f"HINT: {refused.hint}"] if refused.hint else []), sep="\n", file=sys.stderr)
        return 3
    except AgentError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename or folder / NAME}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def show(folder: Path) -> Json:
    """The document; `state` says whether it is `known`, `absent` (no record yet), `unreadable` or of the `future`."""
    try:
        found = read(folder)
    except Refused as refused:
        return {"state": refused.kind, "why": str(refused), "record": None, "sum": "", "acting": None}
    acting = found["acting"]
    return {
        "state": "known" if found["record"] else "absent", "why": "", "record": found["record"], "sum": found["sum"],
        "acting": acting and {**acting, "beat_age_s": age(acting)},
    }  # fmt: skip


def read(folder: Path) -> Json:
    """Schema, record, sum and acting; of a missing file an empty document. Raises Refused for what is not believed."""
    path = folder / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {"schema": _PLAIN, "record": None, "sum": "", "acting": None}
    except (OSError, ValueError) as error:
        raise Refused("unreadable", f"{path} cannot be read: {error}", _ANEW) from error
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused("unreadable", f"{path} is no JSON: {error}", _ANEW) from error
    if not isinstance(found, dict) or not _is_number(found.get("schema")):
        raise Refused("unreadable", f"{path} is no estate record", _ANEW)
    if found["schema"] > SCHEMA:
        raise Refused(
            "future", f"{path} is of version {found['schema']}, written by a later version of this tool than {SCHEMA}",
            "use that version of mystocks-dr here too",
        )  # fmt: skip
    wrong = _wrong_document(found)
    if wrong:
        raise Refused("unreadable", f"{path} cannot be believed: {wrong}", _ANEW)
    return found


_ANEW = "./dr record.settle --yes puts it aside and writes it anew from what the hosts are"


def _wrong_document(found: Json) -> str:
    if set(found) != {"schema", "record", "sum", "acting"}:
        return "it lacks parts, or has others"
    if found["record"] is not None:
        wrong = wrong_record(found["record"])
        if wrong:
            return wrong
        if found["sum"] != sum_of(found["record"]):
            return "its sum is another one, so it was edited by hand or damaged"
    return _wrong_holder(found["acting"]) if found["acting"] is not None else ""


def wrong_record(record: Any) -> str:
    """Why this is no record, in a few words; empty when it is one."""
    if not isinstance(record, dict) or set(record) - {_QUORUM} != set(_FIELDS):
        return "a record has the fields " + ", ".join(_FIELDS)
    for name, kinds in _FIELDS.items():
        if not isinstance(record[name], kinds) or (kinds == (int,) and not _is_number(record[name])):
            return f"{name} is {record[name]!r}"
    if record["mode"] not in ("synchronous", "degraded"):
        return f"mode is {record['mode']!r}"
    if not all(isinstance(name, str) and name for name in record["synchronous"]):
        return "synchronous holds something that is no host's name"
    if bool(record["synchronous"]) != (record["mode"] == "synchronous"):
        return f"mode is {record['mode']} and these have every row: {record['synchronous']}"
    if _QUORUM in record and not (_is_number(record[_QUORUM]) and 0 < record[_QUORUM] < len(record["synchronous"])):
        return f"each row is on {record[_QUORUM]!r} of these: {record['synchronous']}"
    if not record["primary"] or not record["system_identifier"].isdigit():
        return "it names no primary, or no database system"
    change = record["changing"]
    if change is not None and (set(change) != _CHANGE or not all(isinstance(text, str) for text in change.values())):
        return "changing is not procedure, run and to"
    based_on = record["based_on"]
    if based_on is not None and (
        set(based_on) != {"revision", "sum"} or not _is_number(based_on["revision"])
        or not isinstance(based_on["sum"], str)
    ):  # fmt: skip
        return "based_on is not revision and sum"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _wrong_acting(acting: Any) -> str:
    if not isinstance(acting, dict) or not set(acting) >= _ACTING:
        return "acting lacks parts"
    odd = sorted(name for name in _ACTING if not isinstance(acting[name], int if name == "pid" else str))
    if odd:
        return f"{odd[0]} of acting is {acting[odd[0]]!r}"
    return "" if acting["token"] else "acting has no token"


def _wrong_holder(acting: Any) -> str:
    """Of one that was written here, which has had its signs of life."""
    if wrong := _wrong_acting(acting):
        return wrong
    beaten = all(isinstance(acting.get(name), str) for name in _BEATEN)
    return "" if beaten and type(acting.get("beat_ticks")) in (int, float) else "acting lacks its signs of life"


def sum_of(record: Json) -> str:
    """What tells two records of the same revision apart, and one that somebody edited."""
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def swap(folder: Path, request: Json) -> Json:
    """`record` in place of revision `expect` (0: of none), by the one who is acting; the document that is now here.

    `alone`: on a database host while the arbiter is away, with the operator's word; `based_on` then keeps what the
    arbiter is known to hold, so that it can be carried there later and a conflict is seen. `anew` puts a document that
    cannot be believed, or of another database system, aside first.
    """
    alone, wanted, expect = bool(request.get("alone")), request.get("record"), request.get("expect")
    if not isinstance(wanted, dict) or not _is_number(expect):
        raise BadRequest("swap takes record and expect")
    wrong = wrong_record({**wanted, "revision": 0, "based_on": None})
    if wrong:
        raise BadRequest(f"this is no record: {wrong}")
    try:
        found = read(folder)
    except Refused:
        if not request.get("anew"):
            raise
        found = _put_aside(folder)
    if not alone:
        _require_token(found, request)
    old = found["record"]
    if old and old["system_identifier"] != wanted.get("system_identifier"):
        if not request.get("anew"):
            raise Refused(
                "foreign", f"the record here is of the database system {old['system_identifier']}, not of "
                f"{wanted.get('system_identifier')}", "is the inventory's backup host that of another estate? " + _ANEW,
            )  # fmt: skip
        found, old = {**_put_aside(folder), "acting": found["acting"]}, None
    there = old["revision"] if old else 0
    if there != expect and not request.get("anew"):
        raise Refused(
            "revision", f"the record is at revision {there}, expected {expect}: somebody else has changed it",
            "./dr record.show shows it; look at the estate anew, then repeat", record=old,
        )  # fmt: skip
    known = (old["based_on"] or {"revision": there, "sum": found["sum"]}) if old else {"revision": 0, "sum": ""}
    record = {
        **wanted, "revision": max(there, int(wanted.get("revision") or 0)) + 1, "based_on": known if alone else None,
    }  # fmt: skip
    return _put(folder, {**found, "record": record, "sum": sum_of(record)}, "swap")


def copy(folder: Path, request: Json) -> Json:
    """Keep a record as it was written elsewhere, unless a newer one of the same database system is here."""
    record = request.get("record")
    wrong = wrong_record(record)
    if wrong or not isinstance(record, dict):
        raise BadRequest(f"this is no record: {wrong}")
    try:
        found = read(folder)
    except Refused as refused:
        if refused.kind == "future":
            raise
        found = _put_aside(folder)
    old = found["record"]
    same = old and old["system_identifier"] == record["system_identifier"]
    if old and same and old["revision"] > record["revision"] and not request.get("anew"):
        raise Refused("older", f"revision {old['revision']} is here, newer than {record['revision']}", record=old)
    return _put(folder, {**found, "record": record, "sum": sum_of(record), "acting": None}, "copy")


def take(folder: Path, request: Json) -> Json:
    """Become the one who is acting; `instead_of` names the token of a holder that was found dead.

    A run that `resumes` is refused once another has acted since, from whatever machine and however it ended. A holding
    that somebody has ended does not begin again: whoever did may be acting.
    """
    acting = request.get("acting")
    if _wrong_acting(acting) or not isinstance(acting, dict):
        raise BadRequest(f"take: {_wrong_acting(acting)}")
    try:
        found = read(folder)
    except Refused as refused:
        if not request.get("anew") or refused.kind == "future":
            raise
        found = _put_aside(folder)
    holder = found["acting"]
    if holder and holder["token"] not in (acting["token"], request.get("instead_of")):
        raise Refused(
            "held", f"{holder['owner']} is running {holder['procedure']}",
            holder={**holder, "beat_age_s": age(holder)},
        )  # fmt: skip
    again = bool(holder) and holder["token"] == acting["token"]
    _enter(folder, acting, again)
    if holder and not again:
        _end(folder, holder)
    return _put(folder, {**found, "acting": _beaten({**acting, "since": now()})}, "take")


def runs(folder: Path) -> list[Json]:
    """The runs that have acted, each once, the newest last. Raises Refused for what cannot be read."""
    path = folder / RUNS
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise Refused("unreadable", f"{path} cannot be read: {error}", _AFRESH) from error
    if not isinstance(said, list) or not all(isinstance(one, dict) and isinstance(one.get("run"), str) for one in said):
        raise Refused("unreadable", f"{path} is no list of runs", _AFRESH)
    return said


_AFRESH = "start it afresh, without --resume: nobody can say what has been done since"


def _enter(folder: Path, acting: Json, again: bool) -> None:
    """Note this run as the newest. Raises Refused for one that another has overtaken or may have, or that was ended.

    `again`: it holds the lock already.
    """
    run = acting.get("run")
    try:
        known = runs(folder)
    except Refused:
        if acting.get("resumes"):
            raise
        known = []
    if not again and any(acting["token"] in _ended(one) for one in known):
        raise Refused("ended", "somebody has broken it since, and nobody holds it now", "./dr lock.status")
    last = known[-1] if known else None
    if last and run and last["run"] == run:
        return
    # One that was killed while it only looked may not have come here yet, and has done nothing.
    seen = any(one["run"] == run for one in known)
    if last and acting.get("resumes") and (seen or acting.get("touched")):
        overtaken = "and that has overtaken it" if seen else "and nobody can say which is newer: this run is unknown"
        raise Refused(
            "overtaken", f"{last.get('owner')} has begun {last.get('procedure')} on this estate ({last.get('at')}), "
            f"{overtaken}",
            "start it afresh, without --resume; ./dr runbook.abandon --yes takes back what it left half done",
        )  # fmt: skip
    entry = {
        "run": run or acting["token"], "procedure": acting["procedure"], "owner": acting["owner"],
        "name": Path(acting["run_dir"]).name, "at": now(),
    }  # fmt: skip
    files.replace(folder / RUNS, json.dumps([*known, entry][-KEPT_RUNS:], indent=1) + "\n", 0o644)


def _ended(entry: Json) -> list[str]:
    """The tokens of this run's holdings that somebody else has ended."""
    said = entry.get("ended")
    return said if isinstance(said, list) else []


def _end(folder: Path, holder: Json) -> None:
    """Note that this holding was ended by somebody else; a list that cannot be kept stops nobody."""
    run, token = holder.get("run") or holder["token"], holder["token"]
    try:
        told = [{**one, "ended": [*_ended(one), token]} if one["run"] == run else one for one in runs(folder)]
        files.replace(folder / RUNS, json.dumps(told, indent=1) + "\n", 0o644)
    except (Refused, OSError) as error:
        print(f"WARNING: {error}", file=sys.stderr)


def beat(folder: Path, request: Json) -> Json:
    """A sign of life of the one who is acting."""
    found = read(folder)
    _require_token(found, request)
    return _put(folder, {**found, "acting": _beaten(found["acting"])}, "")


def free(folder: Path, request: Json) -> Json:
    """The one who was acting has ended."""
    found = read(folder)
    _require_token(found, request)
    return _put(folder, {**found, "acting": None}, "free")


def break_(folder: Path, request: Json) -> Json:
    """Take the lock from the holder with this token, who cannot be asked; refused while it shows signs of life."""
    found = read(folder)
    holder = found["acting"]
    if not holder or holder["token"] != request.get("token"):
        raise Refused("token", "that lock is not held any more", "./dr lock.status shows who is acting")
    seen = age(holder)
    if seen is not None and seen < FRESH_S and not request.get("yes"):
        raise Refused(
            "fresh", f"{holder['owner']} showed a sign of life {seen:.0f} s ago, running {holder['procedure']}",
            "let it end; --yes breaks its lock all the same, and it stops before its next step",
        )  # fmt: skip
    _end(folder, holder)
    return _put(folder, {**found, "acting": None}, "break", by=str(request.get("by", "")), holder=holder)


VERBS: dict[str, Callable[[Path, Json], Json]] = {
    "swap": swap, "copy": copy, "take": take, "beat": beat, "free": free, "break": break_,
}  # fmt: skip


def age(acting: Json) -> float | None:
    """Seconds since the last sign of life on this machine's uptime; None when it was booted since."""
    if acting.get("beat_boot") != clock.boot_id():
        return None
    return max(0.0, time.monotonic() - float(acting.get("beat_ticks", 0.0)))


def _beaten(acting: Json) -> Json:
    return {**acting, "heartbeat": now(), "beat_boot": clock.boot_id(), "beat_ticks": time.monotonic()}


def _require_token(found: Json, request: Json) -> None:
    holder = found["acting"]
    if holder is None or not request.get("token") or holder["token"] != request["token"]:
        who = f"{holder['owner']}, running {holder['procedure']}" if holder else "nobody"
        raise Refused(
            "token", f"this run does not hold the estate's lock; {who} does", "./dr lock.status shows who is acting",
            holder=holder,
        )  # fmt: skip


def _put_aside(folder: Path) -> Json:
    path = folder / NAME
    path.replace(folder / f"estate.{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.aside.json")
    return {"schema": _PLAIN, "record": None, "sum": "", "acting": None}


def _put(folder: Path, document: Json, what: str, **more: Any) -> Json:
    """Write the document whole or not at all, and to the disk, its name too.

    With a quorum it is of a version that those do not believe who would take it for damaged.
    """
    document = {**document, "schema": SCHEMA if _QUORUM in (document["record"] or {}) else _PLAIN}
    files.replace(folder / NAME, json.dumps(document, indent=1) + "\n", 0o644)
    if what in ("swap", "copy", "break"):
        _tell(folder, {"at": now(), "what": what, "record": document["record"], **more})
    return document


def _tell(folder: Path, entry: Json) -> None:
    """A line for people about what became of the record; a disk that takes none stops nothing."""
    try:
        files.append(folder / LOG, json.dumps(entry))
    except OSError as error:
        print(f"WARNING: {folder / LOG}: {error.strerror}", file=sys.stderr)


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], "" if sys.argv[1:] == ["show"] else sys.stdin.read()))
