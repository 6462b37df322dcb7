"""Empty, fill, swap or move a host's data directory: asked of that host's own program, which judges what lies there.

No other action and no deploy touches one. The program refuses what nobody consented to, and whatever somebody works in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from inventories.errors import Refused, TargetFailed
from runbooks import agent
from runbooks.hosts import Host
from runbooks.layout import CA, DATA, PASSFILE, Layout
from runbooks.long_work.work import Asker, Work, under_way

PROGRAM = "postgresql.directory.main"


@dataclass(frozen=True)
class Incoming:
    """What is to come into a data directory; the words of agents/postgresql/directory/change.py.

    `label` empty is the newest backup. `aside`: the suffix under which anything that is neither empty nor an unfinished
    restore is put aside; empty refuses it. `system` and `timeline` of the living primary, and `at`, how far it had
    written, let an older copy of what it carries on be rebuilt in place. `end`: the newest segment of the archive,
    `links`: where tablespaces go. The same for every attempt of one run: work that goes on is known by its words.
    """

    label: str = ""
    aside: str = ""
    host: str = ""
    system: str = ""
    timeline: int = 0
    at: int = 0
    end: str = ""
    links: tuple[str, ...] = ()

    def words(self, layout: Layout, **more: Any) -> str:
        said = {name: value for name, value in vars(self).items() if value}
        return request(layout, **said, **more)


@dataclass(frozen=True)
class Room:
    """What lay there, in words, and where it lies now; `in_place`: it is overwritten."""

    why: str
    aside: str
    in_place: bool


def request(layout: Layout, **words: Any) -> str:
    return json.dumps({"version": layout.version, **words})


def would_make_room(host: Host, layout: Layout, incoming: Incoming, needs: int = 0) -> Room:
    """What `make_room` would do; changes nothing. Raises Refused for what it would refuse, and for less than `needs`
    bytes where they are needed.
    """
    return _room(_ask(host, "room", incoming.words(layout, only_look=True, needs=needs), 60))


def make_room(host: Host, layout: Layout, incoming: Incoming) -> Room:
    """Empty the directory, or put aside what lies there with consent. Raises Refused, nothing touched."""
    return _room(_ask(host, "room", incoming.words(layout), 300))


def restoring(layout: Layout, incoming: Incoming, kind: str, expects: str = "", every_core: bool = False) -> Work:
    """Making room and bringing the backup in as a standby, as long work; only what differs is copied."""
    words = incoming.words(layout, every_core=every_core)
    return agent.work(PROGRAM, "restore", words, on=DATA, kind=kind, user="root", expects=expects)


def reclone(host: Host, layout: Layout, incoming: Incoming, asker: Asker, expects: str = "") -> Room:
    """Restore a backup over the data directory, as a standby, and wait for the end."""
    return _room(agent.run_work(host, restoring(layout, incoming, "reclone", expects), asker).json())


def recloning(host: Host, layout: Layout, incoming: Incoming, asker: Asker) -> bool:
    """Whether this run's re-clone works, or has ended and was not heard: then there is nothing left to rewind."""
    return under_way(host, restoring(layout, incoming, "reclone"), asker)


def rewind(host: Host, layout: Layout, source: Host, incoming: Incoming, asker: Asker) -> None:
    """Turn a former primary's data directory into a copy of `source` at the fork, with missing WAL from the archive.

    As long work: TargetFailed and Refused say that it does not work, every other error that it may. A cluster
    that was killed is recovered first: pg_rewind starts it in single-user mode by itself.
    """
    dsn = (
        f"host={source.name} hostaddr={source.address} port=5432 user=rewind dbname=postgres "
        f"application_name=pg_rewind sslmode=verify-full sslrootcert={CA} passfile={PASSFILE} connect_timeout=5"
    )
    words = incoming.words(layout, source=dsn)
    agent.run_work(host, agent.work(PROGRAM, "rewind", words, on=DATA, kind="rewind", user="root"), asker)


def require_swap(host: Host, layout: Layout, side: str) -> None:
    """Raises Refused unless the directory of side cluster `side` can take the main one's place by a rename."""
    _ask(host, "can-swap", request(layout, side=f"side-{side}"), 60)


def swap(host: Host, layout: Layout, side: str, stamp: str, timeline: int) -> str:
    """Put the promoted side cluster's directory in the main one's place; where that lies now. Both must be down."""
    words = request(layout, side=f"side-{side}", stamp=stamp, timeline=timeline)
    return str(_ask(host, "swap", words, 60)["replaced"])


def put_back(host: Host, layout: Layout, side: str, stamp: str) -> None:
    """Undo `swap` as far as it came; nothing is deleted. The server must be down."""
    _ask(host, "put-back", request(layout, side=f"side-{side}", stamp=stamp), 60)


def clear_leftover(host: Host, layout: Layout, side: str, aside: str) -> str:
    """Put aside what a swap that was undone left where the side cluster goes; where it lies now, empty for nothing."""
    return str(_ask(host, "left-over", request(layout, side=f"side-{side}", aside=aside), 60)["aside"])


def drop_replaced(host: Host, layout: Layout, name: str) -> None:
    """Delete a data directory that was put aside, for good."""
    _ask(host, "drop-replaced", request(layout, name=name), 600)


def _room(said: Any) -> Room:
    return Room(said["why"], said["aside"], said["in_place"])


def _ask(host: Host, verb: str, words: str, timeout: float) -> Any:
    try:
        return agent.ask(host, PROGRAM, verb, words, timeout=timeout, user="root")
    except TargetFailed as error:
        if "No module named" not in str(error):
            raise
        raise Refused(f"{host} has agents of an older version", "./dr deploy brings them, then repeat") from error
