"""Ask and change the document on a host: the arbiter's on the backup host, a copy on a database host.

`Arbiter` is all that keeping the record needs of whatever decides; a file on the backup host is one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

from inventories.errors import BadInput, Refused, TargetFailed, TimedOut, Unreachable
from runbooks.engine.budgets import budget
from runbooks.engine.lock import NoKeeper
from runbooks.hosts import Host
from runbooks.record.types import SAME_VERSION, SETTLE, Page, page

PATH = "/var/lib/mystocks-dr/estate.json"
_READ = "cat %s 2>/dev/null || { test ! -e %s && echo absent; }"  # as types.ABSENT has it
_CALL = "cd /opt/mystocks-dr && exec python3 -S -m agents.guard.record %s"
Json = dict[str, Any]


class Conflict(Refused):
    """It was changed by somebody else, is another estate's, or another acts; `kind` is the program's word for it."""

    def __init__(self, kind: str, sentence: str, hint: str = "", holder: Json | None = None) -> None:
        super().__init__(sentence, hint)
        self.kind, self.holder = kind, holder


class NotBelieved(TargetFailed):
    """The document there cannot be read or was edited by hand: nothing is compared with it, and nothing written."""


class Arbiter(Protocol):
    """Compare and swap, and a lock with a token. Every method raises Unreachable where nobody answers."""

    @property
    def name(self) -> str: ...

    def read(self) -> Page: ...

    def change(self, verb: str, request: Json) -> Json: ...


@dataclass(frozen=True)
class FileOn:
    """Implements Arbiter with the file of one host."""

    host: Host

    @property
    def name(self) -> str:
        return self.host.name

    def read(self) -> Page:
        """One round trip. A host that does not answer is `away`."""
        try:
            self._knock()
            ran = self.host.run(_READ, PATH, PATH, timeout=budget("record.ask"))
        except (Unreachable, TimedOut) as error:
            return Page(self.name, why=str(error), away=True)
        except TargetFailed as error:
            return Page(self.name, why=f"the record on {self.name} cannot be read: {error}")
        return page(self.name, ran.stdout)

    def show(self) -> Json:
        """With the age of the holder's last sign of life, which only that host can tell.

        Raises Conflict where the document is not believed: nobody knows then who is acting.
        """
        said = self.change("show", {})
        if said["state"] not in ("known", "absent"):
            hint = SAME_VERSION if said["state"] == "future" else SETTLE
            raise Conflict(str(said["state"]), f"{self.name}: {said['why']}, so nobody knows who is acting", hint)
        return said

    def change(self, verb: str, request: Json) -> Json:
        """The document afterwards. Raises Conflict, NotBelieved, TargetFailed (NoKeeper), TimedOut, Unreachable."""
        self._knock()
        ran = self.host.run(_CALL, verb, stdin=json.dumps(request), timeout=budget("record.ask"), expect=None)
        if ran.rc == 0:
            return dict(ran.json())
        lines = [line.strip() for line in ran.stderr.splitlines() if line.strip()] or ["it said nothing"]
        hint = lines.pop().removeprefix("HINT: ") if lines[-1].startswith("HINT: ") and len(lines) > 1 else ""
        if ran.rc == 3:
            said = ran.json()
            kind, sentence = str(said["refused"]), f"{self.name}: {said['why']}"
            if kind == "unreadable":
                raise NotBelieved(sentence, hint)
            raise Conflict(kind, sentence, hint, said.get("holder"))
        missing = any(words in lines[-1] for words in ("can't cd to", "No module named"))
        if ran.rc == 2 and not missing:  # with which a shell that finds no such folder ends, too
            raise BadInput(f"{self.name}: {lines[-1]}", hint)
        way_on = "./dr deploy puts what it needs there"
        if missing:
            raise NoKeeper(f"{self.name} has no program for the estate record yet", way_on)
        raise TargetFailed(f"{self.name} cannot keep it: {lines[-1]}", way_on)

    def begin(self, verb: str) -> None:
        """Have the program ready for a `change` of this verb: it does nothing before it has read the request."""
        if self.host.reachable():
            self.host.begin(_CALL, verb)

    def _knock(self) -> None:
        if not self.host.reachable():
            raise Unreachable(f"{self.name} does not answer")
