"""Revisions of the tracker's database, and the statements between two, written by Alembic and not run here."""

from __future__ import annotations

import ast
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inventories.errors import BadInput, Refused

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
BASE = "base"  # of a database without any
LOCK = 4_0044  # what one migration holds against another
_SAYS = 'revision, down_revision = "0002", "0001"'
_NAMES = ("(revision, down_revision)", "revision, down_revision")
_ONE_LINE = "each file names the one before it as down_revision, and the first names None"
_GUARD = """-- Writers queue behind a lock that is waited for; their outbox takes rows meanwhile.
SET LOCAL lock_timeout = '5s';
DO $$
DECLARE found text := 'base';
BEGIN
  PERFORM pg_advisory_xact_lock({lock});
  IF to_regclass('public.alembic_version') IS NOT NULL THEN
    EXECUTE 'SELECT coalesce(max(version_num), ''base'') FROM public.alembic_version' INTO found;
  END IF;
  IF found <> '{at}' THEN
    RAISE EXCEPTION 'the database is at revision %, and these statements begin at {at}', found;
  END IF;
END $$;
"""


@dataclass(frozen=True)
class Revision:
    """One migration: its number, and what it brings."""

    number: str
    says: str

    def __str__(self) -> str:
        return f"{self.number} ({self.says})"


@dataclass(frozen=True)
class Way:
    """From one revision to another: `steps` are the migrations to run, in order, upwards or `down`."""

    at: str
    to: str
    steps: tuple[Revision, ...]
    down: bool = False

    def __str__(self) -> str:
        """In words, for whoever decides."""
        if not self.steps:
            return f"revision {self.at}: nothing to run"
        verb = "take back" if self.down else "run"
        return f"revision {self.at}: {verb} {', '.join(map(str, self.steps))}"


def revisions(folder: Path = MIGRATIONS) -> tuple[Revision, ...]:
    """Every one, oldest first. Raises BadInput for one that is missing, two with a number, or two that are newest.

    Read without Alembic, which a host that only watches has not.
    """
    after: dict[str | None, Revision] = {}
    files = sorted((folder / "versions").glob("*.py"))
    for path in files:
        one, before = _read(path)
        if before in after:
            other = f"{after[before].number} and {one.number} both follow {before or BASE}"
            raise BadInput(f"{folder}: {other}, so that two of the migrations are newest", _ONE_LINE)
        after[before] = one
    line: list[Revision] = []
    while found := after.pop(line[-1].number if line else None, None):
        line.append(found)
    if after:
        before, one = next(iter(after.items()))
        raise BadInput(f"{folder}: {one.number} follows {before}, and that migration is missing", _ONE_LINE)
    if not line:
        raise BadInput(f"{folder} has no migration", _ONE_LINE)
    return tuple(line)


def _read(path: Path) -> tuple[Revision, str | None]:
    """A migration, and the number of the one before it. Raises BadInput."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        said = next(
            ast.literal_eval(line.value) for line in tree.body
            if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) in _NAMES
        )  # fmt: skip
        number, before = said
    except (OSError, SyntaxError, ValueError, TypeError, StopIteration) as error:
        raise BadInput(f"{path} is no migration: it has no line {_SAYS}", _ONE_LINE) from error
    if not (isinstance(number, str) and (before is None or isinstance(before, str))):
        raise BadInput(f"{path} is no migration: it has no line {_SAYS}", _ONE_LINE)
    return Revision(number, (ast.get_docstring(tree) or "").rstrip(".")), before


def head(folder: Path = MIGRATIONS) -> str:
    """The newest revision of this release. Raises BadInput."""
    return revisions(folder)[-1].number


def way(at: str, to: str = "", folder: Path = MIGRATIONS) -> Way:
    """What lies between two revisions; `to` is the newest where it is not said. Raises BadInput, and Refused for a
    database that is at a revision of another release.
    """
    line = revisions(folder)
    numbers = [BASE, *(one.number for one in line)]
    to = to or numbers[-1]
    if to not in numbers:
        raise BadInput(f"there is no revision {to!r}", f"this release has {', '.join(numbers)}")
    if at not in numbers:
        raise Refused(
            f"the tracker's database is at revision {at!r}, which this release does not have",
            f"it has {', '.join(numbers)}; migrate with the release that has that one",
        )
    first, last = numbers.index(at), numbers.index(to)
    if first <= last:
        return Way(at, to, line[first:last])
    return Way(at, to, tuple(reversed(line[last:first])), down=True)


def script(way: Way, folder: Path = MIGRATIONS) -> str:
    """The statements of a way in one transaction; empty where there is nothing to run."""
    found = statements(way, folder)
    return f"BEGIN;\n{found}COMMIT;\n" if found else ""


def statements(way: Way, folder: Path = MIGRATIONS) -> str:
    """The same for a transaction that has begun; the first fails where the database is not where the way begins."""
    from alembic import command

    if not way.steps:
        return ""
    written = io.StringIO()
    config = _config(folder)
    config.output_buffer = written
    (command.downgrade if way.down else command.upgrade)(config, f"{way.at}:{way.to}", sql=True)
    # Alembic makes its table on every way from the base, and leaves it behind on the way there.
    gone = "DROP TABLE IF EXISTS alembic_version;\n" if way.to == BASE else ""
    return f"{_GUARD.format(lock=LOCK, at=way.at)}{written.getvalue()}{gone}"


def dropped(way: Way, tables: Sequence[str], folder: Path = MIGRATIONS) -> tuple[str, ...]:
    """Of these tables those that go on this way, with their rows."""
    text = script(way, folder) if way.down else ""
    return tuple(table for table in tables if f"DROP TABLE {table};" in text)


def _config(folder: Path) -> Config:
    from alembic.config import Config

    config = Config()
    # ConfigParser reads a percent sign as the beginning of a name.
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config
