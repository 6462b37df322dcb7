"""Promote a standby; where that fails, say the server's own words, remove what is in the way, and repeat it once.

Nobody else takes writes meanwhile: whoever calls this has fenced or stopped the old primary, and a promotion that comes
late is the one that was asked for.
"""

from __future__ import annotations

from inventories.catalog.load import load_recovery
from inventories.errors import DrError, TargetFailed, TimedOut, VerificationFailed
from runbooks.actions.postgresql import promotion as way
from runbooks.actions.postgresql import server as act
from runbooks.engine.budgets import budget
from runbooks.engine.wait import until
from runbooks.hosts import Host, Run
from runbooks.layout import Layout
from runbooks.probes.postgresql import promotion, server
from runbooks.procedures.postgresql.roles import R, layout, other_of, primary_of

RESTART = "the server is started again"
WAIT = "replay goes on"
MOVES_S = 3.0  # within this replay that is not held up gets on, or is at its end


def promoted(context: Run, state: R, way_out: str) -> R:
    """Promote `state.primary`, holding WAL for the other host from the first record of the new timeline on.

    `way_out`: the command that leads on when it fails twice. Raises VerificationFailed unless it takes writes on a
    higher timeline afterwards.
    """
    new = primary_of(context, state)
    returning = other_of(context, state)
    further = tuple(host.name for host in context.estate.postgres if host.name not in (new.name, returning.name))
    promote(context, layout(context), new, returning, way_out, further)
    node = server.ask(new, layout(context).version, min(budget("promote.look"), context.remaining()))
    if node.is_unknown:
        raise VerificationFailed(f"{new.name} was told to be primary, and nobody can tell whether it is: {node.why}")
    if not node.is_primary or (node.timeline or 0) <= state.old_timeline:
        raise VerificationFailed(f"{new.name} is not a primary on a timeline above {state.old_timeline}")
    return state.model_copy(update={"timeline": node.timeline})


def promote(
    context: Run, paths: Layout, new: Host, returning: Host, way_out: str, further: tuple[str, ...] = ()
) -> None:
    """Raises TargetFailed, with `way_out` as its hint, when the second attempt fails as well.

    WAL is held for `returning`, and for `further` hosts.
    """
    try:
        _attempt(context, paths, new, returning, min(budget("promote.wait"), context.remaining()), further)
        return
    except (TargetFailed, TimedOut) as error:
        _tell(context, paths, new, f"the promotion of {new.name} failed: {error}", "promotion-failed")
    try:
        if _clear_the_way(context, paths, new) == RESTART:
            context.say(f"{new.name} is started again as a standby, to be promoted once more")
            context.note("brought-up", host=new.name)
            way.bring_up(new, paths)
            _until_it_answers(context, paths, new)
        context.note("promotion-repeated", host=new.name)
        _attempt(context, paths, new, returning, max(1.0, context.remaining() - budget("promote.look")), further)
    except (TargetFailed, TimedOut) as error:
        _tell(context, paths, new, f"the second promotion of {new.name} failed: {error}", "promotion-failed-again")
        raise TargetFailed(f"{new.name} could not be promoted, twice: {error}", way_out) from error
    context.say(f"{new.name} was promoted at the second attempt")


def _attempt(
    context: Run, paths: Layout, new: Host, returning: Host, timeout: float, further: tuple[str, ...]
) -> None:
    for line in way.let_it_write(new, paths):
        _removed(context, new, f"{line} is out of its files: promoted with it, it would take no writes")
    act.promote(new, returning, timeout, further)


def _tell(context: Run, paths: Layout, new: Host, what: str, event: str) -> None:
    """What happened, and the server's own words for it."""
    try:
        said = promotion.words(new, paths.version)
    except DrError as error:
        said = (f"(its log cannot be read: {error})",)
    context.note(event, host=new.name, error=what, words=list(said))
    context.say(what)
    for line in said:
        context.say(f"  {new.name}: {line}")


def _clear_the_way(context: Run, paths: Layout, new: Host) -> str:
    """Remove what can be removed; whether the server must start again for it, or replay goes on by itself."""
    node = server.look(new, paths.version)
    if node.is_primary:
        return WAIT  # it came late
    seen = promotion.configured(new, paths)
    if not node.online:
        context.say(f"{new.name} is down: {seen}")
    wrong = seen.in_the_way
    for name, value in wrong.items():
        _removed(context, new, f"{name} is {value} now, it was {seen.settings[name]}")
        way.settle(new, paths, name, value)
    if "summarize_wal" in wrong:
        way.drop_summaries(new, paths)
    outlook = _outlook(context, paths, new) if node.online else None
    for one in outlook.hindrances if outlook else ():
        context.say(f"in the way: {one.measured}; HINT: {one.hint}")
    # All but the delay is read at a start only, or by a process that waits and reads nothing any more.
    if not node.online or set(wrong) - {"recovery_min_apply_delay"} or (outlook and outlook.has("sizes")):
        return RESTART
    if wrong:
        way.reload(new)
    if node.replay_paused:
        _removed(context, new, "replay was paused and goes on")
        way.resume_replay(new)
    return WAIT if _moves(paths, new, node) else RESTART


def _removed(context: Run, new: Host, what: str) -> None:
    context.note("removed", host=new.name, what_was=what)
    context.say(f"removed on {new.name}: {what}")


def _outlook(context: Run, paths: Layout, new: Host) -> promotion.Outlook | None:
    limit, database = load_recovery().limits.max_promotion_delay_s, str(context.estate.data["database"])
    try:
        return promotion.look(new, paths.version, database, limit, budget("promote.look"))
    except DrError as error:
        context.say(f"nobody can tell what is in the way on {new.name}: {error}")
        return None


def _moves(paths: Layout, new: Host, before: server.Node) -> bool:
    """Whether the server is promoted by now, or has replayed something since."""
    try:
        until(
            lambda: server.look(new, paths.version),
            MOVES_S,
            what=f"{new.name} to go on",
            accept=lambda node: node.is_primary or (node.replayed or 0) > (before.replayed or 0),
        )
    except TimedOut:
        return False
    return True


def _until_it_answers(context: Run, paths: Layout, new: Host) -> None:
    until(
        lambda: server.look(new, paths.version),
        context.remaining(),
        what=f"{new.name} to answer as a standby",
        accept=lambda node: node.online,
    )
