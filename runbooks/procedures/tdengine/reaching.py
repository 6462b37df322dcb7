"""Wait until copies of TDengine's vgroups have reached an entry of their log, while others go on writing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from inventories.errors import Unreachable
from runbooks.engine.wait import until
from runbooks.hosts import Host
from runbooks.probes.tdengine import servers as tdengine
from runbooks.probes.tdengine.servers import Server, Vgroup

_EVERY_S = 0.5
Has = Callable[[Server, Vgroup, int], bool]


def fillable(server: Server, node: int | None) -> list[Vgroup]:
    """The vgroups that have a copy on this node and could be filled by another."""
    copied = (group for group in server.vgroups if any(replica.node == node for replica in group.replicas))
    return [group for group in copied if not group.is_ours_alone(node)]


def groups(asked: Host, lost: str, within: float) -> list[Vgroup]:
    """What the cluster tells of the vgroups with a copy on the lost node. Raises TimedOut."""
    what = f"{asked.name} to tell its vgroups"
    server = until(lambda: _answering(asked), within, what=what, every=_EVERY_S)
    return fillable(server, server.numbers[lost])


def reach(
    asked: Host, lost: str, has: Has, within: Callable[[], float], *, beyond: Mapping[int, int], what: str
) -> dict[int, int]:
    """Wait until each vgroup of the lost node `has` an entry `beyond` these; vgroup id -> that entry. Raises TimedOut.

    While rows are written no two copies tell one position at once, for the cluster hears of each at another moment.
    So the first such entry that was told is the one to reach.
    """
    entries: dict[int, int] = {}

    def behind() -> list[str]:
        server = _answering(asked)
        found = fillable(server, server.numbers[lost])
        for group in found:
            if group.id not in entries and group.committed > beyond.get(group.id, -1):
                entries[group.id] = group.committed
        return [
            _behind(group, entries.get(group.id)) for group in found
            if group.id not in entries or not group.has_leader or not has(server, group, entries[group.id])
        ]  # fmt: skip

    until(behind, within(), what=what, accept=lambda left: not left, every=_EVERY_S)
    return entries


def _answering(asked: Host) -> Server:
    """Of one that does not answer nothing is known, least of all that no vgroup is behind. Raises Unreachable."""
    server = tdengine.look(asked)
    if not server.online:
        raise Unreachable(f"{asked.name} tells nothing of its cluster: {server.why}")
    return server


def _behind(group: Vgroup, entry: int | None) -> str:
    copies = ", ".join(f"node {one.node} {one.role} at {one.applied}" for one in group.replicas)
    lacks = "nothing new is committed" if entry is None else f"entry {entry} is to be reached"
    return f"vgroup {group.id} of {group.database}: {lacks}, {copies}"
