"""Rebuild a standby from the repository: in place where its data are an older copy of the living primary's."""

from __future__ import annotations

from inventories.errors import VerificationFailed
from runbooks.actions.postgresql import directory
from runbooks.actions.postgresql.directory import Incoming, Room
from runbooks.engine.budgets import budget
from runbooks.hosts import Host, Run
from runbooks.long_work.work import Asker
from runbooks.probes import durations
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql.roles import layout
from runbooks.record import keep

SPARE = 1.1  # room for a whole copy, as a multiple of the databases' size


def incoming(context: Run, source: Host, host: Host, at: int = 0) -> Incoming:
    """The newest backup, for a standby of `source`. Raises VerificationFailed where that is no primary.

    What lies on the host and is neither a copy that `source` has left behind nor an unfinished restore is put aside: it
    may be of another cluster, or newer than anybody knows. `at`: how far `source` had written when the run began.
    """
    node = server.ask(source, layout(context).version, budget("promote.look"))
    if not node.is_primary or not node.timeline:
        raise VerificationFailed(f"{source} does not answer as a primary ({node.why or 'nobody can say why'})")
    return Incoming(
        aside=f".replaced-{context.run_dir.name.partition('-')[0]}", host=host.name, system=node.system,
        timeline=node.timeline, at=at, links=server.size(source).tablespaces,
    )  # fmt: skip


def no_copy_any_more(context: Run, host: Host, coming: Incoming) -> None:
    """Before its data give way to older ones: the record names it as a copy again once it has caught up, not before.

    Where commits wait for it, the record goes on naming a standby that is out, since nothing is acknowledged without
    it; that ends here. Raises Refused where it cannot be written.
    """
    why = f"{context.run_dir.name} replaces the data of {host}"
    if keep.without(context, host.name, why, system=coming.system):
        context.say(f"recorded: {host} has not every acknowledged row until it has caught up and commits wait for it")


def would_make_room(context: Run, source: Host, host: Host, at: int = 0) -> Room:
    """What `reclone` would do with what lies there. Raises Refused where it could not."""
    needs = int(server.size(source).bytes * SPARE)
    return directory.would_make_room(host, layout(context), incoming(context, source, host, at), needs)


def reclone(context: Run, source: Host, host: Host, at: int = 0) -> str:
    """Restore the newest backup as a standby; where lies now what was put aside, empty for nothing."""
    coming, asker = incoming(context, source, host, at), Asker.of(context)
    no_copy_any_more(context, host, coming)
    if not directory.recloning(host, layout(context), coming, asker):
        would_make_room(context, source, host, at)
    room = directory.reclone(host, layout(context), coming, asker, durations.restore(context.estate))
    if room.aside:
        context.say(f"{layout(context).data} on {host} {room.why}; it lies in {room.aside} now, nothing was deleted")
    return room.aside
