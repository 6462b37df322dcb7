"""Which node of a cluster that is down was last, and so has every acknowledged row: a judgement, no host asked.

What counts, in this order:

1. A primary writes a commit to its own disk before anybody hears of it. So the node that was primary on the newest
   timeline has every acknowledged row, whatever the replication mode was, and no standby can have more than it.
2. Where that node is away, fenced or not readable, a standby has every acknowledged row if commits waited for it (the
   estate record says so), or if its WAL holds all that every other node has.
3. Files that contradict this were not left by a crash: a primary with less than its standby or than the archive is an
   older copy. Nothing of that kind is started unasked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from inventories.errors import Refused
from runbooks.probes.postgresql.server import as_lsn
from runbooks.probes.postgresql.stopped import Stopped

OVERRIDE = "--accept-loss"


class How(StrEnum):
    """What makes the chosen node the primary: it was; it had stepped down; or it is promoted."""

    START = "start"
    AGAIN = "again"
    PROMOTE = "promote"


@dataclass(frozen=True)
class Archive:
    """What the repository knows: the cluster's identity, its newest timeline, its newest segment."""

    system: str
    timeline: int
    segment: str


@dataclass(frozen=True)
class Noted:
    """What the estate record says: which standbys had every acknowledged row, on which timeline, since when and why."""

    standbys: tuple[str, ...]
    timeline: int
    since: str
    why: str
    quorum: int | None = None  # each row was on so many of them; None: on each

    def covers(self, node: Stopped, unseen: Collection[str] = ()) -> bool:
        """Whether this standby had every acknowledged row. A record of another timeline counts for nothing.

        `unseen`: nodes that may have more than it. Of several standbys too many of those leave rows unknown.
        """
        away = [name for name in self.standbys if name in unseen and name != node.name]
        least = self.quorum or len(self.standbys)
        return node.name in self.standbys and node.timeline == self.timeline and len(away) < least


@dataclass(frozen=True)
class Choice:
    """Who is started and how. `standbys` follow as they are; `left` need ./dr rejoin; `fence` may not come back.

    `unproven` is why acknowledged rows may be missing; empty when none can be.
    """

    node: Stopped
    how: How
    why: str
    standbys: tuple[Stopped, ...] = ()
    left: tuple[Stopped, ...] = ()
    fence: tuple[Stopped, ...] = ()
    unproven: str = ""


@dataclass(frozen=True)
class Word:
    """What the operator said: start although rows may be missing, and which of those that cannot be told apart."""

    accept_loss: bool = False
    host: str = ""


def choose(nodes: Sequence[Stopped], noted: Noted | None, archive: Archive | None, word: Word) -> Choice:
    """Raises Refused where nobody can say who was last; `accept_loss` then takes the one with the newest WAL."""
    choice = _chosen(nodes, noted, archive, word)
    if word.host and choice.node.name != word.host:
        raise Refused(
            f"{choice.node.name} is the one to start, not {word.host}: {choice.why} ({_named(nodes)})",
            "./dr start-cluster without --host starts it; --host is for those that cannot be told apart",
        )
    return choice


def _chosen(nodes: Sequence[Stopped], noted: Noted | None, archive: Archive | None, word: Word) -> Choice:
    named = _named(nodes)
    known = [node for node in nodes if node.readable and not _is_empty(node, nodes, archive)]
    if not known:
        raise Refused(
            f"no host holds a cluster that could be started ({named})",
            "bring a host back with its disk; where all of them are lost: ./dr restore-cluster",
        )
    known = _of_this_cluster(known, archive, word)
    newest = max(node.newest for node in known)
    if archive and archive.timeline > newest:
        raise Refused(
            f"the repository holds timeline {archive.timeline}, and no host that answers knows more than {newest}: "
            f"another one was primary since ({named})",
            f"bring back the host that was primary on timeline {archive.timeline}; "
            "where it is lost: ./dr restore-cluster --replace, which deletes nothing",
        )
    away = [node for node in nodes if node not in known]
    choice = _primary(known, newest, archive, word) or _stepped_down(known) or _promoted(known, word)
    unproven = _unproven(choice, known, away, noted, archive)
    if unproven and not word.accept_loss:
        raise Refused(f"{choice.node.name} may lack acknowledged rows: {unproven} ({named})", _bring_back(choice, away))
    return _with_others(choice, known, away, unproven)


def holds(one: Stopped, other: Stopped) -> bool:
    """Whether every record of `other` is in `one`, by positions and by the bytes of the WAL. What is unknown is no."""
    if one.timeline == other.timeline:
        if one.end < other.end:
            return False
        mine, its = one.digests.get(other.mark), other.digests.get(other.mark)
        # A standby writes nothing of its own, so where the segment is gone from the longer WAL it is only behind.
        return mine == its if mine and its else not other.was_primary
    left_at = one.forks.get(other.timeline)
    return one.timeline > other.timeline and left_at is not None and other.end < left_at


def _named(nodes: Sequence[Stopped]) -> str:
    return "; ".join(node.says for node in nodes)


def _is_empty(node: Stopped, nodes: Sequence[Stopped], archive: Archive | None) -> bool:
    """A deploy made it and nobody wrote to it, by its control file, and the others are of another cluster."""
    others = {other.system for other in nodes if other.readable and not other.blank}
    known = {archive.system} if archive and archive.system else others
    return node.blank and node.system not in known


def _of_this_cluster(nodes: list[Stopped], archive: Archive | None, word: Word) -> list[Stopped]:
    """Raises Refused for a node of another system identifier, unless it is left out on the operator's word."""
    systems = sorted({node.system for node in nodes})
    ours = archive.system if archive and archive.system else systems[0] if len(systems) == 1 else ""
    strange = [node for node in nodes if node.system != ours]
    if not strange:
        return nodes
    told = ", ".join(f"{node.name} has {node.system}" for node in strange)
    mine = [node for node in nodes if node not in strange]
    if not mine:
        raise Refused(
            f"no host holds this estate's cluster, whose system identifier is {ours or 'unknown'}: {told}",
            "put the right data directories back; where they are lost: ./dr restore-cluster --replace",
        )
    if not word.accept_loss:
        raise Refused(
            f"another cluster lies where this estate's should be, whose system identifier is {ours}: {told}",
            f"put the right data directory back, or ./dr start-cluster --yes {OVERRIDE} leaves that host out",
        )
    return mine


def _primary(nodes: list[Stopped], newest: int, archive: Archive | None, word: Word) -> Choice | None:
    """The one that was primary on the newest timeline; None when none of these was, or when that one is fenced."""
    were = [node for node in nodes if node.was_primary and not node.fenced and node.timeline == newest]
    if not were:
        return None
    last = [node for node in were if all(holds(node, other) and not _same(node, other) for other in _but(were, node))]
    if len(last) != 1:
        last = _by_word(were, f"each was primary on timeline {newest} by its files", nodes, word)
    primary = last[0]
    why = f"it was primary on timeline {newest}, up to {as_lsn(primary.end)}"
    beside = [node for node in _but(nodes, primary) if node.timeline == newest and not node.was_primary]
    ahead = [node for node in beside if not holds(primary, node)]
    more = _more_than(primary, ahead, archive)
    if not more:
        return Choice(primary, How.START, why)
    if not word.accept_loss:
        raise Refused(
            f"the data directory of {primary.name} is an older copy: it was primary on timeline {newest} and its WAL "
            f"ends at {as_lsn(primary.end)}, but {more} ({_named(nodes)})",
            f"put the right data directory back on {primary.name}; "
            f"./dr start-cluster --yes {OVERRIDE} goes on with the newest WAL that there is",
        )
    return None if ahead else Choice(primary, How.START, why)


def _more_than(primary: Stopped, ahead: list[Stopped], archive: Archive | None) -> str:
    """Who has WAL of its timeline that it lacks, in words; a primary that crashed has more than anybody."""
    for node in ahead:
        if node.end > primary.end:
            return f"{node.name}, its standby, has WAL to {as_lsn(node.end)}"
        return f"the WAL of {node.name}, its standby, is another one"
    if archive and archive.segment and int(archive.segment[:8], 16) == primary.timeline:
        a_log = (1 << 32) // primary.segment_bytes
        number = int(archive.segment[8:16], 16) * a_log + int(archive.segment[16:24], 16)
        if number > primary.end // primary.segment_bytes:
            return f"the archive holds {archive.segment}"
    return ""


def _by_word(rivals: list[Stopped], why: str, nodes: Sequence[Stopped], word: Word) -> list[Stopped]:
    """The one that the operator names. Raises Refused naming all of them, since nothing tells them apart."""
    said = [node for node in rivals if node.name == word.host]
    if said and word.accept_loss:
        return said
    names = " and ".join(node.name for node in rivals)
    raise Refused(
        f"{names} cannot be told apart: {why}, and none is known to hold all that the others have ({_named(nodes)})",
        f"./dr start-cluster --host HOST --yes {OVERRIDE} starts the one that you name; "
        "afterwards ./dr rejoin OTHER --reclone --yes makes the other its standby",
    )


def _stepped_down(nodes: list[Stopped]) -> Choice | None:
    """Half a switchover: the old primary ended cleanly, the standby was not promoted, and nobody has more."""
    for node in nodes:
        if node.stepped_down and not node.fenced and all(holds(node, other) for other in _but(nodes, node)):
            why = f"it was primary and ended cleanly at {as_lsn(node.end)}; nobody succeeded it"
            return Choice(node, How.AGAIN, why)
    return None


def _promoted(nodes: list[Stopped], word: Word) -> Choice:
    """The standby with the newest WAL."""
    able = [
        node for node in nodes
        if not node.fenced and (node.standby_signal or node.half_promoted) and node.host.entry.synchronous
    ]  # fmt: skip
    if not able:
        raise Refused(
            f"nobody may be started: what is not fenced is no standby either ({_named(nodes)})",
            "bring back the host that was promoted; where it is lost: ./dr restore-cluster --replace, "
            "which deletes nothing",
        )
    best = max(able, key=lambda node: (node.timeline, node.end))
    rivals = [node for node in _but(able, best) if not holds(best, node)]
    if rivals:
        best = _by_word([best, *rivals], "each is a standby with WAL of its own", nodes, word)[0]
    return Choice(best, How.PROMOTE, f"it received WAL to {as_lsn(best.end)} on timeline {best.timeline}")


def _unproven(
    choice: Choice, known: list[Stopped], away: Sequence[Stopped], noted: Noted | None, archive: Archive | None
) -> str:
    """Why acknowledged rows may exist elsewhere only; empty when they cannot."""
    if choice.how is not How.PROMOTE:
        return _of_the_absent(choice.node, away, noted, archive)
    lacking = [node for node in _but(known, choice.node) if not holds(choice.node, node)]
    if not lacking and not away:
        return ""  # all that exists anywhere is in it
    names = " and ".join(node.name for node in (*lacking, *away))
    if noted and len(noted.standbys) > 1 and noted.covers(choice.node, {node.name for node in (*lacking, *away)}):
        return ""
    if len([*lacking, *away]) > 1:
        return f"{names} may each have been the one that commits waited for"
    if noted is None:
        return f"the estate record does not say whether commits waited for {choice.node.name}"
    if not noted.covers(choice.node):
        return f"commits have not waited for {choice.node.name} since {noted.since}: {noted.why}"
    return ""


def _of_the_absent(node: Stopped, away: Sequence[Stopped], noted: Noted | None, archive: Archive | None) -> str:
    """A host that cannot be looked at may have been promoted; both the repository and the record would know."""
    if not away:
        return ""
    names = " and ".join(node.name for node in away)
    if archive is None or noted is None:
        return f"what {names} held cannot be looked at, and the backup host does not say whether it was promoted"
    if not noted.standbys or noted.timeline != node.timeline:
        return f"what {names} held cannot be looked at, and may have been primary since {noted.since}: {noted.why}"
    return ""


def _bring_back(choice: Choice, away: Sequence[Stopped]) -> str:
    silent = [node.name for node in away if not node.ssh]
    back = f"bring {' and '.join(silent)} back if you can; " if silent else ""
    starts = "promotes" if choice.how is How.PROMOTE else "starts"
    return f"{back}./dr start-cluster --yes {OVERRIDE} {starts} {choice.node.name} all the same"


def _with_others(choice: Choice, known: list[Stopped], away: Sequence[Stopped], unproven: str) -> Choice:
    """What becomes of the others: a standby follows as it is, everything else waits for a rejoin."""
    others = _but(known, choice.node)
    follow = [node for node in others if node.standby_signal and not node.fenced and holds(choice.node, node)]
    left = [node for node in (*others, *away) if node not in follow]
    # Before a promotion nobody else may come back as primary; a host that is away and under suspicion neither.
    fence = [node for node in left if choice.how is How.PROMOTE or (unproven and not node.ssh)]
    return Choice(choice.node, choice.how, choice.why, tuple(follow), tuple(left), tuple(fence), unproven)


def _but(nodes: Sequence[Stopped], one: Stopped) -> list[Stopped]:
    return [node for node in nodes if node is not one]


def _same(one: Stopped, other: Stopped) -> bool:
    return (one.timeline, one.end) == (other.timeline, other.end)


__all__ = ["Archive", "Choice", "How", "Noted", "Word", "choose", "holds"]
