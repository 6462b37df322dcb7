"""The cases of the torture schema, read from its SQL files: no server is needed to know their names.

A file is a kind, and its first line says which. What stands before the first `--#` line makes what its cases share.

    --# name | schema.table [| further tables that are named with it]   a case; the SQL that follows makes and fills it
    --# seen_as F9                  the field case that it is
    --# refused MODE... | reason [| words]  what these modes must refuse: the reason as docs/refusals.md has it, and
                                    what it must name
    --# told | words [| words]      what the comparison with a live table must say before --yes
    --# only MODE...                the modes that it is tried in (all, where nothing is said)
    --# same TABLE...               tables that no mode may change
    --# lost NAME...                what DROP ... CASCADE takes along and nobody promised to bring back: named
    --# sequences NAME...           sequences that may only go forward
    --# changes [COLUMN...]         the table has other columns now; those of the copy that cannot come back
    --# renamed COLUMN NAME         a column that is called so now, and what was in it comes back
    --# rows_by_only                rows of its heirs are not its own
    --# key EXPRESSION              what tells its rows apart, where equal keys have several spellings
    --# two_servers                 only where the copy is on a server of its own: it has other roles than the live one
    --# damage                      the SQL that follows spoils rows, after the restore point
    --# drop                        how the table is lost in mode `drop` (DROP TABLE ... CASCADE, where nothing is said)
    --# armed, --# disarmed         what stands only while the case is tried, and how it is taken down
    --# clean                       at the end of a file: takes away what does not go with the database
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

SCHEMA = Path(__file__).parent / "schema"
APART = Path(__file__).parent / "apart"
GROUND = "00-ground"
MODES = ("merge", "replace", "beside", "drop")
# What runs with every test; all others are long.
SHORT = {
    ("names-chinese_schema_table_and_column", "drop"), ("names-sixty_three_bytes", "replace"),
    ("keys-key_with_included_column", "merge"), ("types-points", "merge"),
    ("constraints-unique_value_taken_by_a_new_row", "merge"), ("constraints-unique_values_permuted", "replace"),
    ("foreign_keys-children_elsewhere_cascade", "replace"), ("guards-stamped_by_a_trigger", "replace"),
    ("guards-row_level_security_with_policies", "drop"), ("kinship-partition_of_a_range", "merge"),
    ("sequences-owned_by_a_text_column", "merge"),
}  # fmt: skip
_SECTIONS = ("damage", "drop", "armed", "disarmed", "clean")
_FACTS = (
    "seen_as", "refused", "told", "only", "same", "lost", "sequences", "changes", "renamed", "rows_by_only", "key",
    "two_servers",
)  # fmt: skip
_ESCAPED = re.compile(r'U&("(?:[^"]|"")*")')


@dataclass(frozen=True)
class Case:
    """One table and what is done to it. `refused` has the reason, and what it names, by mode; `tables` go together."""

    kind: str
    name: str
    tables: tuple[str, ...]
    make: str = ""
    damage: str = ""
    drop: str = ""
    armed: str = ""
    disarmed: str = ""
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seen_as: str = ""  # the field case that it is, such as F9
    told: tuple[str, ...] = ()
    only: tuple[str, ...] = MODES
    same: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    changes: tuple[str, ...] | None = None
    renamed: tuple[str, ...] = ()
    rows_by_only: bool = False
    key: str = ""
    two_servers: bool = False

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}"

    @property
    def table(self) -> str:
        """The table that the case is about, as SQL writes it."""
        return self.tables[0]

    @property
    def loss(self) -> str:
        """What loses the tables."""
        return self.drop or f"DROP TABLE {', '.join(self.tables)} CASCADE;\n"

    def told_in(self, mode: str) -> tuple[str, ...]:
        """A table that is made, again or beside, meets nothing."""
        return self.told if mode in ("merge", "replace") else ()

    def changed_in(self, mode: str) -> tuple[str, ...]:
        """Columns whose values do not come back; a table beside has the copy's own."""
        return (self.changes or ()) if mode in ("merge", "replace") else ()

    @property
    def modes(self) -> tuple[str, ...]:
        """A table whose columns have changed is there, so it was not dropped."""
        return tuple(mode for mode in self.only if self.changes is None or mode != "drop")


@dataclass(frozen=True)
class Kind:
    """A file: what its cases share, the cases, and what takes the rest of it away when the database is gone."""

    name: str
    says: str
    shared: str
    cases: tuple[Case, ...]
    clean: str

    @property
    def load(self) -> str:
        """Everything that the file makes, in its order."""
        return self.shared + "".join(case.make for case in self.cases)


def load(folder: Path = SCHEMA) -> dict[str, Kind]:
    """Every kind by name, the ground first. Raises ValueError naming file and line of what it cannot read."""
    found = {path.stem: parse(path) for path in sorted(folder.glob("*.sql"))}
    if GROUND not in found or len(found) < 2:
        raise ValueError(f"{folder} holds no torture schema")
    return found


def load_apart(folder: Path = APART) -> dict[str, Kind]:
    """Files without cases, each laid by a test of its own: what they make would be in the way of all others."""
    return {path.stem: parse(path) for path in sorted(folder.glob("*.sql"))}


def parse(path: Path) -> Kind:
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or not lines[0].startswith("-- ") or not lines[0].endswith("."):
        raise ValueError(f"{path.name}: the first line says what the file is, in a sentence")
    reader = _Reader(path)
    for number, line in enumerate(lines[1:], 2):
        reader.take(number, line)
    return Kind(path.stem, lines[0][3:], reader.shared, tuple(reader.cases), reader.clean)


class _Reader:
    """Collects lines into the section that the last mark has begun."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cases: list[Case] = []
        self.shared = self.clean = ""
        self._section = "shared"

    def take(self, number: int, line: str) -> None:
        if line.startswith("--#"):
            try:
                self._mark(line.removeprefix("--#").strip())
            except ValueError as error:
                raise ValueError(f"{self.path.name}:{number}: {error}") from None
        elif line:
            self._keep(line + "\n")

    def _keep(self, text: str) -> None:
        if self._section in ("shared", "clean"):
            setattr(self, self._section, getattr(self, self._section) + text)
        else:
            case = self.cases[-1]
            self.cases[-1] = replace(case, **{self._section: getattr(case, self._section) + text})

    def _mark(self, text: str) -> None:
        word, _, rest = text.partition(" ")
        if word in (*_SECTIONS[:-1], *_FACTS) and not self.cases:
            raise ValueError(f"{text!r} stands before the first case")
        if word in _SECTIONS:
            self._section = word
        elif word in _FACTS:
            self.cases[-1] = replace(self.cases[-1], **{word: self._fact(word, rest.strip())})
        else:
            name, *tables = (_spelt_out(part.strip()) for part in text.split(" | "))
            if not name.isidentifier() or not tables or any(case.name == name for case in self.cases):
                raise ValueError(f"{text!r} is no case of its own name and a table")
            self.cases.append(Case(self.path.stem, name, tuple(tables)))
            self._section = "make"

    def _fact(self, word: str, rest: str) -> object:
        if word in ("rows_by_only", "two_servers"):
            return True
        if word in ("key", "seen_as"):
            return rest
        if word == "told":
            if rest.startswith("|"):
                raise ValueError(f"{rest!r} begins with a bar")
            return tuple(part.strip() for part in rest.split(" | "))
        if word == "refused":
            modes, *reason = (part.strip() for part in rest.split(" | "))
            if not reason:
                raise ValueError(f"{rest!r} is refused for no reason")
            return {**self.cases[-1].refused, **dict.fromkeys(_modes(modes), tuple(reason))}
        return _modes(rest) if word == "only" else tuple(_names(rest))


def _spelt_out(table: str) -> str:
    """A name with the signs that its U& escapes stand for, such as a line break."""
    return _ESCAPED.sub(lambda found: re.sub(r"\\([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), found[1]), table)


def _modes(text: str) -> tuple[str, ...]:
    modes = tuple(text.split())
    if not modes or not set(modes) <= set(MODES):
        raise ValueError(f"{text!r} are no modes; there are {', '.join(MODES)}")
    return modes


def _names(text: str) -> Iterator[str]:
    """Words, those in double quotes whole."""
    word, quoted = "", False
    for sign in text:
        quoted ^= sign == '"'
        if sign == " " and not quoted:
            yield from [word] if word else []
            word = ""
        else:
            word += sign
    yield from [word] if word else []
