"""Bring the record in line with hosts that can be looked at: what deploy does in the end, and `./dr record.settle`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from inventories.errors import DrError, Refused, TimedOut, Unreachable
from inventories.quorum import DECLARED_ASYNCHRONOUS
from runbooks.engine.budgets import budget
from runbooks.engine.wait import until
from runbooks.hosts import Estate
from runbooks.probes.postgresql import server
from runbooks.record.keep import Keeper, Truth
from runbooks.record.read import of_system, pages, require_newest
from runbooks.record.types import Answer, Copy, Unknown

OLD_NOTE = "/var/lib/mystocks-dr/replication-mode.json"  # of versions without a record: no timeline, no protocol


class Settled(StrEnum):
    """What became of the record."""

    KEPT = "kept"  # it says what is so
    WRITTEN = "written"
    LEFT = "left"  # nobody can say what is so


@dataclass(frozen=True)
class Settlement:
    what: Settled
    says: str


def settle(keeper: Keeper, *, anew: bool = False) -> Settlement:
    """Write what the hosts are where the record says something else; nothing is written without one primary.

    `anew`: the operator's word to put a record aside that cannot be believed. Raises Refused for a primary that the
    record knows to be succeeded, which `./dr rejoin` stops.
    """
    estate = keeper.estate
    found = pages(estate)
    answer = found.answer
    nodes = server.survey(estate)
    primaries = [node for node in nodes if node.is_primary]
    if len(primaries) != 1:
        return Settlement(Settled.LEFT, f"the record is left as it is: {server.told(nodes)}")
    if found.arbiter.away:
        return Settlement(Settled.LEFT, f"the record is left as it is: {found.arbiter.why}")
    if not anew:
        _require_fitting(answer, primaries[0])
    truth = _truth(estate, primaries[0], answer)
    everywhere = [page.record for page in found.copies if not page.away]
    if not isinstance(answer, Unknown) and _says(answer, truth) and all(held == answer.record for held in everywhere):
        _forget_old_note(estate)
        return Settlement(Settled.KEPT, f"the record says it: {answer.record.says}")
    if isinstance(answer, Unknown):
        seen = [page.record.revision for page in (found.arbiter, *found.copies) if page.record]
        answer = replace(answer, newest=max(seen, default=0))
    written = keeper.settled(answer, truth, anew=anew)
    _forget_old_note(estate)
    return Settlement(Settled.WRITTEN, f"recorded: {written.says}")


def require_fitting(estate: Estate) -> None:
    """Before anything is touched: refuse what `settle` would refuse when all is done.

    Raises Refused for a record that cannot be believed, is another estate's, or knows a newer primary.
    """
    found = pages(estate)
    primaries = [node for node in server.survey(estate) if node.is_primary]
    if len(primaries) == 1 and not found.arbiter.away:
        _require_fitting(found.answer, primaries[0])


def _require_fitting(answer: Answer, primary: server.Node) -> None:
    answer = of_system(answer, primary.system)
    if isinstance(answer, Unknown) and not answer.absent:
        raise Refused(answer.why, answer.hint)
    require_newest(answer, primary.name, primary.timeline or 0)


def _truth(estate: Estate, primary: server.Node, answer: Answer) -> Truth:
    """Standbys count that a commit waits for now, and that have all that was committed without them before.

    Where commits hang because nobody answers them, those still count that the record names: nothing was acknowledged
    without them.
    """
    alone = primary.written or 0
    try:
        seen = until(
            lambda: server.look(primary.host, server.version(estate)),
            budget("record.ask"),
            what="a synchronous standby that has everything",
            accept=lambda node: not node.synchronous or bool(have_everything(node, alone).names),
        )
    except TimedOut:
        seen = primary
    have = have_everything(seen, alone)
    if not have.names and seen.synchronous:
        have = _waited_for(answer, primary)
    streams = "streams" if len(have.names) == 1 else "stream"
    why = f"{' and '.join(have.names)} {streams} from {primary.name}" if have.names else "no commit waits for a standby"
    if not have.names and not seen.synchronous and not estate.least:
        why = DECLARED_ASYNCHRONOUS
    return Truth(primary.system, primary.name, primary.timeline or 0, have.names, why, have.quorum)


@dataclass(frozen=True)
class Holders:
    """Standbys that have every acknowledged row, as the record names them: each, or `quorum` of them each row."""

    names: tuple[str, ...] = ()
    quorum: int | None = None


def _waited_for(answer: Answer, primary: server.Node) -> Holders:
    if isinstance(answer, Unknown) or not answer.record.steady:
        return Holders()
    same = (answer.record.primary, answer.record.timeline) == (primary.name, primary.timeline)
    return Holders(answer.record.synchronous, answer.record.quorum) if same else Holders()


def have_everything(node: server.Node, alone: int) -> Holders:
    """Of one standby: that it is waited for and has all that its primary wrote up to `alone`.

    Of several everybody counts whom commits may wait for, streaming now or not, once so many have that as each commit
    waits for: what is acknowledged from then on is on as many of them.
    """
    ready, waits = in_step(node, alone), node.waits_for
    others = waits.others(node.name) if waits else ()
    if waits is None or len(others) <= 1:
        return Holders(ready)
    if len(ready) < waits.least:
        return Holders()
    return Holders(others, waits.least if waits.least < len(others) else None)


def in_step(node: server.Node, alone: int) -> tuple[str, ...]:
    """Standbys without which this primary commits nothing, and which have all that it wrote up to `alone`."""
    if not node.synchronous:
        return ()
    return tuple(sorted(
        one.name for one in node.standbys
        if one.streams and one.sync in ("sync", "quorum") and (one.flushed or 0) >= alone
    ))  # fmt: skip


def _says(answer: Answer, truth: Truth) -> bool:
    """Whether the arbiter's own record is just this."""
    if isinstance(answer, Unknown | Copy) or answer.carry:
        return False
    record = answer.record
    said = (record.system_identifier, record.primary, record.timeline, record.synchronous, record.quorum)
    return record.steady and said == (
        truth.system, truth.primary, truth.timeline, truth.synchronous, truth.quorum,
    )  # fmt: skip


def _forget_old_note(estate: Estate) -> None:
    """It was read by nobody but older versions of this tool, and would be believed by them."""
    try:
        if estate.backup.reachable():
            estate.backup.run("rm -f %s", OLD_NOTE)
    except (Unreachable, DrError):
        return



