"""The stock tracker's database at another revision than this release goes by, as after a restore of an older backup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from inventories.catalog.tracker import DATABASE, revisions
from inventories.errors import DrError
from runbooks.judge.finding import Finding

COMMAND = "./dr tracker-migrate --yes"


def findings(primary: str, found: Mapping[str, str]) -> Iterator[Finding]:
    """`found`: the revision on each host that answered, "" where it has no such database."""
    if primary not in found:
        return
    at, wanted = found[primary], revisions.head()
    if not at:
        yield Finding(f"database {DATABASE}", f"{primary} has none", f"revision {wanted}", f"{COMMAND} makes it")
    elif at != wanted:
        yield Finding(f"revision of {DATABASE}", at, wanted, _way_on(at))


def _way_on(at: str) -> str:
    try:
        return f"{COMMAND} runs {', '.join(map(str, revisions.way(at).steps))}"
    except DrError as error:
        return f"{error}; {error.hint}"


def sentence(primary: str, found: Mapping[str, str]) -> str:
    """The same after a restore, for whoever ran it; empty where it is as it should be."""
    for one in findings(primary, found):
        return f"{one.objective} is {one.measured}, this release goes by {one.limit}: {one.hint}"
    return ""
