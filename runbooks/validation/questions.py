"""SQL that asks a database many questions in one snapshot: each for itself, so that one which fails ends no other.

An answer is a line of JSON: [name, rows], or [name, null, why] where the server refused the question.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runbooks.table_copy.names import literal
from runbooks.table_copy.source import plain_settings

# One processor of the host, and only when nobody else wants it: the server's process is the parent of the program's
# shell. Where it may not be done the questions are asked all the same.
_AFTER_OTHERS = (
    "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; renice -n 15 -p $PPID >/dev/null 2>&1; "
    "ionice -c 3 -p $PPID 2>/dev/null; true';\n"
)
_SETTINGS = (
    "SET max_parallel_workers_per_gather = 0;\nSET work_mem = '64MB';\nSET statement_timeout = 0;\n"
    "SET lock_timeout = '30s';\n"
)
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n"


@dataclass(frozen=True)
class Answer:
    """`rows` is None where the server refused the question, `why` what it said."""

    rows: list[dict[str, Any]] | None
    why: str = ""


def script(questions: Mapping[str, str], before: Iterable[str] = ()) -> str:
    """Statements for psql; `before` are run ahead of the snapshot. Every question is a SELECT of some columns."""
    return (
        plain_settings() + _SETTINGS + _AFTER_OTHERS + "".join(f"{one};\n" for one in before)
        + SNAPSHOT + "\\set ON_ERROR_STOP off\n" + "".join(_one(*item) for item in questions.items()) + "ROLLBACK;\n"
    )  # fmt: skip


def _one(name: str, select: str) -> str:
    rows = f"SELECT json_build_array({literal(name)}, coalesce((SELECT json_agg(to_json(q)) FROM ({select}) q), '[]'))"
    return (
        f"SAVEPOINT one;\n{rows};\n\\set refused :ERROR\n\\set why :LAST_ERROR_MESSAGE\nROLLBACK TO one;\n"
        f"\\if :refused\nSELECT json_build_array({literal(name)}, null, :'why');\n\\endif\n"
    )


def answers(said: str) -> dict[str, Answer]:
    """What psql printed, by the question's name."""
    found = {}
    for line in said.splitlines():
        if line.startswith("["):
            name, rows, *why = json.loads(line)
            found[name] = Answer(rows, why[0] if why else "")
    return found
