"""What the doors to backups show of TDengine's: lines of at most 80 columns, nothing decided here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from rich.text import Text

from doors.support import utc
from runbooks.backups.tdengine import Listed, Listing
from runbooks.judge.objectives import duration, size
from runbooks.probes.tdengine.backups import Dump, Proof


def listing(seen: Listing) -> Iterator[Text]:
    """A few lines for each backup and dump, then everything that is wrong."""
    for one in seen.backups:
        yield from _backup(one)
    for dump in seen.dumps:
        yield from _dump(dump, seen.at)
    if not seen.backups:
        yield Text("There is no TDengine backup: ./dr backup.run --store tdengine --type full takes one.", style="red")
    for trouble in seen.troubles:
        yield Text(f"TROUBLE  {trouble}.", style="red")
    if seen.sound:
        yield Text("No backup of TDengine lacks anything or is known to be damaged.", style="green")


def _backup(one: Listed) -> Iterator[Text]:
    yield Text.assemble((one.label, "bold"), f"  {one.kind}, {duration(one.age_s)} old")
    yield Text(f"  tdengine: {one.rows:,} rows, {one.own_rows:,} of them its own, {size(one.bytes)}")
    proven = utc(one.proven_at) if one.proven_at else "never"
    reads = "this backup alone" if len(one.chain) == 1 else f"{len(one.chain)} backups"
    yield Text(f"  proven {proven}; key {one.key_id or '?'}; a restore reads {reads}")
    yield Text(f"  on {' + '.join(one.copies)}")
    if one.trouble:
        yield Text(f"  {one.trouble}", style="red")
    for name, why in one.left_out:
        yield Text(f"  NOT in it: {name}", style="red")
        yield from (Text(f"    {line}", style="red") for line in wrap(why, 76))


def _dump(one: Dump, at: float) -> Iterator[Text]:
    yield Text.assemble((one.label, "bold"), f"  taosdump, {duration(at - one.ended_at)} old")
    proven = utc(one.proven_at) if one.proven_at else "never"
    yield Text(f"  tdengine: {one.rows:,} rows, {size(one.bytes)}; proven {proven}")
    if one.why:
        yield Text(f"  {one.why}", style="red")
    for name, why in one.left_out:
        yield from (Text(line, style="yellow") for line in wrap(f"  without {name}: {why}", 80))


def retention(stays: int, uncovered: Sequence[str]) -> Iterator[str]:
    """What it comes to: each backup restores the database as it was when that one began."""
    for lost in uncovered:
        yield f"No backup that stays has {lost}."
    yield f"Afterwards {stays} backups stay; each restores what the database held when it began."


def proof(found: Proof) -> Iterator[str]:
    rate = found.restore_rows / found.restore_s if found.restore_s else 0
    for name in found.damaged:
        yield f"damaged: {name}"
    yield (
        f"{found.label} is {'proven' if found.passed else 'NOT proven'}: {found.restore_rows:,} rows restored in "
        f"{found.restore_s:.1f} s ({rate:,.0f} rows/s), {found.seconds:.1f} s in all"
    )
