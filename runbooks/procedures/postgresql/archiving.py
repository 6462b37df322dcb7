"""What the repository gets once a primary is new: the WAL that the old one had not pushed, and a backup."""

from __future__ import annotations

from typing import Any

from inventories.errors import DrError, VerificationFailed
from runbooks.actions import backup
from runbooks.actions.postgresql import pgbackrest as repository
from runbooks.actions.postgresql import server as act
from runbooks.engine.step import Evidence, Grows, Step
from runbooks.hosts import Host, Run
from runbooks.long_work.work import Asker
from runbooks.probes import disk, durations
from runbooks.probes.postgresql import server, wal_left
from runbooks.procedures.postgresql.roles import R, Roles, layout, primary_of


def archived(context: Run, state: R) -> R:
    """Give the repository what the old primary had not pushed, and the first segment of the new timeline."""
    primary, paths = primary_of(context, state), layout(context)
    try:
        context.estate.backup.must_answer()
        repository.drop_connections(context.estate.backup)
    except DrError as error:
        context.say(f"WARNING: the repository may still wait for {state.other}: {error}")
    # Until its first checkpoint the new primary's control file names the old timeline, and pgBackRest refuses.
    act.checkpoint(primary)
    forks = server.fork_points(primary, paths.version, state.timeline)
    pass_over(context, primary, wal_left.look(primary, paths, state.timeline, forks))
    # More than one where a promotion was repeated.
    for fork in [one for one in forks if one >= state.old_timeline > 0] or sorted(forks)[-1:]:
        act.archive_again(primary, paths, server.segment(fork, forks[fork]))
    act.switch_wal(primary, f"timeline-{state.timeline}")
    return state


def pass_over(context: Run, primary: Host, names: tuple[str, ...]) -> None:
    """Of WAL that is not of the primary's history nothing comes into the archive."""
    if names:
        act.never_archive(primary, layout(context), names)
        context.say(f"not archived, since {primary} does not go on from it: {', '.join(names)}")


def room_for_wal(context: Run, state: Roles) -> None:
    """Raises VerificationFailed when the repository's disk is full; one that cannot be asked is told elsewhere."""
    host = context.estate.backup
    try:
        host.must_answer()
        disks = disk.look(host, (disk.REPOSITORY,), 10)
    except DrError:
        return
    for full in disks:
        if full.free_bytes < 2 * server.SEGMENT_BYTES:
            raise VerificationFailed(
                f"{full.mount} on {host} is full ({full.free_bytes} bytes are free), so the repository takes no WAL",
                f"make room there, then --resume; {state.primary} takes writes and keeps its WAL meanwhile",
            )


ARCHIVE: Step[Any] = Step(
    name="archive",
    role="primary",
    says="Archive what the old primary had not, name a restore point and close the WAL segment.",
    action=archived,
    evidence=Evidence(
        "the restore point is written and the repository has room; verify finds the segment in it", room_for_wal
    ),
    budget="backup",
    commands=(
        "systemctl restart pgbackrest-server   # on the backup host",
        "psql -c checkpoint",
        "psql -c \"select pg_create_restore_point('timeline-N'), pg_switch_wal()\"",
    ),
)


def backed_up(context: Run, state: R) -> R:
    backup.take(context.estate.backup, "incr", Asker.of(context), durations.backup(context.estate))
    return state


BACKUP: Step[Any] = Step(
    name="backup",
    role="backup",
    says="Take a backup on the new timeline.",
    action=backed_up,
    evidence=Evidence("pgBackRest finished a backup"),
    budget="backup",
    grows=Grows.BACKUP,
    when=lambda context, state: context.estate.backup.reachable(),
    when_says="the backup host answers",
    commands=("sudo -u postgres pgbackrest --stanza=main --type=incr backup",),
)
