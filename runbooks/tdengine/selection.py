"""Which rows of TDengine's backups a restore is about, as the operator said it and as the agents read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from inventories.errors import BadInput

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,63}")
_RESERVED = ("information_schema", "performance_schema", "mystocks_dr")


class TdMode(StrEnum):
    """`missing` writes what is not there, `overwrite` also what is there with other content."""

    MISSING = "missing"
    OVERWRITE = "overwrite"


class TdSelection(BaseModel):
    """Empty means all, of `label` the newest sound backup, of `into` the backup's own database.

    `since` and `until` are moments with their zone, the latter exclusive; a symbol is the first tag.
    """

    model_config = ConfigDict(frozen=True)

    label: str = ""
    into: str = ""
    tables: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    since: str = ""
    until: str = ""

    def words(self) -> Iterator[str]:
        """The options of agents.tdengine.backup.restore and agents.tdengine.backup.validate."""
        if self.label:
            yield f"--label={self.label}"
        if self.into:
            yield f"--into={self.into}"
        if self.tables:
            yield f"--tables={','.join(self.tables)}"
        if self.symbols:
            yield f"--symbols={','.join(self.symbols)}"
        if self.since:
            yield f"--from={self.since}"
        if self.until:
            yield f"--to={self.until}"

    @property
    def is_part(self) -> bool:
        """Whether something of the backup is left out."""
        return bool(self.tables or self.symbols or self.since or self.until)


def mode_of(text: str) -> TdMode:
    """Raises BadInput naming the modes there are."""
    try:
        return TdMode(text.strip().lower())
    except ValueError:
        raise BadInput(f"there is no mode {text!r}", f"--mode is one of {', '.join(TdMode)}") from None


def check_name(into: str) -> None:
    """Raises BadInput for what is no name of a database to restore into."""
    if into and (not _NAME.fullmatch(into) or into in _RESERVED):
        raise BadInput(
            f"{into!r} is no name for a database to restore into", "small letters, digits and _, such as market_side"
        )
