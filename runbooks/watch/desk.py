"""What the backup host keeps, asked over one open session: the estate record, who acts, and what watches note there."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from inventories.errors import Refused, TargetFailed
from runbooks.agent import failure
from runbooks.hosts import Host
from runbooks.record.read import judged
from runbooks.record.types import ABSENT, Answer, Unknown, page
from runbooks.watch.channel import Channel

_SERVE = "cd /opt/mystocks-dr && exec python3 -S -m agents.guard.notes serve"
_CALL = "cd /opt/mystocks-dr && exec python3 -S -m agents.guard.notes %s"
ASK_S = 3.0
Json = dict[str, Any]


class Declines(Refused):
    """What is noted there keeps a watch from acting; `kind` is the program's word for it."""

    def __init__(self, kind: str, sentence: str, hint: str = "") -> None:
        super().__init__(sentence, hint)
        self.kind = kind


@dataclass(frozen=True)
class Kept:
    """What lies there. `why`: nobody can say; everything else is empty then."""

    answer: Answer
    acting: Json | None = None
    maintenance: Json | None = None
    acted: Json | None = None
    why: str = ""


NOT_ASKED = Kept(Unknown("nobody has asked yet"), why="nobody has asked yet")


class Desk:
    """`kept` is what was heard last; `refresh` asks. `begin` has it asked every `every_s` seconds."""

    def __init__(self, host: Host, told: Callable[[], None] = lambda: None, every_s: float = 2.0) -> None:
        self.host = host
        self.kept = NOT_ASKED
        self._told, self._every_s = told, every_s
        self._channel = Channel(partial(host.start, _SERVE))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go, name="desk", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._channel.close()

    def refresh(self, seconds: float = ASK_S) -> Kept:
        """Never raises: that nobody can say is an answer."""
        try:
            said = self._ask("look", {}, seconds)
            notes, text = said["notes"], said["record"]
            found = page(self.host.name, ABSENT if text is None else text)
            self.kept = Kept(judged(found, ()), found.acting, notes["maintenance"], notes["acted"])
        except Exception as error:  # of whatever kind
            why = f"{self.host.name} does not tell what it keeps: {error}"
            self.kept = Kept(Unknown(why), why=why)
        self._told()
        return self.kept

    def change(self, verb: str, request: Json) -> Json:
        """Raises Declines, TargetFailed."""
        return self._ask(verb, request, ASK_S)

    def _ask(self, verb: str, request: Json, seconds: float) -> Json:
        said = self._channel.ask({"verb": verb, "request": request}, seconds)
        if said is None:
            raise TargetFailed(f"{self.host.name} has not answered within {seconds:g} s")
        if "refused" in said:
            raise Declines(str(said["refused"]), f"{self.host.name}: {said['why']}", str(said.get("hint", "")))
        if "failed" in said:
            raise TargetFailed(f"{self.host.name}: {said['failed']}")
        return dict(said["ok"])

    def _go(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            self.refresh()
            self._over.wait(max(0.1, began + self._every_s - time.monotonic()))


def call(host: Host, verb: str, request: Json) -> Json:
    """The same once, for a person's command. Raises Refused, TargetFailed, Unreachable."""
    ran = host.run(_CALL, verb, stdin=json.dumps(request), expect=None, timeout=10)
    if ran.rc:
        raise failure(host, ran)
    return dict(ran.json())
