"""Damage to an outbox's file is told by whoever must tell it, and by nobody else; what nobody tells is a hole."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.mutations.outbox_kinds import KINDS, OutboxKind, filled, told


def test_a_sound_file_is_told_of_by_nobody(tmp_path: Path) -> None:
    assert told(filled(tmp_path)) == {}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_damage_is_told_by_who_must_tell_it(tmp_path: Path, kind: OutboxKind) -> None:
    outbox = filled(tmp_path)
    with sqlite3.connect(outbox.path) as hand:
        changed = sum(hand.execute(statement).rowcount for statement in kind.sql)
    hand.close()
    assert changed, "nothing was damaged"
    found = told(outbox)
    assert set(found) == ({kind.who} if kind.who else set())
    assert kind.words in "".join(found.values())
