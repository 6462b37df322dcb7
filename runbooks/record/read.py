"""Find the record: the arbiter's, the newest copy where the arbiter is away, or the reason why nobody knows."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from inventories.errors import Refused
from runbooks.hosts import Estate
from runbooks.record.arbiter import FileOn
from runbooks.record.types import SETTLE, Answer, Copy, Known, Page, Record, Unknown


@dataclass(frozen=True)
class Pages:
    """What every host that keeps one says."""

    arbiter: Page
    copies: tuple[Page, ...]

    @property
    def answer(self) -> Answer:
        return judged(self.arbiter, self.copies)


def pages(estate: Estate) -> Pages:
    """All at once; a host without power costs what knocking at it does."""
    hosts = (estate.backup, *(host for host in estate.postgres if host != estate.backup))
    with ThreadPoolExecutor(len(hosts)) as pool:
        arbiter, *copies = pool.map(lambda host: FileOn(host).read(), hosts)
    return Pages(arbiter, tuple(copies))


def read(estate: Estate) -> Answer:
    return pages(estate).answer


def judged(arbiter: Page, copies: Sequence[Page]) -> Answer:
    """The arbiter's word, unless something newer was written, with the operator's word, while it was away."""
    if arbiter.why and not arbiter.away:
        return Unknown(arbiter.why, arbiter.hint or SETTLE)
    held = [copy for copy in copies if copy.record]
    newest = max(held, key=lambda copy: copy.record.revision if copy.record else 0, default=None)
    if arbiter.record is None:
        return _without(arbiter, copies, newest)
    ahead = [copy for copy in held if _is_ahead(copy, arbiter.record)]
    strange = [copy for copy in ahead if copy.record and not _follows(copy.record, arbiter)]
    if strange:
        record = strange[0].record
        assert record
        return Unknown(
            f"the records contradict each other: on {strange[0].host} {record.says}; on {arbiter.host} "
            f"{arbiter.record.says}", SETTLE,
        )  # fmt: skip
    if ahead and newest and newest.record:
        return Known(newest.record, newest.host, arbiter.record.revision, carry=True)
    return Known(arbiter.record, arbiter.host, arbiter.record.revision)


def _is_ahead(copy: Page, known: Record) -> bool:
    """Written later than what the arbiter has, by this estate's own database system."""
    record = copy.record
    if record is None or record.system_identifier != known.system_identifier:
        return False
    return record.revision > known.revision or (record.revision == known.revision and record.based_on is not None)


def _follows(record: Record, arbiter: Page) -> bool:
    return record.based_on is not None and record.based_on.sum == arbiter.sum


def _without(arbiter: Page, copies: Sequence[Page], newest: Page | None) -> Answer:
    lost = not arbiter.away
    why = f"{arbiter.host} has no record" if lost else arbiter.why
    if newest and newest.record:
        return Copy(newest.record, newest.host, why, lost)
    told = "; ".join(copy.why for copy in copies if copy.why)
    absent = lost and all(copy.absent for copy in copies)
    silent = not lost or any(copy.away for copy in copies)
    hint = "./dr deploy writes it" if absent else next((copy.hint for copy in copies if copy.hint), SETTLE)
    if silent:
        hint = "bring a host back that has it; ./dr record.show shows who answers"
    return Unknown(f"there is no estate record: {why}{f'; {told}' if told else ''}", hint, absent)


def require_newest(answer: Answer, primary: str, timeline: int) -> None:
    """Raises Refused where the record knows a newer timeline than this primary's: it has been succeeded."""
    if isinstance(answer, Unknown) or answer.record.timeline <= timeline:
        return
    record = answer.record
    hint = f"./dr record.settle --yes if it is {primary} that shall go on"
    if record.primary != primary:
        hint = f"./dr rejoin {primary} --yes when {record.primary} is up; {hint}"
    raise Refused(
        f"{primary} takes writes on timeline {timeline}, and the record knows {record.primary} as primary on timeline "
        f"{record.timeline}", hint,
    )  # fmt: skip


def of_system(answer: Answer, system: str) -> Answer:
    """The same, unless it is the record of another database system: that counts for nothing."""
    if isinstance(answer, Unknown) or not system or answer.record.system_identifier == system:
        return answer
    return Unknown(
        f"the record on {answer.at} is of the database system {answer.record.system_identifier}, not of {system}",
        "is the inventory's backup host that of another estate? " + SETTLE,
    )
