"""Entries as lines of tables.yaml, and that file with them at its end: read again before it takes the other's place."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inventories.catalog.foreign.propose import Change, Proposal
from inventories.catalog.foreign.shape import Draft, listed
from inventories.catalog.load import load_model, shown
from inventories.catalog.tables import Tables
from inventories.errors import BadInput

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_ ()-")


def rendered(drafts: Iterable[Draft]) -> str:
    """With what is to be decided as comments above each entry."""
    return "\n".join("\n".join(_entry(draft)) + "\n" for draft in drafts)


def alone(drafts: Iterable[Draft], zone: str | None) -> str:
    """The text of a catalogue that has nothing else."""
    times = f"naive_times: {zone}\n" if zone else ""
    return f"version: 1\n{times}tables:\n\n{rendered(drafts)}"


def append(proposal: Proposal, path: Path) -> None:
    """Put new entries and new columns into the catalogue. Raises BadInput, and leaves the file as it is, where it would
    not be one.
    """
    lines = path.read_text(encoding="utf-8").rstrip().splitlines()
    for change in proposal.changes:
        lines = _changed(lines, change)
    text = "\n".join(lines) + "\n"
    if proposal.new:
        heading = "  # ---- taken from the trading system's configuration ----"
        text = f"{text}\n{heading}\n\n{rendered(proposal.new)}"
    partial = path.with_name(f".{path.name}.new")
    try:
        partial.write_text(text, encoding="utf-8")
        load_model(partial, Tables)
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    except BadInput as error:
        raise BadInput(f"with these entries {shown(path)} would be no catalogue: {error}", error.hint) from error
    finally:
        partial.unlink(missing_ok=True)


def _changed(lines: Sequence[str], change: Change) -> list[str]:
    """One entry with its columns more, each other line as it was."""
    begins = lines.index(f"  {change.table}:")
    first = lines.index("    columns:", begins) + 1
    last = next(at for at in range(first, len(lines)) if not lines[at].startswith("      "))
    columns = [_eased(line) if _named(line) in change.eased else line for line in lines[first:last]]
    added = [f"      - {_column(column.model_dump(mode='json'), {})}" for column in change.added]
    return [*lines[:first], *columns, *added, *lines[last:]]


def _named(line: str) -> str:
    return line.strip().removeprefix("- {name: ").partition(",")[0] if line.strip().startswith("- {name: ") else ""


def _eased(line: str) -> str:
    head, brace, comment = line.rpartition("}")
    return f"{head}, nullable: true{brace}{comment}"


def _entry(draft: Draft) -> Iterator[str]:
    entry = draft.entry
    if draft.source.description:
        yield f"  # {draft.source.description}"
    yield from (f"  # decide: {line}" for line in listed(draft.decisions))
    yield f"  {draft.source.name}:"
    for key in ("store", "database", "classification", "subclassification", "owner", "core"):
        if key in entry:
            yield f"    {key}: {str(entry[key]).lower()}"
    yield "    columns:"
    comments = {column.name: column.comment for column in draft.source.columns}
    yield from (f"      - {_column(column, comments)}" for column in entry["columns"])
    yield f"    key: [{', '.join(entry['key'])}]"
    yield f"    on_conflict: {entry['on_conflict']}"
    if "hypertable" in entry:
        hyper = entry["hypertable"]
        yield f"    hypertable: {{time_column: {hyper['time_column']}, chunk_interval: {hyper['chunk_interval']}}}"
    if "supertable" in entry:
        yield from ("    supertable:", "      tags:")
        yield from (f"        - {_column(tag, comments)}" for tag in entry["supertable"]["tags"])
    if "indexes" in entry:
        yield "    indexes:"
        yield from (f"      - {{columns: [{', '.join(index['columns'])}]}}" for index in entry["indexes"])


def _column(column: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    kind = column["type"] if set(column["type"]) <= _PLAIN else f'"{column["type"]}"'
    optional = ", nullable: true" if column.get("nullable") else ""
    comment = " ".join(comments.get(column["name"], "").split())
    return f"{{name: {column['name']}, type: {kind}{optional}}}" + (f"  # {comment}" if comment else "")
