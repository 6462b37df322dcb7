"""A hint's commands apart from its words, so that what is copied from the page is the command and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Options that take a word which could be one of the sentence: `--store tdengine takes one now`.
_TAKE_A_WORD = frozenset({
    "--store", "--type", "--scenario", "--twin", "--limit", "--host", "--promise", "--inventory", "--tables", "--bury",
})  # fmt: skip
_BEGINS = re.compile(r"(?:DR_\w+=\S+ )*\./dr [a-z][\w.-]*[a-z]")
_TOKEN = re.compile(r' ("[^"]*"|[^\s,;:]*[^\s,;:.)])')
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Piece:
    text: str
    is_command: bool


def pieces(hint: str) -> tuple[Piece, ...]:
    """`./dr deploy writes it` is a command and two words; a sentence without a command is one piece."""
    return tuple(_pieces(hint))


def _pieces(hint: str) -> Iterator[Piece]:
    done = 0
    for found in _BEGINS.finditer(hint):
        end = _end(hint, found.end())
        if before := hint[done : found.start()].strip():
            yield Piece(before, False)
        yield Piece(hint[found.start() : end], True)
        done = end
    if rest := hint[done:].strip():
        yield Piece(rest, False)


def _end(hint: str, at: int) -> int:
    """Where the command ends: at the first word that is neither an option, nor its value, nor a name."""
    before = ""
    while found := _TOKEN.match(hint, at):
        token = found[1]
        if _WORD.fullmatch(token) and before not in _TAKE_A_WORD:
            break
        before, at = token, found.end()
    return at
