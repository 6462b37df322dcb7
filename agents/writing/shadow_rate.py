"""How fast a shadow grows: rows a second and bytes a row, of what it took last. From the heads of frames alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from agents.writing.shadow import FRAME, MAGIC, segments

_SEGMENTS = 8  # the newest, together some minutes or 64 MiB


@dataclass(frozen=True)
class Rate:
    """Both None where nothing was taken lately, or too little to tell."""

    shadow_rows_s: float | None = None
    shadow_row_bytes: float | None = None


def rate(folder: Path) -> Rate:
    """Of the newest segments. What cannot be read ends the count there."""
    rows, size, times = 0, 0, list[float]()
    for file in segments(folder)[-_SEGMENTS:]:
        try:
            with file.open("rb") as source:
                while len(head := source.read(FRAME.size)) == FRAME.size:
                    magic, at, count, length, _ = FRAME.unpack(head)
                    if magic != MAGIC:
                        break
                    rows, size = rows + count, size + FRAME.size + length
                    times.append(at)
                    source.seek(length, os.SEEK_CUR)
        except OSError:
            continue
    seconds = max(times, default=0.0) - min(times, default=0.0)
    if seconds < 1 or not rows:
        return Rate()
    return Rate(round(rows / seconds, 1), round(size / rows, 1))
