"""Read the catalogue's files; a mistake is one sentence (file, dotted path, value) and a hint."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from inventories.catalog.alarms import Alarms
from inventories.catalog.base import Entry
from inventories.catalog.quality import Quality
from inventories.catalog.recovery import Recovery
from inventories.catalog.sqlite.databases import Databases
from inventories.catalog.tables import Store, Tables
from inventories.catalog.tracker import DATABASE
from inventories.errors import BadInput

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TABLES = HERE / "tables.yaml"
RECOVERY = HERE / "recovery.yaml"
QUALITY = HERE / "quality.yaml"
ALARMS = HERE / "alarms.yaml"
DATABASES = HERE / "databases.yaml"
TRACKER = HERE / "tracker.yaml"

Model = TypeVar("Model", bound=Entry)


@functools.lru_cache(maxsize=8)
def load_tables(path: Path = TABLES) -> Tables:
    """The tables of the estate. Raises BadInput."""
    return load_model(path, Tables)


@functools.lru_cache(maxsize=8)
def load_recovery(path: Path = RECOVERY) -> Recovery:
    """Objectives, schedules, budgets and limits. Raises BadInput."""
    return load_model(path, Recovery)


@functools.lru_cache(maxsize=8)
def load_quality(path: Path = QUALITY) -> Quality:
    """What must be true of rows. Raises BadInput."""
    return load_model(path, Quality)


@functools.lru_cache(maxsize=8)
def load_alarms(path: Path = ALARMS) -> Alarms:
    """What raises an alarm, and who is told. Raises BadInput."""
    return load_model(path, Alarms)


def load_databases(path: Path = DATABASES) -> Databases:
    """The SQLite databases of the application host. Raises BadInput."""
    return load_model(path, Databases)


@functools.lru_cache(maxsize=8)
def load_tracker(path: Path = TRACKER) -> Tables:
    """The tables of the stock tracker's own database. Raises BadInput."""
    tables = load_model(path, Tables)
    for table in tables.tables.values():
        if (table.store, table.database) != (Store.POSTGRESQL, DATABASE):
            where = f"{table.database} in {table.store.value}"
            raise BadInput(
                f"{shown(path)}: tables.{table.name} is of {where}.", f"The tracker's tables are {DATABASE}'s."
            )
    return tables


class _Strict(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice: plain YAML would keep the last one and say nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} is no text", problem_mark=key_node.start_mark
                )
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key '{key}' is given twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_model(path: Path, model: type[Model]) -> Model:
    """A YAML file as this model. Raises BadInput: one sentence with file, dotted path and value."""
    raw = _read(path)
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise _as_sentence(path, error.errors()[0]) from error


def _read(path: Path) -> Any:
    name = shown(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"{name} cannot be read: {error.strerror}.", "Restore it from version control."
        ) from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{name} is not UTF-8 at byte {error.start}.", "Save it as UTF-8.") from error
    try:
        raw = yaml.load(text, Loader=_Strict)  # noqa: S506 - _Strict is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" line {mark.line + 1}" if mark else ""
        raise BadInput(f"{name}{where}: {error.problem}.", "Correct that line.") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadInput(f"{name} is no YAML: {str(error).splitlines()[0]}.", "Correct the file.") from error
    if not isinstance(raw, dict):
        raise BadInput(
            f"{name} is {_value(raw)}, not a mapping of keys to values.", "Start with 'version: 1'."
        )
    return raw


def shown(path: Path) -> str:
    resolved = path.resolve()
    return str(resolved.relative_to(ROOT)) if resolved.is_relative_to(ROOT) else str(path)


def _as_sentence(path: Path, error: ErrorDetails) -> BadInput:
    dotted = ".".join(str(part) for part in error["loc"] if part != "[key]")
    context: dict[str, Any] = error.get("ctx", {})
    if error["type"] == "contradiction":
        dotted = ".".join(part for part in (dotted, str(context["at"])) if part)
        sentence = f"{dotted} is {_value(context['value'])}, but {context['why']}."
        return BadInput(f"{shown(path)}: {sentence}", str(context["hint"]))
    if error["type"] == "missing":
        return BadInput(f"{shown(path)}: {dotted} is missing.", "Add it.")
    if error["type"] == "extra_forbidden":
        found = f"{dotted} is {_value(error['input'])}, but nothing reads such a key"
        return BadInput(f"{shown(path)}: {found}.", "Remove it or correct its name.")
    message = error["msg"][0].lower() + error["msg"][1:]
    return BadInput(f"{shown(path)}: {dotted} is {_value(error['input'])}: {message}.", "Correct the value.")


def _value(value: object) -> str:
    shown = "empty" if value is None else f"'{value}'" if isinstance(value, str) else repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
