"""What a procedure confirms in the estate record and says aloud: who is primary, and how often a new row exists."""

from __future__ import annotations

from inventories.errors import DrError, VerificationFailed
from runbooks.engine.lock import LockLost
from runbooks.hosts import Run
from runbooks.procedures.postgresql.roles import R, Roles, asked, primary_of
from runbooks.record import keep


def recorded(
    context: Run, state: Roles, standbys: tuple[str, ...], why: str, quorum: int | None = None
) -> bool:
    """Confirm in the estate record what is so now. It stands without: False, and it was said. Raises LockLost.

    `quorum`: on how many of the standbys each row is, where it is not on each.
    """
    try:
        return keep.settled(context, _truth(context, state, standbys, why, quorum)) is not None
    except LockLost:
        raise
    except DrError as error:
        context.say(f"WARNING: the estate record does not say yet what is so: {error}; ./dr deploy mends that")
        return False


def degraded(context: Run, state: R) -> R:
    """Confirm in the estate record who is primary and that every new row exists once, and say it aloud.

    Where commits wait for a further standby that is recorded already, and nothing is degraded by the loss.
    """
    if not state.beside:
        recorded(context, state, (), one_copy(state))
        state = say_degraded(context, state, one_copy(state))
    if context.estate.backup.reachable():
        return state
    why = f"{context.estate.backup} does not answer: no backup is taken, and WAL waits on {state.primary}"
    return say_degraded(context, state, why)


def one_copy(state: Roles) -> str:
    """The sentence for a primary without a standby."""
    return f"{state.other} is out; what {state.primary} commits exists once until ./dr rejoin {state.other}"


def say_degraded(context: Run, state: R, why: str) -> R:
    context.say(f"DEGRADED: {why}")
    return state.model_copy(update={"degraded": (*state.degraded, why)})


def _truth(
    context: Run, state: Roles, standbys: tuple[str, ...], why: str, quorum: int | None
) -> keep.Truth:
    """What is so once `state.primary` is the primary. Raises VerificationFailed where it cannot be asked."""
    node = asked(context, primary_of(context, state))
    if not node.is_primary or not node.timeline:
        raise VerificationFailed(f"{state.primary} does not answer as a primary ({node.why or 'nobody can say why'})")
    return keep.Truth(node.system, state.primary, node.timeline, standbys, why, quorum)
