"""Small files of the operator's machine, whole at any moment."""

from __future__ import annotations

import os
from pathlib import Path


def put(path: Path, text: str, mode: int | None = None) -> None:
    """Whoever reads it sees what was there before, or all of this. Raises OSError, leaving nothing beside it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        if mode is not None:
            fresh.chmod(mode)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
