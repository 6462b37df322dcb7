"""What ./dr backup.list shows: a line for each backup on a wide terminal, a few on a narrow one."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Column, Table
from rich.text import Text

from doors.support import utc
from runbooks.backups.postgresql import Listed, Listing, Span
from runbooks.judge.objectives import duration, size

WIDE = 150


def listing(seen: Listing, width: int) -> Iterator[Table | Text]:
    """The table, what all backups cover together, and everything that is wrong."""
    if width >= WIDE:
        yield _wide(seen)
    else:
        yield from _narrow(seen)
    if seen.covered is None:
        yield Text("Nothing can be restored to a point in time.", style="red")
    else:
        yield Text(f"Covered on timeline {seen.timeline}: {_span(seen.covered)}.")
    for gap in seen.gaps:
        yield Text(f"GAP  {gap}.", style="red")
    for trouble in seen.troubles:
        yield Text(f"TROUBLE  {trouble}.", style="red")
    if seen.sound:
        yield Text("The archive has no gap, and no backup is known to be damaged.", style="green")


def _wide(seen: Listing) -> Table:
    tracked = any(one.revision for one in seen.backups)
    table = Table(
        Column("backup", no_wrap=True), "store", "kind", "age", *(Column(name, justify="right") for name in _SIZES),
        "covers", "proven", "copies", "key", *(["tracker"] if tracked else []), "trouble", box=None,
        padding=(0, 2, 0, 0),
    )  # fmt: skip
    for one in seen.backups:
        table.add_row(
            one.label, one.store, one.kind, duration(one.age_s), *_sizes(one), _covers(one), _proven(one),
            " + ".join(one.copies), one.key_id or "?", *([one.revision] if tracked else []), one.trouble,
        )  # fmt: skip
    return table


def _narrow(seen: Listing) -> Iterator[Text]:
    """Lines of at most 80 columns."""
    for one in seen.backups:
        cluster, stored, ratio = _sizes(one)
        yield Text.assemble((one.label, "bold"), f"  {one.kind}, {duration(one.age_s)} old, proven {_proven(one)}")
        yield Text(f"  {one.store}: {cluster} cluster, {stored} stored, ratio {ratio}; key {one.key_id or '?'}")
        yield Text(f"  covers {_covers(one)}")
        yield Text(f"  on {' + '.join(one.copies)}{f'; tracker at {one.revision}' if one.revision else ''}")
        if one.trouble:
            yield Text(f"  {one.trouble}", style="red")


_SIZES = ("cluster", "stored", "ratio")


def _sizes(one: Listed) -> tuple[str, str, str]:
    return size(one.size_bytes), size(one.stored_bytes), f"{one.ratio:.1f}" if one.ratio else "?"


def _covers(one: Listed) -> str:
    return _span(one.span) if one.span else "nothing"


def _span(span: Span) -> str:
    return f"{utc(span.from_at)} ({span.from_lsn}) to {utc(span.to_at) if span.to_at else '?'} ({span.to_lsn})"


def _proven(one: Listed) -> str:
    return utc(one.proven_at) if one.proven_at else "never"
