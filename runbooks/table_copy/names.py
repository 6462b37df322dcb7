"""Names of tables as an operator writes them: `orders`, `audit.notes`, `"odd, name".orders`.

The schema public goes without saying. What stands between double quotes is taken as it is, and so is everything else:
no letter changes its case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

PUBLIC = "public"
MOST_BYTES = 63  # of an identifier; PostgreSQL cuts what is longer
_PART = r'(?:"(?:[^"]|"")+"|[^",.]+)'
_NAME = re.compile(rf"\s*({_PART})(?:\.({_PART}))?\s*")
_PLAIN = re.compile(r'[^\s",.]+')


def many(text: str) -> tuple[str, ...]:
    """Names with commas between them, each as `shown` writes it. Raises ValueError with the part that is none."""
    found, at = [], 0
    while at < len(text):
        match = _NAME.match(text, at)
        if match is None or text[match.end() : match.end() + 1] not in ("", ","):
            if text[at:].strip(" ,"):
                raise ValueError(text[at:].strip())
            break
        first, second = (_bare(part) for part in match.groups())
        found.append(shown(first, second) if second else shown(PUBLIC, first))
        at = match.end() + 1
    return tuple(found)


def _bare(part: str | None) -> str:
    part = (part or "").strip()
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def split(name: str) -> tuple[str, str]:
    """Schema and table of a name that `shown` wrote."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(name)
    first, second = (_bare(part) for part in match.groups())
    return (first, second) if second else (PUBLIC, first)


def shown(schema: str, table: str) -> str:
    """The one way in which a table is called here; `split` undoes it."""
    parts = (table,) if schema == PUBLIC else (schema, table)
    return ".".join(part if _PLAIN.fullmatch(part) else quoted(part) for part in parts)


def beside(name: str, suffix: str) -> str:
    """The table of that name with a suffix, in the same schema."""
    schema, table = split(name)
    return shown(schema, table + suffix)


def too_long(name: str) -> bool:
    return any(len(part.encode()) > MOST_BYTES for part in split(name))


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def qualified(name: str) -> str:
    """For SQL."""
    return ".".join(quoted(part) for part in split(name))


def listed(names: Iterable[str], prefix: str = "") -> str:
    """Columns for SQL."""
    return ", ".join(f"{prefix}{quoted(name)}" for name in names)


def literal(text: str) -> str:
    """A string constant; standard_conforming_strings is on."""
    return "'" + text.replace("'", "''") + "'"
