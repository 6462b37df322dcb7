"""Let standbys that stream by now confirm commits, with the record made to hold for that first: how a deploy ends.

Where the inventory has become asynchronous, let go of whoever is waited for, with the record told first, too.

pyinfra knows no record. It makes commits wait where they wait for nobody, of which no record says that anybody has
every row; whom they wait for besides is changed here, where it is known who streams at this moment.
"""

from __future__ import annotations

from collections.abc import Collection

from inventories.errors import BadInput
from inventories.quorum import DECLARED_ASYNCHRONOUS, Quorum, parsed, setting
from runbooks.actions.postgresql import server as act
from runbooks.hosts import Estate
from runbooks.layout import Layout
from runbooks.probes.postgresql import server
from runbooks.record.keep import Keeper, Truth
from runbooks.record.read import Pages, pages
from runbooks.record.types import Answer, Unknown


def let_in(keeper: Keeper, only: Collection[str] = ()) -> str:
    """What was changed, in a sentence; empty for nothing. `only`: hosts that the deploy was about, empty for all.

    Nobody is let in where the record cannot be made to hold for it: without arbiter, or where it is not believed.
    """
    estate = keeper.estate
    primaries = [node for node in server.survey(estate) if node.is_primary]
    if len(primaries) != 1 or (only and primaries[0].name not in only):
        return ""
    primary = primaries[0]
    if not estate.least:
        return _let_go(keeper, primary) if primary.synchronous else ""
    wanted = due(estate, primary)
    if wanted is None:
        return ""
    others = wanted.others(primary.name)
    found = pages(estate)
    why = _why_not(found) or _widened(keeper, found.answer, primary.name, wanted)
    if why:
        keeper.say(f"WARNING: whom commits wait for is left as it is, and not {' and '.join(others)}: {why}")
        return ""
    act.synchronous_on(primary.host, Layout(server.version(estate)), wanted.names, estate.least)
    return f"Commits on {primary.name} wait for {wanted.least} of {' and '.join(others)} from now on"


def _let_go(keeper: Keeper, primary: server.Node) -> str:
    """The estate has become asynchronous by declaration: the record says so before the first commit that is alone."""
    found = pages(keeper.estate)
    why = _why_not(found) or _of_nobody(keeper, found.answer, primary)
    if why:
        keeper.say(f"WARNING: commits on {primary.name} go on waiting for a standby: {why}")
        return ""
    act.synchronous_off(primary.host, Layout(server.version(keeper.estate)))
    return f"Commits on {primary.name} wait for nobody from now on: {DECLARED_ASYNCHRONOUS}"


def _of_nobody(keeper: Keeper, answer: Answer, primary: server.Node) -> str:
    """Have the record say that nobody has every row; why it cannot."""
    if isinstance(answer, Unknown):
        return ""
    if not answer.record.steady:
        return f"the estate record says that {answer.record.says}"
    keeper.settled(answer, Truth(primary.system, primary.name, primary.timeline or 0, (), DECLARED_ASYNCHRONOUS))
    return ""


def due(estate: Estate, primary: server.Node) -> Quorum | None:
    """Whom commits that wait for somebody are to wait for instead; None where it is as declared, or nobody can say.

    None, too, in an estate that is asynchronous by declaration: `let_in` itself lets go of whoever is waited for there.
    All that are declared, once all of them stream: nobody could tell what another one has. Where somebody is waited for
    who is none of the estate's any more, whoever streams.
    """
    names = {host.name for host in estate.candidates}
    stream = {standby.name for standby in primary.standbys if standby.streams} & names - {primary.name}
    now = primary.waits_for
    strangers = now is not None and not names.issuperset(now.names)
    if not estate.least or not primary.synchronous or not stream or not (strangers or stream == names - {primary.name}):
        return None
    there = tuple(host.name for host in estate.candidates if host.name in stream or host.name == primary.name)
    wanted = parsed(setting(there, estate.least))
    return wanted if wanted != now else None


def _why_not(found: Pages) -> str:
    """Why the record cannot be made to say less, where it may say something; else empty."""
    if found.arbiter.away:
        return found.arbiter.why
    answer = found.answer
    return answer.why if isinstance(answer, Unknown) and not answer.absent else ""


def _widened(keeper: Keeper, answer: Answer, primary: str, wanted: Quorum) -> str:
    """Have the record hold before and after; why it cannot. One of another primary vouches for nobody here."""
    if isinstance(answer, Unknown) or answer.record.primary != primary:
        return ""
    try:
        keeper.widened(answer, wanted.others(primary), wanted.least)
    except BadInput as error:
        return f"the hosts' programs do not keep quorums yet ({error}); ./dr deploy of all hosts brings those that do"
    return ""
