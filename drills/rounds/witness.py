"""A witness on the application host: tries to commit on every database host throughout, and tells whether two took it.

The rows that a feed counts cannot show this: a second primary that nobody happened to write to loses none.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from runbooks.hosts import Host

_COMMAND = "cd /opt/mystocks-dr && exec python3 -m agents.writing.watch --config /etc/mystocks-dr/agent.json"
AGAIN_S = 0.3  # after its host died, until it is started anew
ENDS_S = 5.0
SILENT_S = 10.0  # it says something every second: who has said nothing for so long has not looked either
FILE = "witness.jsonl"


@dataclass(frozen=True, slots=True)
class Ack:
    """A commit that `host` acknowledged. Seconds of the application host's clock, which begins anew with `life`."""

    life: int
    host: str
    timeline: int
    began: float
    ended: float


class Witnessed(BaseModel):
    """What was seen: attempts and acknowledged commits by host, and each time that two hosts took writes.

    `silent_s`: the longest time in which it said nothing, where it had not died; None when it was not there to the end.
    `died`: how often it had to be started again.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    looks: Mapping[str, int] = {}
    acks: Mapping[str, int] = {}
    two: tuple[str, ...] = ()
    silent_s: float | None = None
    died: int = 0

    @property
    def tries(self) -> int:
        return sum(self.looks.values())

    @property
    def saw(self) -> bool:
        """Whether it can say anything: it tried every host without a long silence, and one acknowledged."""
        looked = self.silent_s is not None and self.silent_s <= SILENT_S
        return looked and bool(self.looks) and all(self.looks.values()) and any(self.acks.values())

    def reasons(self, may_die: int) -> Iterator[str]:
        """What is wrong, as sentences. Having seen nothing is; and having died without losing its host's power."""
        yield from self.two
        if self.silent_s is None:
            yield "The witness was not there to the end, so nothing is known about two that took writes then."
        elif self.silent_s > SILENT_S:
            yield (
                f"The witness said nothing for {self.silent_s:.0f} s, so nothing is known about two that took writes "
                "meanwhile."
            )
        if self.died > may_die:
            yield (
                f"Times that the witness had to be started again: {self.died}; that its host lost power: {may_die}. "
                "Nothing is known about two that took writes meanwhile."
            )
        if not sum(self.acks.values()):
            yield "The witness saw no host take a write, so nothing is known about two that did."
        for host, looks in self.looks.items():
            if not looks:
                yield f"The witness never tried {host}, so nothing is known about two that took writes."
        if not self.looks:
            yield "The witness tried no host."


@contextmanager
def present(app: Host, folder: Path) -> Iterator[None]:
    """Somebody watches from the application host meanwhile; what it says goes to folder/witness.jsonl."""
    witness = _Witness(app, folder / FILE)
    thread = threading.Thread(target=witness.go, name="witness", daemon=True)
    thread.start()
    try:
        yield
    finally:
        witness.end()
        thread.join(ENDS_S * 2)


class _Witness:
    def __init__(self, app: Host, path: Path) -> None:
        self._app, self._path = app, path
        self._over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._began = time.monotonic()

    def _head(self, life: int) -> str:
        """Before each line: the life that it is of, and when it was heard, in seconds since the witness was sent."""
        return json.dumps({"life": life, "heard": round(time.monotonic() - self._began, 3)}) + "\t"

    def go(self) -> None:
        """Its host may die and come back: then it is started again, as another life."""
        life = 0
        with self._path.open("a", encoding="utf-8") as out:
            while not self._over.is_set():
                life += 1
                self._process = self._app.start(_COMMAND, user="mystocks")
                if self._over.is_set():  # while this one was started
                    self.end()
                assert self._process.stdout is not None
                assert self._process.stderr is not None
                threading.Thread(target=self._process.stderr.read, daemon=True).start()
                for line in self._process.stdout:
                    out.write(self._head(life) + line.decode(errors="replace"))
                    out.flush()
                self._process.wait()
                self._over.wait(AGAIN_S)
            out.write("\n" + self._head(life) + json.dumps({"kind": "over"}) + "\n")

    def end(self) -> None:
        self._over.set()
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            process.stdin.close()
            process.wait(ENDS_S)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()


def read(folder: Path) -> Witnessed:
    """What it said in all its lives. A file that is not there is a witness that saw nothing."""
    path = folder / FILE
    acks: list[Ack] = []
    looks: dict[tuple[int, str], int] = {}
    heard: list[tuple[int, float, float]] = []  # of each line: its life, when, and when it was said over there
    over: float | None = None
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        head, _, said = line.partition("\t")
        try:
            at, words = json.loads(head), json.loads(said)
            life, when = int(at["life"]), float(at["heard"])
            if words["kind"] == "over":
                over = when
                continue
            if words["kind"] == "ack":
                acks.append(Ack(life, words["host"], words["timeline"], words["began"], words["ended"]))
            else:
                looks |= {(life, host): count for host, count in words["hosts"].items()}
            heard.append((life, when, float(words["ended" if words["kind"] == "ack" else "at"])))
        except (ValueError, KeyError, TypeError):
            continue  # torn off by a death
    by_host: dict[str, int] = {}
    for (_, host), count in looks.items():
        by_host[host] = by_host.get(host, 0) + count
    took = {host: sum(ack.host == host for ack in acks) for host in sorted({ack.host for ack in acks})}
    lives = {life for life, _, _ in heard}
    return Witnessed(
        looks=by_host, acks=took, two=tuple(two_primaries(acks)), silent_s=_longest(heard, over),
        died=max(len(lives) - 1, 0),
    )  # fmt: skip


def _longest(heard: list[tuple[int, float, float]], over: float | None) -> float | None:
    """The longest silence in seconds. Between two lives there is none: a host that is off says nothing.

    In a life by the clock over there, since what a slow line delivers late was seen in its time.
    """
    if not heard or over is None:
        return None
    said = sorted((life, at) for life, _, at in heard)
    gaps = [later - at for (life, at), (same, later) in pairwise(said) if life == same]
    return round(max(heard[0][1], over - heard[-1][1], *gaps, 0.0), 3)


def two_primaries(acks: Iterable[Ack]) -> Iterator[str]:
    """Each host that acknowledged a commit which began after another host had done so on a newer timeline.

    Also two hosts on one timeline. A promotion begins a timeline, so that in an estate with one primary at a time
    timelines only grow, and each has one host.
    """
    first: dict[tuple[int, str], Ack] = {}  # the first one of each timeline and host
    told: set[tuple[str, int, str, int]] = set()
    for ack in sorted(acks, key=lambda one: (one.life, one.ended)):
        for (timeline, host), other in first.items():
            same = timeline == ack.timeline and host != ack.host
            older = timeline > ack.timeline and (ack.life, ack.began) > (other.life, other.ended)
            key = (ack.host, ack.timeline, host, timeline)
            if (same or older) and key not in told:
                told.add(key)
                yield (
                    f"Two hosts took writes: {host} on timeline {timeline}, and after it {ack.host} on {ack.timeline}."
                )
        first.setdefault((ack.timeline, ack.host), ack)
