"""`--since`: a day, a moment in UTC, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from inventories.errors import BadInput

_AGO = re.compile(r"([1-9][0-9]{0,4})(h|d)")


def moment(text: str, now: datetime) -> datetime | None:
    """None for nothing. Raises BadInput for what is neither."""
    if not text:
        return None
    if ago := _AGO.fullmatch(text):
        return now - timedelta(hours=int(ago[1])) * (24 if ago[2] == "d" else 1)
    try:
        said = datetime.fromisoformat(text)
    except ValueError:
        hint = "--since 2026-11-01, --since 2026-11-01T06:00 (UTC), --since 30d"
        raise BadInput(f"{text!r} is no moment", hint) from None
    return said if said.tzinfo else said.replace(tzinfo=UTC)
