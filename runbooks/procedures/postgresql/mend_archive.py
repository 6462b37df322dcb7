"""Mend-archive: WAL does not get into the archive; put right what keeps it out and save what can still be saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath

from inventories.errors import VerificationFailed
from runbooks.actions.postgresql import server as act
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Step
from runbooks.engine.wait import until
from runbooks.hosts import Host, Run
from runbooks.layout import STANZA
from runbooks.probes.postgresql import pgbackrest, server, wal_left
from runbooks.procedures.postgresql import archiving, gates, guards, recording, verifying
from runbooks.procedures.postgresql.roles import Roles, layout, primary_of


class MendArchiveOptions(Options):
    """Nothing to choose: the archive is mended from what the primary still has."""


class MendArchive(Roles):
    """`command` is the archive_command that was found in force, `gaps` what the archive lacked, `left` what it lacks
    for ever: each names first and last segment; `stops` the files by which pgBackRest was told to stop, by host.
    """

    command: str = ""
    stops: Mapping[str, tuple[str, ...]] = {}
    gaps: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


_COMMAND = "select setting, sourcefile from pg_settings where name = 'archive_command'"


def assess(context: Run, state: MendArchive) -> MendArchive:
    """Name what is wrong before it is touched."""
    primary = server.the_primary(server.survey(context.estate))
    command = str(primary.host.query(_COMMAND)[0]["setting"])
    stops = {host.name: found for host in (context.estate.backup, primary.host) if (found := _stops(host))}
    for name, found in stops.items():
        context.say(f"pgBackRest was told to stop on {name}, and nobody started it again: {', '.join(found)} is there")
    gaps = (*_gaps(context), *_untaken(context, primary.host))
    context.say(f"{primary.name} archives by `{command}`; the archive lacks {_named(gaps)}")
    return state.model_copy(
        update={
            "primary": primary.name, "timeline": primary.timeline, "old_timeline": primary.timeline,
            "other": next((h.name for h in context.estate.postgres if h != primary.host), ""),
            "command": command, "gaps": gaps, "stops": stops,
        }
    )  # fmt: skip


def lift(context: Run, state: MendArchive) -> MendArchive:
    """`start` takes away what `stop` left; one host may not speak for another, so each is asked to."""
    for name in state.stops:
        host = context.estate.host(name)
        for path in _stops(host):
            stanza = PurePath(path).stem
            words = ("pgbackrest start", ()) if stanza == "all" else ("pgbackrest --stanza=%s start", (stanza,))
            host.run(words[0], *words[1], user="postgres", timeout=context.remaining())
    return state


def lifted(context: Run, state: MendArchive) -> None:
    for name in state.stops:
        left = _stops(context.estate.host(name))
        if left:
            raise VerificationFailed(f"{', '.join(left)} is still on {name}", "remove it there, as its owner")


def _stops(host: Host) -> tuple[str, ...]:
    """The files by which pgBackRest was told to stop on a host, for this stanza or all."""
    said = host.run("ls /tmp/pgbackrest/%s.stop /tmp/pgbackrest/all.stop 2>/dev/null || true", STANZA, timeout=10)
    return tuple(said.stdout.split())


def declare(context: Run, state: MendArchive) -> MendArchive:
    """What was set by hand goes; what the configuration file declares is in force again."""
    primary = primary_of(context, state)
    primary.execute("ALTER SYSTEM RESET archive_command; SELECT pg_reload_conf();")
    return state


def declared(context: Run, state: MendArchive) -> None:
    primary = primary_of(context, state)
    found = until(
        lambda: str(primary.query(_COMMAND)[0]["setting"]), min(context.remaining(), 5), what="the reload",
        accept=lambda command: command != state.command or _pushes(command),
    )  # fmt: skip
    if not _pushes(found):
        raise VerificationFailed(
            f"{state.primary} archives by `{found}`, which is not pgBackRest's archive-push",
            f"./dr deploy --limit {state.primary} puts the declared settings back, then ./dr mend-archive",
        )


def _pushes(command: str) -> bool:
    return command.startswith(f"pgbackrest --stanza={STANZA} archive-push")


def pass_over(context: Run, state: MendArchive) -> MendArchive:
    """What keeps the archiver for ever from all that waits behind it, and belongs to nobody's history."""
    primary, paths = primary_of(context, state), layout(context)
    forks = server.fork_points(primary, paths.version, state.timeline)
    left = wal_left.look(primary, paths, state.timeline, forks)
    part = wal_left.refused(primary, context.estate.backup, STANZA, state.timeline)
    archiving.pass_over(context, primary, (*left, *filter(None, [part])))
    return state


def push_again(context: Run, state: MendArchive) -> MendArchive:
    """Every finished segment that pg_wal still has, whatever was said of it: pgBackRest passes over what it has."""
    primary, paths = primary_of(context, state), layout(context)
    act.switch_wal(primary, "archive-mended")
    now = int(primary.query("select pg_current_wal_lsn() - '0/0'::pg_lsn as at")[0]["at"])
    act.archive_again(primary, paths, server.segment(state.timeline, now))
    primary.execute("SELECT pg_logical_emit_message(false, 'mystocks-dr', 'archive'); SELECT pg_switch_wal();")
    return state


def pushed(context: Run, state: MendArchive) -> None:
    primary = primary_of(context, state)
    until(
        lambda: pgbackrest.archiving(primary),
        context.remaining(),
        what=f"{primary} to push what it has",
        accept=lambda archiver: not archiver.waiting and not archiver.failing,
        every=0.3,
    )


def name_gap(context: Run, state: MendArchive) -> MendArchive:
    """Say which moments no restore reaches any more."""
    left = _gaps(context)
    if not left:
        context.say(f"nothing is missing{f': {_named(state.gaps)} came from pg_wal' if state.gaps else ''}")
        return state.model_copy(update={"left": left})
    why = f"the archive lacks {_named(left)} for ever: no restore from an older backup goes beyond"
    return recording.say_degraded(context, state.model_copy(update={"left": left}), why)


def checked(context: Run, state: MendArchive) -> None:
    """A segment that is closed now must be found in the repository."""
    context.estate.backup.run(
        "pgbackrest --stanza=%s --io-timeout=5 check", STANZA, user="postgres", timeout=context.remaining()
    )


def _gaps(context: Run) -> tuple[str, ...]:
    host: Host = context.estate.backup
    said = host.run(
        "cd /opt/mystocks-dr && python3 -m agents.postgresql.wal.archive --stanza %s",
        STANZA, user="postgres", timeout=60
    ).json()
    return tuple(f"{gap['first']} to {gap['last']}" for gap in said["gaps"])


def _untaken(context: Run, primary: Host) -> tuple[str, ...]:
    """Segments that the archiver calls done behind the newest that the archive has: a lie that is still being told."""
    claimed = pgbackrest.archiving(primary).last_archived
    newest = pgbackrest.info(context.estate.backup, STANZA).archive_max
    if len(claimed) != len(newest) or claimed[:8] != newest[:8] or claimed <= newest:
        return ()
    position = server.begins(newest) + server.SEGMENT_BYTES
    return (f"{server.segment(int(newest[:8], 16), position)} to {claimed}",)


def _named(gaps: tuple[str, ...]) -> str:
    return ", ".join(gaps) or "nothing that it knows of"


MEND_ARCHIVE: Procedure[MendArchive] = Procedure(
    name="mend-archive",
    summary="Mend what keeps WAL out of the archive; push what is left.",
    purpose=(
        "The check of the archive failed: archive_command says that it archives, and the repository does not have it, "
        "or somebody ran `pgbackrest stop` and forgot it. Starts it again, puts the declared archive_command in force, "
        "pushes what pg_wal still has, names what is lost for ever and takes a backup, so that the next restore does "
        "not need it. Commits go on meanwhile."
    ),
    gate=(gates.ONE_ANSWERS,),
    initial=lambda context: MendArchive(),
    steps=(
        Step(
            name="assess", role="primary", budget="ssh.command", action=assess, observes=True,
            says="Look which archive_command is in force, whether pgBackRest was stopped, and what the archive lacks.",
            evidence=Evidence("the command and each gap are in the journal"), still=guards.alone(),
            commands=(
                "psql -c 'show archive_command'",
                "ls /tmp/pgbackrest   # a main.stop or all.stop, there and on the backup host",
                "cd /opt/mystocks-dr && sudo -u postgres "
                "python3 -m agents.postgresql.wal.archive   # on the backup host",
            ),
        ),
        Step(
            name="lift", role="backup", budget="ssh.command", action=lift,
            when=lambda context, state: bool(state.stops), when_says="pgBackRest was told to stop",
            says="Start pgBackRest again where somebody told it to stop.",
            evidence=Evidence("no stop file is left on the backup host or the primary", lifted),
            commands=("sudo -u postgres pgbackrest --stanza=main start   # where /tmp/pgbackrest/main.stop is",),
        ),
        Step(
            name="declare", role="primary", budget="ssh.command", action=declare,
            says="Take back what was set by hand, so that the declared archive_command is in force.",
            evidence=Evidence("PostgreSQL archives by pgbackrest archive-push", declared),
            commands=("psql -c 'alter system reset archive_command'", "psql -c 'select pg_reload_conf()'"),
        ),
        Step(
            name="pass-over", role="primary", budget="ssh.command", action=pass_over,
            says="Keep out of the archive what is left of older timelines behind the point where they were left.",
            evidence=Evidence("what was passed over is said aloud"),
            commands=(
                "cat /var/lib/postgresql/17/main/pg_wal/TIMELINE.history   # where each older timeline was left",
                "cd /var/lib/postgresql/17/main/pg_wal/archive_status && mv SEGMENT.ready SEGMENT.done",
            ),
        ),
        Step(
            name="push-again", role="primary", budget="archive.catch_up", action=push_again,
            says="Push every finished segment that pg_wal still has, whatever was said of it before.",
            evidence=Evidence("no segment waits and the archiver does not fail", pushed),
            commands=(
                "cd /var/lib/postgresql/17/main/pg_wal/archive_status && "
                "for done in *.done; do mv $done ${done%.done}.ready; done",
                "psql -c 'select pg_switch_wal()'",
            ),
        ),
        Step(
            name="name-gap", role="backup", budget="ssh.command", action=name_gap, observes=True,
            says="Name the segments that the archive lacks for ever.",
            evidence=Evidence("each gap that is left is said aloud"),
        ),
        replace(
            archiving.BACKUP, says="Take a backup, so that the next restore need not cross the gap."
        ),
        Step(
            name="check", role="backup", budget="archive.push", action=lambda context, state: state,
            says="Close a segment and look for it in the repository.",
            evidence=Evidence("pgBackRest finds the segment that it closed", checked),
            commands=("sudo -u postgres pgbackrest --stanza=main check",),
        ),
        verifying.verification(),
    ),
)  # fmt: skip
