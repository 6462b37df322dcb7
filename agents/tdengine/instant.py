"""A written moment as TDengine counts time: whole nanoseconds since 1970, of which Python's own moments know thousands.

A time that is cut to microseconds is another key: the row under it would be looked for where it is not.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_FRACTION = re.compile(r"(?<=\d[.,])([0-9]+)")


def nanoseconds(text: str) -> int | None:
    """Of ISO 8601, None without a zone. Raises ValueError."""
    fraction = _FRACTION.search(text)
    digits = fraction[1] if fraction else ""
    if len(digits) > 9 and digits[9:].strip("0"):
        raise ValueError("it is finer than a nanosecond")
    whole = text if fraction is None else text[: fraction.start() - 1] + text[fraction.end() :]
    moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", whole))
    if moment.tzinfo is None:
        return None
    return (moment - _EPOCH) // timedelta(seconds=1) * 10**9 + int(f"{digits:0<9}"[:9])
