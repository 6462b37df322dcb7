"""Sqlite-restore: bring a SQLite database of an application host back, whole or one table, to a moment of its own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from inventories.errors import BadInput, DrError, Refused, TargetFailed, TimedOut, VerificationFailed
from runbooks.actions import offsite
from runbooks.actions.sqlite import restore as act
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Gate, Grows, Step
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host, Run
from runbooks.long_work.work import Asker
from runbooks.probes.durations import utc
from runbooks.probes.sqlite import databases as sqlite
from runbooks.probes.sqlite.databases import Built, Status
from runbooks.procedures import checks

PROGRAM = "cd /opt/mystocks-dr && sudo -u mystocks python3 -m agents.sqlite.restore --name trading"
_QUIET_S = 5.0  # for what was committed last to be protected, before its protector is stopped


class SqliteRestoreOptions(Options):
    """At most one of `to` (a moment with its zone), `tx` (a transaction), `backup` (a snapshot's label) and `file`
    (a copy on that host); none of them: the newest transaction. `stream`: beside `tx`, along these changes alone.
    `host`: the application host, "" for the first. `offsite`: what the backup host lost comes back from the off-site
    copy first.
    """

    added_later: ClassVar[frozenset[str]] = frozenset({"offsite", "stream"})
    database: str = "trading"
    host: str = ""
    to: str = ""
    tx: int = 0
    backup: str = ""
    file: str = ""
    table: str = ""
    offsite: bool = False
    stream: str = ""


class SqliteRestore(BaseModel):
    """`words` say the target to the host's program; `writers` are the units that ran when it began."""

    model_config = ConfigDict(frozen=True)

    database: str = ""
    host: str = ""
    words: tuple[str, ...] = ()
    table: str = ""
    offsite: bool = False
    transactions: int = 0  # laid on the snapshot: how long that takes is what ./dr plan reckons with
    writers: tuple[str, ...] = ()
    started: bool = False
    safety: str = ""
    tx: int | None = None
    told: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()

    @property
    def primary(self) -> str:
        """Where the steps happen, for a report."""
        return self.host


def wanted(context: Run) -> SqliteRestore:
    """What the operator said. Raises BadInput."""
    said: SqliteRestoreOptions = context.options
    words = target(said)
    return SqliteRestore(
        database=said.database, host=chosen(context.estate, said.database, said.host).name, table=said.table,
        offsite=said.offsite, words=(*words, *(("--table", said.table) if said.table else ())),
    )  # fmt: skip


def chosen(estate: Estate, database: str, name: str) -> Host:
    """The application host that is meant. Raises BadInput for one, or a database, that is none."""
    there = sqlite.names(estate)
    if database not in there:
        raise BadInput(
            f"inventory {estate.inventory} has no SQLite database {database!r}",
            f"it has {', '.join(there)}" if there else "sqlite_databases names those of an estate; then ./dr deploy",
        )
    apps = {host.name: host for host in estate.group("app")}
    if name and name not in apps:
        raise BadInput(f"{name!r} is no application host", f"they are {', '.join(apps)}")
    return apps[name] if name else next(iter(apps.values()))


def target(said: SqliteRestoreOptions) -> tuple[str, ...]:
    """Raises BadInput for two targets, or one that is none."""
    given = {"--to": said.to, "--tx": said.tx, "--backup": said.backup, "--file": said.file}
    named = [name for name, value in given.items() if value]
    if len(named) > 1:
        raise BadInput(f"{' and '.join(named)} were given", "one target at a time; none of them is the newest")
    if said.tx < 0:
        raise BadInput(f"--tx is {said.tx}", "transactions are counted from 1")
    if said.to:
        return ("--time", moment(said.to).isoformat())
    if said.tx:
        return ("--tx", str(said.tx), *(("--stream", said.stream) if said.stream else ()))
    if said.backup:
        return ("--backup", said.backup)
    return ("--file", said.file) if said.file else ("--latest",)


def moment(text: str) -> datetime:
    """Raises BadInput."""
    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise BadInput(f"--to {text!r} is no time", "write it as 2026-11-28T10:00:00+08:00") from None
    if found.tzinfo is None:
        raise BadInput(f"--to {text!r} has no zone", "add +08:00, or Z for UTC")
    return found


def answers(context: Run) -> None:
    """Raises Refused."""
    host = context.estate.host(wanted(context).host)
    if not host.reachable():
        raise Refused(f"{host} does not answer SSH", "give it power; a blank one takes ./dr deploy --limit first")
    if host.run("test -e /etc/mystocks-dr/sqlite.json", expect=None).rc:
        raise Refused(f"{host} has nothing of SQLite's protection yet", f"./dr deploy --limit {host}, then repeat")


def where(context: Run, state: SqliteRestore) -> Host:
    return context.estate.host(state.host)


def units(state: SqliteRestore) -> tuple[str, ...]:
    """Writers first: they are stopped before, and started after, what protects."""
    return (*state.writers, sqlite.service(state.database))


def fetch(context: Run, state: SqliteRestore) -> SqliteRestore:
    """Raises BadInput where the estate has no off-site copy."""
    if not context.estate.groups.get("offsite"):
        raise BadInput(f"estate {context.estate.name} has no off-site host", "leave --offsite out")
    shelf = f"{state.host}-{state.database}"
    copy = offsite.restore_sqlite(context.estate.backup, shelf, Asker.of(context))
    return tell(context, state, f"what the copy of {utc(copy.made_at)} has of it and the backup host had not is back")


def fetched(context: Run, state: SqliteRestore) -> None:
    """Raises VerificationFailed."""
    if not sqlite.listed(where(context, state), state.database).snapshots:
        raise VerificationFailed(f"no snapshot of {state.database} is kept, there or off-site")


def assess(context: Run, state: SqliteRestore) -> SqliteRestore:
    """What it is now, who writes to it, and how far back it can be brought."""
    host = where(context, state)
    now, kept = sqlite.status(host, state.database), sqlite.listed(host, state.database)
    running = sqlite.running(host, sqlite.writers(context.estate, state.database))
    oldest = kept.snapshots[-1].to if kept.snapshots else "nowhere"
    state = state.model_copy(update={"writers": running})
    return tell(
        context, state, described(now),
        f"{len(kept.snapshots)} snapshots from {oldest} on, changes until {kept.changes_until or 'never'}",
        *kept.warnings,
    )  # fmt: skip


def described(found: Status) -> str:
    """One line of what it is now."""
    if not found.there:
        return f"{found.name}: there is no {found.path}"
    if not found.whole:
        return f"{found.name} is not whole: {found.why}"
    return f"{found.name} is whole, {_rows(found.rows)}{'' if found.protected else f'; NOT protected: {found.why}'}"


def _rows(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {table}" for table, count in rows.items()) or "no table"


def as_assessed(context: Run, state: SqliteRestore) -> None:
    """Asked when a run is resumed. Raises Refused."""
    answers(context)


def build(context: Run, state: SqliteRestore) -> SqliteRestore:
    """A restore beside, which is removed again: whatever stands in its way is known before anybody is stopped."""
    found = sqlite.built(act.build(where(context, state), state.database, state.words, Asker.of(context)))
    more = [_brings(found), *found.warnings]
    if not context.options.yes:
        more.append("nothing was changed: repeat with --yes")
    return tell(context, state.model_copy(update={"transactions": found.changes}), *more)


def _brings(found: Built) -> str:
    of = f" of {found.to}" if found.to else ""
    tx = f", transaction {found.tx:,}{of}" if found.tx is not None else of
    return f"from {found.source}{tx}: {_rows(found.rows)}; built and checked in {found.seconds:.1f} s"


def whole(context: Run, state: SqliteRestore) -> bool:
    return not state.table


def stop(context: Run, state: SqliteRestore) -> SqliteRestore:
    """Writers, then what protects the database, once it has sent what they committed last."""
    host = where(context, state)
    act.stop(host, state.writers, context.remaining())
    last = _quiet(host, state.database, context)
    act.stop(host, (sqlite.service(state.database),), context.remaining())
    if last.protected or not (last.there and last.whole):
        return state
    return warn(
        context, state,
        f"what was committed last may not be on the backup host ({last.why}); the copy in pre_restore has it",
    )  # fmt: skip


def _quiet(host: Host, name: str, context: Run) -> Status:
    """What it is when all is sent, or after a while."""
    try:
        return until(
            lambda: sqlite.status(host, name), min(_QUIET_S, context.remaining()), what="the last commit to be sent",
            accept=lambda found: found.protected or not (found.there and found.whole), every=0.5, clock=context.clock,
        )  # fmt: skip
    except TimedOut:
        return sqlite.status(host, name)


def nobody_has_it(context: Run, state: SqliteRestore) -> None:
    """Raises VerificationFailed naming who has."""
    who = sqlite.users(where(context, state), state.database)
    if who:
        raise VerificationFailed(
            f"{state.database} is in use: {', '.join(who)}",
            "stop that, or name its unit in sqlite_writers of the inventory, so that this runbook does",
        )


def still_alone(context: Run, state: SqliteRestore) -> None:
    """Asked when a run is resumed. Raises VerificationFailed where somebody has begun to use it meanwhile."""
    if not state.started:
        nobody_has_it(context, state)


def go_on(context: Run, state: SqliteRestore) -> None:
    """What this run stopped runs again, with the database that is there."""
    act.start(where(context, state), units(state)[::-1], context.remaining())


def restore(context: Run, state: SqliteRestore) -> SqliteRestore:
    """The host's program rolls itself back; what it refuses here is a failure, so that who was stopped goes on."""
    try:
        done = sqlite.built(act.restore(where(context, state), state.database, state.words, Asker.of(context)))
    except (BadInput, Refused) as error:
        raise TargetFailed(str(error), error.hint) from error
    state = state.model_copy(update={"safety": done.safety, "tx": done.tx})
    kept = f"the old one is kept in {done.safety}" if done.safety else "there was no old one"
    if state.table:
        what = f"{state.table}: {done.restored:,} rows in the place of {done.before:,}; {kept}"
    else:
        which = f"transaction {done.tx:,}" if done.tx is not None else done.source
        what = f"{state.database} is that of {which}: {_rows(done.rows)}; {kept}"
    return tell(context, state, what)


def is_whole(context: Run, state: SqliteRestore) -> None:
    """Raises VerificationFailed."""
    found = sqlite.status(where(context, state), state.database)
    if not (found.there and found.whole):
        raise VerificationFailed(f"{state.database} is not whole after its restore: {found.why}")


def start(context: Run, state: SqliteRestore) -> SqliteRestore:
    go_on(context, state)
    return state.model_copy(update={"started": True})


def they_run(context: Run, state: SqliteRestore) -> None:
    wanted_units = units(state)
    dead = sorted({*wanted_units} - {*sqlite.running(where(context, state), wanted_units)})
    if dead:
        raise VerificationFailed(f"{', '.join(dead)} does not run", f"journalctl -u {dead[0]} on {state.host}")


def protected(context: Run, state: SqliteRestore) -> None:
    """Raises TimedOut."""
    until(
        lambda: sqlite.status(where(context, state), state.database), context.remaining(), retry=(DrError,),
        what=f"a snapshot of {state.database}, and all of it protected", accept=lambda found: found.protected,
        every=0.5, clock=context.clock,
    )  # fmt: skip


def specified(context: Run, state: SqliteRestore) -> None:
    checks.passed(context, ("test_sqlite.py",), "verify-sqlite.xml")


def tell(context: Run, state: SqliteRestore, *sentences: str) -> SqliteRestore:
    for sentence in sentences:
        context.say(sentence)
    return state.model_copy(update={"told": (*state.told, *sentences)})


def warn(context: Run, state: SqliteRestore, sentence: str) -> SqliteRestore:
    context.say(f"DEGRADED: {sentence}")
    return state.model_copy(update={"degraded": (*state.degraded, sentence)})


_WHOLE = "the whole database is restored"
_KEPT = Evidence("a snapshot of it is kept", fetched)

SQLITE_RESTORE: Procedure[SqliteRestore] = Procedure(
    name="sqlite-restore",
    summary="Restore a SQLite database, or a table of it, to any transaction.",
    purpose=(
        "The trading database was lost with its host, is damaged, or somebody wrote what is wrong. Builds the wanted "
        "state beside from an hourly snapshot and every transaction since (or from a file on that host), checks it, "
        "and tells what it holds; with --yes it stops the writers that the inventory names, keeps the old file in "
        "pre_restore, and one rename puts the new one in its place. Whatever fails, the old one is back and the "
        "writers run. Refuses while anybody else has the file open, naming them. One table (--table) comes back in one "
        "transaction, while others go on writing. Ends when the new database is protected again. Where the backup host "
        "was lost too, --offsite first brings back what the off-site copy has and the backup host has not."
    ),
    gate=(Gate("application", "The application host answers and has SQLite's programs and key.", answers),),
    initial=wanted,
    steps=(
        Step(
            name="fetch", role="backup", budget="restore.fetch", action=fetch, observes=True, grows=Grows.FETCH,
            when=lambda context, state: state.offsite, when_says="the backup host lost what it kept (--offsite)",
            says="Fetch what the off-site copy has of the database, beside what is there.",
            evidence=_KEPT, still=_KEPT,
            commands=(
                "cd /opt/mystocks-dr && sudo -u postgres python3 -m agents.offsite.copies restore "
                "--only /var/lib/mystocks-dr/sqlite/app1-trading",
            ),
        ),
        Step(
            name="assess", role="app", budget="restore.cover", action=assess, observes=True,
            says="Look whether the database is whole and protected, who writes to it, and what is kept.",
            evidence=Evidence("the host and the backup host's receiver answered"),
            still=Evidence("an application host that answers", as_assessed),
            commands=(f"{PROGRAM} --status", f"{PROGRAM} --list"),
        ),
        Step(
            name="build", role="app", budget="restore.compare", action=build, observes=True, grows=Grows.ROWS,
            says="Restore it into a file beside, check every page, reference and count, and remove it again.",
            evidence=Evidence("a whole database of the wanted moment came out"),
            commands=(f"{PROGRAM} --latest --plan", f"{PROGRAM} --time 2026-11-28T10:00:00+08:00 --plan"),
        ),
        Step(
            name="stop", role="app", budget="sqlite.stop", action=stop, destructive=True, option="yes", when=whole,
            when_says=_WHOLE, undo=go_on, undo_says="start what was stopped again, on the old database",
            says="Stop the writers, wait until their last commit is protected, stop what protects it.",
            evidence=Evidence("nobody has the file open", nobody_has_it),
            still=Evidence("nobody has the file open, unless it was started again", still_alone),
            commands=("systemctl stop WRITERS mystocks-sqlite@trading",),
        ),
        Step(
            name="restore", role="app", budget="restore.write", action=restore, destructive=True, option="yes",
            grows=Grows.ROWS, undo=go_on, undo_says="start what was stopped again, on whichever database is there",
            says="Build it, keep the old one in pre_restore, and put the new one in its place by one rename.",
            evidence=Evidence("the database in its place is whole", is_whole),
            commands=(f"{PROGRAM} --latest",),
        ),
        Step(
            name="start", role="app", budget="sqlite.stop", action=start, option="yes",
            says="Start what protects the database, then the writers that ran before.",
            evidence=Evidence("each of them runs", they_run),
            commands=("systemctl start mystocks-sqlite@trading WRITERS",),
        ),
        Step(
            name="protect", role="app", budget="sqlite.protect", action=lambda context, state: state, option="yes",
            says="Wait for a snapshot of the database as it is now, and for all that was committed since.",
            evidence=Evidence("all that is committed is on the backup host, on a snapshot", protected),
            commands=(f"{PROGRAM} --status",),
        ),
        Step(
            name="verify", role="app and backup", budget="verify", action=lambda context, state: state, option="yes",
            says="Check application and backup host against SQLite's specification, in a fresh process.",
            evidence=Evidence("every testinfra check of SQLite passed", specified),
            commands=("./dr verify",),
        ),
    ),
)  # fmt: skip
