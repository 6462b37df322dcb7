"""Small files of the operator's machine, whole at any moment."""

from __future__ import annotations

from pathlib import Path


def put(path: Path, text: str) -> None:
    """Whoever reads it sees what was there before, or all of this."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
