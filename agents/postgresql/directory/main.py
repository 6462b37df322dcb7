"""What lies in the data directory, and everything that deletes, overwrites, fills, swaps or moves it. Run as root.

    python3 -m agents.postgresql.directory.main look      '{"version": 17}'        changes nothing
    python3 -m agents.postgresql.directory.main room      '{"version": 17, ...}'   make room for a restore
    python3 -m agents.postgresql.directory.main restore   '{...}'                  ... and restore a backup as a standby
    python3 -m agents.postgresql.directory.main rewind    '{..., "source": DSN}'   an older copy of the living primary
    python3 -m agents.postgresql.directory.main clone     '{..., "source": DSN, "slot": NAME}'
    python3 -m agents.postgresql.directory.main can-swap|swap|put-back|left-over|drop-replaced '{...}'

Prints one JSON object. Exit codes: 0 done, 1 it failed, 2 the request is none, 3 refused and nothing was touched.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agents.base import signals
from agents.base.errors import AgentError
from agents.base.errors import run as run_main
from agents.postgresql.directory import change
from agents.postgresql.directory.change import Place, Room, Wanted
from agents.postgresql.directory.judge import Successor, as_json

Json = Mapping[str, Any]
_PATIENCE_S = 20.0  # for another one's renames; whoever is interrupted and repeated meets what was left to end


class BadRequest(AgentError):  # noqa: N818
    """What was asked for is no request."""

    exit_code = 2


class Asked:
    """The words of a request, each of its kind. Raises BadRequest for one that is missing or of another kind."""

    def __init__(self, said: Json) -> None:
        unknown = set(said) - set(_KINDS)
        if unknown:
            raise BadRequest(f"The request has words that nobody knows: {', '.join(sorted(unknown))}.")
        for name, value in said.items():
            if not isinstance(value, _KINDS[name]) or (isinstance(value, bool) and _KINDS[name] is not bool):
                raise BadRequest(f"{name} in the request is {value!r}.")
        self._said = said

    def text(self, name: str) -> str:
        return str(self._said.get(name, ""))

    def number(self, name: str) -> int:
        return int(self._said.get(name, 0))

    def is_said(self, name: str) -> bool:
        return bool(self._said.get(name, False))

    def must(self, name: str) -> Any:
        if not self._said.get(name):
            raise BadRequest(f"The request lacks {name}.")
        return self._said[name]

    @property
    def place(self) -> Place:
        version = self.must("version")
        return Place(
            Path(f"/var/lib/postgresql/{version}/main"), Path(f"/usr/lib/postgresql/{version}/bin"),
            self.text("stanza") or "main",
        )  # fmt: skip

    @property
    def wanted(self) -> Wanted:
        system, timeline = self.text("system"), self.number("timeline")
        return Wanted(
            label=self.text("label"), aside=self.text("aside"), host=self.text("host"), end=self.text("end"),
            successor=Successor(system, timeline, self.number("at")) if system and timeline else None,
            needs=self.number("needs"),
            links=tuple(map(str, self._said.get("links", ()))), only_look=self.is_said("only_look"),
        )  # fmt: skip


_KINDS: Mapping[str, type] = {
    "version": int, "stanza": str, "label": str, "aside": str, "host": str, "end": str, "system": str, "timeline": int,
    "at": int, "needs": int, "links": list, "only_look": bool, "every_core": bool, "source": str, "slot": str,
    "side": str, "stamp": str, "name": str,
}  # fmt: skip


def main(argv: list[str]) -> int:
    return run_main(lambda: _run(argv))


def _run(argv: list[str]) -> int:
    if len(argv) != 2 or argv[0] not in _VERBS:
        raise BadRequest(f"One of {', '.join(_VERBS)}, then the request.")
    try:
        said = json.loads(argv[1])
    except ValueError as error:
        raise BadRequest(f"The request is no JSON: {error}.") from error
    if not isinstance(said, dict):
        raise BadRequest("The request is no JSON object.")
    asked = Asked(said)
    place = asked.place
    if argv[0] in _LOOKING:
        answer = _LOOKING[argv[0]](asked, place)
    else:
        with change.only_one(place, _PATIENCE_S) as lock, signals.as_errors():
            answer = _CHANGING[argv[0]](asked, place, lock)
    print(json.dumps(answer))
    return 0


def _look(asked: Asked, place: Place) -> Json:
    return as_json(*change.seen_and_judged(place))


def _can_swap(asked: Asked, place: Place) -> Json:
    change.require_swap(place, asked.must("side"))
    return {}


def _room(asked: Asked, place: Place, lock: int) -> Json:
    return _told(change.room(place, asked.wanted))


def _restore(asked: Asked, place: Place, lock: int) -> Json:
    processes = os.cpu_count() or 1 if asked.is_said("every_core") else 0
    return _told(change.restore(place, asked.wanted, processes, change.as_user(place.user), lock))


def _told(found: Room) -> Json:
    return {**as_json(found.seen, found.judged), "aside": found.aside, "in_place": found.in_place}


def _rewind(asked: Asked, place: Place, lock: int) -> Json:
    configuration = Path(f"/etc/postgresql/{asked.must('version')}/main/postgresql.conf")
    change.rewind(place, asked.wanted, asked.must("source"), configuration, change.as_user(place.user), lock)
    return {}


def _clone(asked: Asked, place: Place, lock: int) -> Json:
    change.clone(place, asked.must("source"), asked.must("slot"), change.as_user(place.user), lock)
    return {}


def _swap(asked: Asked, place: Place, lock: int) -> Json:
    return {"replaced": change.swap(place, asked.must("side"), asked.must("stamp"), asked.must("timeline"))}


def _put_back(asked: Asked, place: Place, lock: int) -> Json:
    return {"undone": change.put_back(place, asked.must("side"), asked.must("stamp"))}


def _left_over(asked: Asked, place: Place, lock: int) -> Json:
    return {"aside": change.left_over(place, asked.must("side"), asked.text("aside"))}


def _drop_replaced(asked: Asked, place: Place, lock: int) -> Json:
    change.drop_replaced(place, asked.must("name"))
    return {}


_LOOKING: Mapping[str, Callable[[Asked, Place], Json]] = {"look": _look, "can-swap": _can_swap}
_CHANGING: Mapping[str, Callable[[Asked, Place, int], Json]] = {
    "room": _room, "restore": _restore, "rewind": _rewind, "clone": _clone, "swap": _swap, "put-back": _put_back,
    "left-over": _left_over, "drop-replaced": _drop_replaced,
}  # fmt: skip
_VERBS = (*_LOOKING, *_CHANGING)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
