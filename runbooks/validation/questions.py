"""SQL that asks a database many questions in one snapshot: each for itself, so that one which fails ends no other.

An answer is a line of JSON: [name, rows], or [name, null, why] where the server refused the question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runbooks.table_copy.names import literal
from runbooks.table_copy.source import plain_settings

# One processor of the host, and that when nobody else wants it: the server's process is the parent of the program's
# shell. Where it may not be done the questions are asked all the same. Not on a standby: whoever reads there slowly
# holds its replay up for longer.
_AFTER_OTHERS = (
    "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; renice -n 10 -p $PPID >/dev/null 2>&1; "
    "ionice -c 3 -p $PPID 2>/dev/null; true';\n"
)
_SETTINGS = (
    "SET max_parallel_workers_per_gather = 0;\nSET work_mem = '64MB';\nSET statement_timeout = 0;\n"
    "SET lock_timeout = '30s';\n"
)
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n"
_ONLY_READ = "SET default_transaction_read_only = on;\n"
_GO_ON = "\\set ON_ERROR_STOP off\n"


@dataclass(frozen=True)
class Answer:
    """`rows` is None where the server refused the question, `why` what it said."""

    rows: list[dict[str, Any]] | None
    why: str = ""


def script(questions: Mapping[str, str], session: str, snapshot: bool = True) -> str:
    """Statements for psql, each question a SELECT. Without `snapshot` each sees what was committed when it began."""
    before = plain_settings() + _SETTINGS + f"SET application_name = {literal(session)};\n"
    text = "".join(_one(name, select, snapshot) for name, select in questions.items())
    if snapshot:
        return f"{before}{_AFTER_OTHERS}{SNAPSHOT}{_GO_ON}{text}ROLLBACK;\n"
    return f"{before}{_ONLY_READ}{_GO_ON}{text}"


def _one(name: str, select: str, snapshot: bool) -> str:
    rows = f"SELECT json_build_array({literal(name)}, coalesce((SELECT json_agg(to_json(q)) FROM ({select}) q), '[]'))"
    begin, end = ("SAVEPOINT one;\n", "ROLLBACK TO one;\n") if snapshot else ("", "")
    return (
        f"{begin}{rows};\n\\set refused :ERROR\n\\set why :LAST_ERROR_MESSAGE\n{end}"
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
