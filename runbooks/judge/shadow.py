"""Whether the application host's shadow reaches back to what is kept elsewhere, and for how long it still will."""

from __future__ import annotations

from collections.abc import Iterator

from inventories.catalog.recovery import Shadow
from runbooks.judge.finding import Finding
from runbooks.probes.app import Outbox

FULL = 0.85  # of its bytes: by then the backup that is begun at 0.7 should have made room
_SEGMENTS_BYTES = 16 << 20  # the newest, which is never let go, and one more
_SEGMENT_S = 120.0
_SLACK_S = 60.0


def findings(
    store: str, box: Outbox | None, kept: Shadow | None, covered: tuple[str, float] | None, at: float, hint: str
) -> Iterator[Finding]:
    """`covered`: what has the rows from before, and when it began (unix seconds); None where nobody can tell.

    A shadow that never had to let anything go reaches back to its first row, whenever that was.
    """
    if box is None or kept is None or covered is None or not box.shadow_bytes or not box.shadow_since:
        return
    what, began = covered
    most = kept.max_mb << 20
    let_go = box.shadow_bytes >= most - _SEGMENTS_BYTES or at - box.shadow_since >= kept.keep_h * 3600 - _SEGMENT_S
    told = f"{_arithmetic(box, most)}; {what} began {_h(at - began)} ago"
    if let_go and box.shadow_since > began + _SLACK_S:
        lost = f"the rows of {_h(box.shadow_since - began)} are in neither"
        yield Finding(f"{store}'s shadow", f"{told}: {lost}", f"reaches back to {what}", hint)
    elif box.shadow_bytes > FULL * most:
        yield Finding(f"{store}'s shadow", told, f"{FULL * 100:.0f}% of {most >> 20} MiB", hint)


def _arithmetic(box: Outbox, most: int) -> str:
    """`7.9 of 8.0 GiB, at 79,200 rows/s of 31 bytes full after 0.9 h`."""
    held = f"{(box.shadow_bytes or 0) / 2**30:.2f} of {most / 2**30:.2f} GiB"
    if not box.shadow_rows_s or not box.shadow_row_bytes:
        return f"{held}, no rate is known"
    lasts = most / (box.shadow_rows_s * box.shadow_row_bytes)
    rate = f"{box.shadow_rows_s:,.0f} rows/s of {box.shadow_row_bytes:.0f} bytes"
    return f"{held}, which hold {_h(lasts)} at {rate}"


def _h(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
