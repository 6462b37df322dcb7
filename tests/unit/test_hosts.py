"""What a failed command on a host is told as: the one line that says why; and a host that has to answer."""

from __future__ import annotations

import pytest

from inventories.errors import Unreachable
from runbooks.hosts import Host, _telling_line
from runbooks.knock import Door
from tests.unit.record_kit import ESTATE

PGBACKREST = """
WARN: unable to check pg2: [DbConnectError]
ERROR: [082]: WAL segment 000000020000000000000005 was not archived before the 60000ms timeout
       HINT: check the archive_command to ensure that all options are correct (especially --stanza).
       HINT: run the 'start' command if the stanza was previously stopped.
"""


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (PGBACKREST, "ERROR: [082]: WAL segment 000000020000000000000005 was not archived before the 60000ms timeout"),
        ("first\nlast\n\n", "last"),
        ("what went wrong\nHINT: what to do\n", "what went wrong"),
        ("HINT: only advice\n", "HINT: only advice"),
        ("psql: error: connection failed: FATAL:  too many clients\nDETAIL: none\n",
         "psql: error: connection failed: FATAL:  too many clients"),
        ("an ERRORS counter\nlast\n", "last"),
        (" \n", "no message"),
        ("x" * 1000, "x" * 300),
    ],
)  # fmt: skip
def test_line_that_says_why_is_told_and_not_the_advice_below_it(said: str, line: str) -> None:
    assert _telling_line(said) == line


@pytest.mark.parametrize("door", sorted(set(Door) - {Door.OPEN}))
def test_host_that_must_answer_is_given_up_at_once_for_whatever_is_no_open_door(
    monkeypatch: pytest.MonkeyPatch, door: Door
) -> None:
    monkeypatch.setattr(Host, "knock", lambda *_: door)
    with pytest.raises(Unreachable, match=r"^pg1: no answer at "):
        ESTATE.host("pg1").must_answer()
    monkeypatch.setattr(Host, "knock", lambda *_: Door.OPEN)
    ESTATE.host("pg1").must_answer()
