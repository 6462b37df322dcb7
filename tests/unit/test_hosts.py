"""What a failed command on a host is told as: the one line that says why."""

from __future__ import annotations

import pytest

from runbooks.hosts import telling_line

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
    assert telling_line(said) == line
