"""Restore the cluster: every database host is lost; blank hosts get its data back from the repository.

Both directories are restored at the same time, both servers start as standbys, and one is promoted when it has
replayed all that the archive holds. A standby asks an archive that is silent again; a server in plain archive recovery
would take silence for the end and begin a timeline too early.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from inventories.errors import DrError, TargetFailed, TimedOut, VerificationFailed
from runbooks.actions import app as app_actions
from runbooks.actions import backup as backup_actions
from runbooks.actions import lease, provision
from runbooks.actions.postgresql import directory
from runbooks.actions.postgresql import pgbackrest as repository
from runbooks.actions.postgresql import restore as restoring
from runbooks.actions.postgresql import server as act
from runbooks.actions.postgresql.directory import Incoming
from runbooks.engine.budgets import budget
from runbooks.engine.moving import while_it_moves
from runbooks.engine.procedure import Procedure
from runbooks.engine.process import user_at_machine
from runbooks.engine.step import Evidence, Gate, Grows, Step
from runbooks.engine.wait import until
from runbooks.hosts import Host, Run
from runbooks.layout import DATA
from runbooks.long_work.work import Asker
from runbooks.probes import app as app_probes
from runbooks.probes import durations
from runbooks.probes.postgresql import ground, pgbackrest, progress
from runbooks.procedures.postgresql import (
    ahead,
    gates,
    guards,
    promoting,
    recording,
    streaming,
    validating,
    verifying,
    writing,
)
from runbooks.procedures.postgresql import restore_ground as begin
from runbooks.procedures.postgresql.restore_ground import RestoreCluster, RestoreClusterOptions, aside
from runbooks.procedures.postgresql.roles import layout, others_of, primary_of
from runbooks.procedures.postgresql.working import nobody_works
from runbooks.record import keep

CLOCKS_S = 60.0  # the application's clock and that of the lost primary may differ by as much
STUCK_S = 10.0  # replay that has looked everywhere and found nothing for so long has met a gap


def wanted(context: Run) -> RestoreCluster:
    """Nothing is known yet. Raises Refused while another run restores."""
    nobody_works(context, DATA)
    return RestoreCluster()


def blank_hosts(context: Run, state: RestoreCluster) -> RestoreCluster:
    context.say(f"provisioning {', '.join(state.provision)}")
    log = context.run_dir / "provision.log"
    provision.for_restoring(context.estate, state.provision, log, lambda _: None)
    return state


def provisioned(context: Run, state: RestoreCluster) -> None:
    hosts = [context.estate.host(name) for name in state.provision]
    lacking = [one.host.name for one in ground.survey(hosts, layout(context), context.estate) if not one.ready]
    if lacking:
        raise VerificationFailed(f"{', '.join(lacking)} cannot take data yet after the deploy")


def prepare(context: Run, state: RestoreCluster) -> RestoreCluster:
    """Nothing expires, nothing of the lost hosts is held any more, and the directories are empty."""
    hosts, paths = (primary_of(context, state), *others_of(context, state)), layout(context)
    coming = {host.name: begin.incoming(context, state, host) for host in hosts}
    with ThreadPoolExecutor(2 + len(hosts)) as pool:  # all are asked before any is touched
        asked = [pool.submit(directory.would_make_room, host, paths, coming[host.name]) for host in hosts]
        held = pool.submit(_held, context, state)
        dropped = pool.submit(repository.drop_connections, context.estate.backup)
    waited: tuple[Future[Any], ...] = (held, dropped, *asked)
    for one in waited:
        one.result()
    # The data comes back whatever became of the record: what cannot be written now is written when it is back.
    keep.changing(context, state.primary, degraded=f"both are being restored from {state.label}", must=False)
    with ThreadPoolExecutor(len(hosts)) as pool:
        for sentence in pool.map(lambda host: _cleared(context, host, coming[host.name]), hosts):
            context.say(sentence)
    return state


def _held(context: Run, state: RestoreCluster) -> None:
    """Hold the lease, then look whether the backup is still there. Raises TargetFailed when it is not."""
    backup = context.estate.backup
    try:
        lease.hold(
            backup, _lease(context), user_at_machine(), f"restores {state.label} onto both database hosts",
            lease.RESTORE_S, state.label,
        )  # fmt: skip
    except DrError as error:
        context.say(f"WARNING: no lease is held, so the repository may expire meanwhile: {error}")
    known = {one.label for one in pgbackrest.info(backup, str(context.estate.data["stanza"])).backups}
    if state.label not in known:
        raise TargetFailed(f"backup {state.label} has expired meanwhile", "repeat without --resume to choose another")


def _cleared(context: Run, host: Host, coming: Incoming) -> str:
    paths = layout(context)
    room = restoring.clear(host, paths, coming, Asker.of(context))
    act.unfence(host, paths)
    return f"{paths.data} on {host} {room.why}{f'; it lies in {room.aside} now' if room.aside else ''}"


def is_held(context: Run, state: RestoreCluster) -> None:
    """Asked when a run is resumed, while the backup is needed. Raises VerificationFailed when it is gone."""
    known = {one.label for one in pgbackrest.info(context.estate.backup, str(context.estate.data["stanza"])).backups}
    if not state.timeline and state.label not in known:
        raise VerificationFailed(f"backup {state.label} has expired meanwhile", "start afresh, to choose another")


def _lease(context: Run) -> str:
    return f"restore-cluster-{context.run_dir.name}"[:100]


def copy(context: Run, state: RestoreCluster) -> RestoreCluster:
    """The primary's directory is waited for; the standby's goes on by itself, or begins later on the same machine."""
    asker = Asker.of(context)
    for host in (primary_of(context, state), *(others_of(context, state) if state.together else ())):
        restoring.begin(host, layout(context), begin.incoming(context, state, host), asker)
    if takes := durations.restore(context.estate, state.bytes):
        context.say(f"it takes {takes}")
    return state


def copied(context: Run, state: RestoreCluster) -> None:
    _wait_for_files(context, state, primary_of(context, state))


def _wait_for_files(context: Run, state: RestoreCluster, host: Host) -> None:
    """Raises TargetFailed with pgBackRest's reason when the restore ended without its files."""
    try:
        restoring.finish(host, layout(context), begin.incoming(context, state, host), Asker.of(context))
    except TargetFailed as error:
        raise TargetFailed(
            f"{host.name}: {state.label} could not be restored: {error}",
            "mend the cause and --resume, or take an older backup: ./dr restore-cluster --set LABEL",
        ) from error


def replay(context: Run, state: RestoreCluster) -> RestoreCluster:
    """The server answers, and may be at the end of the archive, a second before systemd calls it started."""
    primary = primary_of(context, state)
    pool = ThreadPoolExecutor(1)
    starting = pool.submit(act.start, primary, layout(context))
    pool.shutdown(wait=False)
    until(
        lambda: starting.done() or _answers(primary), act.START_S, what=f"PostgreSQL on {primary} to be started",
        every=0.05, clock=context.clock,
    )  # fmt: skip
    if starting.done():
        starting.result()
    return state


def _answers(host: Host) -> bool:
    progress.replay(host)
    return True


def replayed(context: Run, state: RestoreCluster) -> None:
    """All of the archive is in. Raises TargetFailed at a gap, unless the operator accepts the loss."""
    seen = _replay_to_the_end(context, state)
    ahead.ask_archive(context, primary_of(context, state), _asks(state))
    if not seen.has(state.archive_end) and not context.options.accept_loss:
        raise TargetFailed(
            f"replay on {state.primary} ended at {progress.as_lsn(seen.replayed)}, before {state.archive_end}, "
            "the newest segment of the archive: a segment between them is missing or damaged",
            "mend the archive and --resume; or --accept-loss promotes where the gap begins",
        )


def _asks(state: RestoreCluster) -> tuple[str, ...]:
    """What the promotion will ask an archive to which nobody adds any more: its last segment, and the histories."""
    if not state.archive_end:
        return ()
    timeline = int(state.archive_end[:8], 16)
    return (state.archive_end, *(f"{one:08X}.history" for one in (timeline + 1, timeline) if one > 1))


def _replay_to_the_end(context: Run, state: RestoreCluster) -> progress.Replay:
    host = primary_of(context, state)
    clock, stuck = context.clock, [(-1, 0.0)]

    def at_the_end(seen: progress.Replay) -> bool:
        if not seen.recovers:
            return True
        if seen.replayed != stuck[0][0] or not seen.waits:
            stuck[0] = (seen.replayed, clock())
        return seen.waits and (seen.has(state.archive_end) or clock() - stuck[0][1] > STUCK_S)

    return while_it_moves(
        lambda: progress.replay(host), "work.silent", what=f"the replay of the archive on {host.name}",
        accept=at_the_end, far=lambda seen: seen.replayed, granted=context.granted.add, every=0.05, clock=clock,
    )  # fmt: skip


def promote(context: Run, state: RestoreCluster) -> RestoreCluster:
    """From here on the directory holds data, and rows that exist once."""
    primary = primary_of(context, state)
    seen = progress.replay(primary)
    if seen.recovers:
        state = state.model_copy(update={"old_timeline": seen.timeline, "last_commit_at": seen.last_commit_at})
    state = promoting.promoted(context, state, "./dr restore-cluster --resume --yes")
    recording.recorded(context, state, (), recording.one_copy(state))
    return state


def written(context: Run, state: RestoreCluster) -> RestoreCluster:
    state = writing.must_write(context, state)
    return recording.say_degraded(context, state, recording.one_copy(state)) if not state.degraded else state


def requeue(context: Run, state: RestoreCluster) -> RestoreCluster:
    """What the store acknowledged after the last row that came back is queued again on the application host."""
    try:
        app_actions.requeue(context.estate.app, (state.last_commit_at or 0) - CLOCKS_S, context.remaining())
    except TargetFailed as error:
        context.say(f"WARNING: what was committed after the last archived WAL is missing: {error}")
        return state
    waiting = app_probes.outbox(context.estate.app).pending_rows
    context.say(f"{waiting} rows are queued again on {context.estate.app}; those that came back are skipped")
    return state.model_copy(update={"requeued": True})


def standby(context: Run, state: RestoreCluster) -> RestoreCluster:
    """Its files have arrived meanwhile; it follows the primary onto the new timeline. So do further ones."""
    for host in others_of(context, state):
        _wait_for_files(context, state, host)
        act.start(host, layout(context))
    return state


def follows(context: Run, state: RestoreCluster) -> None:
    for host in others_of(context, state):
        try:
            streaming.follows(context, state.model_copy(update={"other": host.name}))
        except TimedOut as error:
            hint = f"./dr rejoin {host} --reclone --yes restores it anew; {state.primary} takes writes"
            raise TimedOut(str(error), hint) from error


def back_up(context: Run, state: RestoreCluster) -> RestoreCluster:
    """An incremental one needs a sound one before it, so it is a full one when newer backups were passed over."""
    # Until its first checkpoint the control file names the old timeline, and pgBackRest refuses.
    act.checkpoint(primary_of(context, state))
    backup_actions.take(
        context.estate.backup, "full" if state.passed_over else "incr", Asker.of(context),
        durations.backup(context.estate),
    )  # fmt: skip
    return state


def declared(context: Run, state: RestoreCluster) -> RestoreCluster:
    changes = provision.ordinary(context.estate, context.run_dir / "deploy.log", lambda _: None)
    told = ", ".join(changes.by_operation) or "nothing"
    context.say(f"{changes.operations} operations, changed: {told}")
    return state


def end(context: Run, state: RestoreCluster) -> RestoreCluster:
    try:
        lease.release(context.estate.backup, _lease(context))
    except DrError as error:
        context.say(f"WARNING: the lease was not given back and ends by itself: {error}")
    for name in state.replaced:
        context.say(f"what {name} held before lies in {aside(context, layout(context))}")
    return state.model_copy(update={"degraded": ()})


RESTORE_CLUSTER: Procedure[RestoreCluster] = Procedure(
    name="restore-cluster",
    summary="Restore the lost cluster onto blank hosts.",
    purpose=(
        "Both database hosts are lost with their disks. Restores both from the newest sound backup, replays all that "
        "the archive holds, promotes one and lets the other follow. Refuses while PostgreSQL runs anywhere, and where "
        "a data directory holds data, which --replace moves aside and never deletes. When the repository's host is "
        "lost too, the off-site copy is fetched first."
    ),
    gate=(
        gates.TWO_NODES,
        Gate("hosts-answer", "Every host that is needed answers SSH.", begin.hosts_answer),
        Gate("nothing-runs", "PostgreSQL runs nowhere, and no directory holds data.", begin.nothing_runs),
    ),
    initial=wanted,
    steps=(
        Step(
            name="assess", role="all hosts", budget="ssh.command", action=begin.assess, observes=True,
            says="Look at hosts and repository, choose the backup, say what may be missing.",
            evidence=Evidence("a sound backup, its key and the room for it are there"),
            still=Evidence("nobody takes writes but what this run has promoted", guards.nobody_but_its_own),
            commands=("sudo -u postgres pgbackrest --stanza=main info   # on the backup host",),
        ),
        Step(
            name="provision", role="blank hosts", budget="provision", action=blank_hosts,
            when=lambda context, state: bool(state.provision), when_says="a host is blank",
            says="Install packages, configuration, certificates and agents; begin nothing.",
            evidence=Evidence("each of them can take data", provisioned),
            commands=(
                "pyinfra -y --data restoring=true --limit pg1 --limit pg2 inventories/production.py deploys/cluster.py",
            ),
        ),
        Step(
            name="fetch-repository", role="backup", budget="restore.fetch", action=begin.fetch, grows=Grows.FETCH,
            when=lambda context, state: state.offsite, when_says="the repository is lost",
            says="Fetch the repository from the off-site copy, and choose the backup in it.",
            evidence=Evidence("the repository holds a sound backup"),
            commands=("cd /opt/mystocks-dr && sudo -u postgres python3 -m agents.offsite.copies restore",),
        ),
        Step(
            name="prepare", role="both database hosts", budget="restore.prepare", action=prepare,
            says="Hold a lease on the repository, note that rows exist once, make the data directories empty.",
            evidence=Evidence("the backup is still there; both directories are empty, or hold an unfinished restore"),
            still=Evidence("in the repository, as long as it is needed", is_held),
            commands=(
                "systemctl restart pgbackrest-server   # on the backup host",
                "mv /var/lib/postgresql/17/main /var/lib/postgresql/17/main.replaced   # where it holds data",
                "install -d -o postgres -g postgres -m 0700 /var/lib/postgresql/17/main",
            ),
        ),
        Step(
            name="restore", role="both database hosts", budget="restore.copy", action=copy, grows=Grows.RESTORE,
            says="Restore the backup into both data directories, at the same time where they do not share a machine.",
            evidence=Evidence("pgBackRest has restored the directory of the future primary", copied),
            commands=(
                "sudo -u postgres pgbackrest --stanza=main --set=LABEL --type=standby restore   # on every standby",
            ),
        ),
        Step(
            name="replay", role="new primary", budget="restore.replay", action=replay, grows=Grows.WAL,
            says="Start the future primary as a standby and let it replay all that the archive holds.",
            evidence=Evidence("it has replayed the newest segment of the archive and found no further one", replayed),
            commands=(
                "systemctl start postgresql@17-main",
                "psql -c 'select pg_last_wal_replay_lsn(), pg_last_xact_replay_timestamp()'",
            ),
        ),
        Step(
            name="promote", role="new primary", budget="promote", action=promote,
            says="Promote it, holding WAL for the other host.",
            evidence=Evidence("it is out of recovery, on a higher timeline"), still=guards.promoted(),
            commands=(
                "rm -f /etc/postgresql/17/main/conf.d/90-synchronous.conf",
                "psql -c 'select pg_promote(true, 60)'",
                "psql -c \"select pg_create_physical_replication_slot('pg2', true)\"",
            ),
        ),
        Step(
            name="write-path", role="app", budget="write.probe", action=written,
            says="Commit a row from the application host over the application's own connection settings.",
            evidence=Evidence("the row was committed by the new primary, on the new timeline"),
            commands=("cd /opt/mystocks-dr && sudo -u mystocks python3 -m agents.writing.write_probe",),
        ),
        Step(
            name="requeue", role="app", budget="restore.requeue", action=requeue,
            says="Queue again what the application host still has of the rows after the last archived WAL.",
            evidence=Evidence("they are in the outbox, or nothing was kept and that was said"),
            commands=(
                "cd /opt/mystocks-dr && sudo -u mystocks python3 -m agents.writing.outbox_cli "
                "--config /etc/mystocks-dr/agent.json requeue --since UNIX_SECONDS",
            ),
        ),
        Step(
            name="standby", role="new standby", budget="restore.copy", action=standby, grows=Grows.RESTORE,
            says="Wait for the other host's files and start it as the standby.",
            evidence=Evidence("it streams from the primary on the new timeline", follows),
            commands=("systemctl start postgresql@17-main",),
        ),
        streaming.SYNCHRONOUS,
        Step(
            name="backup", role="backup", budget="backup", action=back_up, grows=Grows.BACKUP,
            says="Take a backup on the new timeline; a full one when newer backups had to be passed over.",
            evidence=Evidence("pgBackRest finished a backup"),
            commands=("psql -c checkpoint", "sudo -u postgres pgbackrest --stanza=main --type=incr backup"),
        ),
        Step(
            name="deploy", role="all hosts", budget="provision", action=declared,
            says="Bring every host to its declared state: schedules, and whatever has changed since that backup.",
            evidence=Evidence("the deploy ended well"),
            commands=("./dr deploy",),
        ),
        writing.DRAIN,
        validating.GLANCE,
        verifying.verification(),
        Step(
            name="end", role="backup", budget="ssh.command", action=end,
            says="Give the lease back and say where replaced directories lie.",
            evidence=Evidence("both were done or said"),
        ),
    ),
)  # fmt: skip

__all__ = ["RESTORE_CLUSTER", "RestoreCluster", "RestoreClusterOptions", "budget"]
