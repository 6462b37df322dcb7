"""What invoke says about a command line that it cannot read, in words for who typed it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import pairwise

HINT = "./dr lists the tasks, ./dr help TASK explains one."
_UNKNOWN = re.compile(r"No idea what '(.*)' is!")
_NO_VALUE = re.compile(r"Flag <Argument: ([\w-]+).*> needed value and was not given one!")
_NO_NUMBER = re.compile(r"(?:could not convert string to float|invalid literal for int\(\) with base \d+): '(.*)'")


def in_words(said: str, typed: Sequence[str], task_names: Iterable[str]) -> str:
    """A sentence and a HINT for what invoke said."""
    if unknown := _UNKNOWN.fullmatch(said):
        return _unknown(unknown[1], task_names)
    if lacking := _NO_VALUE.fullmatch(said):
        return f"--{lacking[1]} needs a value.\nHINT: {HINT}"
    if wrong := _NO_NUMBER.fullmatch(said):
        return f"{_option_before(wrong[1], typed)} takes a number, and {wrong[1]!r} is none.\nHINT: {HINT}"
    return f"{said}\nHINT: {HINT}"


def without_value(typed: Sequence[str]) -> str:
    """The option that was given nothing, which a task would take for not given at all; '' where each has a value.

    An operator meant something by ``--rounds "$ROUNDS"``, and a single drill is not it.
    """
    for before, word in pairwise(("", *typed)):
        if word == "--":
            break
        if word.startswith("--") and word.endswith("="):
            return word.rstrip("=")
        if not word and before.startswith("-"):
            return before
    return ""


def _unknown(word: str, task_names: Iterable[str]) -> str:
    if word.startswith("-"):
        return f"There is no option {word} here.\nHINT: {HINT}"
    near = " or ".join(f"./dr {name}" for name in get_close_matches(word, list(task_names), n=2))
    meant = f"Did you mean {near}? " if near else ""
    return f"There is no task {word!r}.\nHINT: {meant}{HINT}"


def _option_before(value: str, typed: Sequence[str]) -> str:
    """The option that was given this value."""
    for nr, word in enumerate(typed):
        if word == value and nr and typed[nr - 1].startswith("-"):
            return typed[nr - 1]
        if word.startswith("-") and word.endswith(f"={value}"):
            return word.partition("=")[0]
    return "An option"
