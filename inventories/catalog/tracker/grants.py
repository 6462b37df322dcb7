"""What the estate's roles may do with a table of the tracker; every migration that makes one says it by this."""

from __future__ import annotations

from alembic import op


def grant(table: str) -> None:
    """No DELETE and no TRUNCATE: the writer cannot lose what it has written."""
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON {table} TO writer")
    op.execute(f"GRANT SELECT ON {table} TO reader")
