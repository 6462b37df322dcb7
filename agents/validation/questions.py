"""Ask TDengine many questions in one session, each for itself: one that is refused ends no other. Reads only.

    python3 -m agents.validation.questions [--config FILE] < {NAME: {"sql": "SELECT ...", "pick": "SELECT ..."}}

`pick` goes first, if there is one: the values of its first row stand in `sql` for {0}, {1} ..., and {0:-60} for a
number less 60; without a row there is nothing to ask. `rows`: so many of the answer are brought, none by default.
Prints {NAME: {"n": rows, "ms": of `sql` alone, "rows": the first ones, "why": what the server said}}; `n` and `ms` are
null where it refused, `ms` where nothing was asked. Exit codes: 0, also where all is refused, 1 nobody answers, 2 what
came is no such thing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from agents.base.errors import run
from agents.tdengine.session import TdengineError
from agents.tdengine.sql import quoted
from agents.validation.asked import Asked, BadRequest, answer

Json = dict[str, Any]


class _Number(int):
    """A number in a statement; a number behind its colon is added."""

    def __format__(self, more: str) -> str:
        return str(int(self) + int(more or 0))


def answers(session: Asked, questions: Any, clock: Callable[[], float] = time.monotonic) -> dict[str, Json]:
    """Raises BadRequest."""
    if not isinstance(questions, dict) or not all(map(_is_question, questions.values())):
        raise BadRequest("Questions are asked by name, each with sql that begins with SELECT.")
    return {name: _answer(session, one, clock) for name, one in questions.items()}


def _is_question(one: Any) -> bool:
    """Nothing but queries: the session's account may write."""
    if not isinstance(one, dict):
        return False
    texts = (one.get("sql"), one.get("pick") or "SELECT")
    return all(isinstance(text, str) and text.startswith("SELECT") for text in texts)


def _answer(session: Asked, one: Json, clock: Callable[[], float]) -> Json:
    try:
        sql = one["sql"]
        if one.get("pick"):
            picked = session.rows(one["pick"])
            if not picked or None in picked[0]:
                return {"n": 0, "ms": None, "rows": [], "why": ""}
            sql = sql.format(*map(_literal, picked[0]))
        began = clock()
        rows = session.rows(sql)
        took = clock() - began
    except TdengineError as error:
        return {"n": None, "ms": None, "rows": [], "why": str(error)}
    return {"n": len(rows), "ms": took * 1000, "rows": rows[: int(one.get("rows") or 0)], "why": ""}


def _literal(value: Any) -> Any:
    return _Number(value) if isinstance(value, int) else quoted(str(value))


def main(arguments: Sequence[str] | None = None) -> int:
    return answer("agents.validation.questions", "Ask TDengine questions.", answers, arguments)


if __name__ == "__main__":
    sys.exit(run(main))
