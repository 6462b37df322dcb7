"""Entries as lines of tables.yaml, and that file with them at its end: read again before it takes the other's place."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

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


def append(drafts: Iterable[Draft], path: Path) -> None:
    """Put the entries into the catalogue. Raises BadInput, and leaves the file as it is, where it would not be one."""
    before = path.read_text(encoding="utf-8")
    heading = "  # ---- taken from the trading system's configuration ----"
    text = f"{before.rstrip()}\n\n{heading}\n\n{rendered(drafts)}"
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
