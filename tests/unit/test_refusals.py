"""docs/refusals.md has every sentence that restore-table refuses with, as the code says them."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator

import pytest

from runbooks.procedures.postgresql import beside, pitr_target, restore_table, table_copy, table_plan, targets
from runbooks.table_copy import counts, fit
from tests.torture import refusals

MODULES = (restore_table, table_plan, table_copy, pitr_target, targets, beside.chosen, beside.socket_of)
SAID = (
    counts.orphaned, counts.bereaved, counts.collided, counts.chosen_live, table_plan._unlike,
    table_plan._other_key, fit._needs,
)  # fmt: skip
LEFT_OUT = ("--swap renames", "… …: replacing would delete them")  # of restore-pitr alone; what chosen_live begins


def page() -> list[str]:
    return re.findall(r"^\| \.\.\. (.*?) \.\.\. \|", refusals.PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def sentence(node: ast.AST) -> str:
    """Its constant parts, with a sign for what stands between them."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(sentence(part) for part in node.values)
    return "…"


def read(thing: object) -> ast.Module:
    return ast.parse(inspect.getsource(thing))  # type: ignore[arg-type]


def raised() -> Iterator[str]:
    """What Refused and BadInput are made with."""
    for module in MODULES:
        for node in ast.walk(read(module)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Refused", "BadInput"):
                yield sentence(node.args[0])


def said_by(function: Callable[..., str]) -> Iterator[str]:
    """What a function answers that such a sentence is made of."""
    for node in ast.walk(read(function)):
        if isinstance(node, ast.Return) and node.value is not None:
            for part in ast.walk(node.value):
                if isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and len(str(part.value)) > 30):
                    yield sentence(part)


def fitted() -> Iterator[str]:
    for node in ast.walk(read(fit.fit)):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "refused":
            yield from (sentence(part) for part in ast.walk(node.value) if isinstance(part, ast.JoinedStr))


def every() -> list[str]:
    found = [*raised(), *(line for function in SAID for line in said_by(function)), *fitted()]
    return sorted({line for line in found if re.search("[a-z]", line) and not line.startswith(LEFT_OUT)})


def test_sentences_are_found_where_they_are_said() -> None:
    assert len(every()) > 40
    assert any("had no rows at that point" in line for line in every())
    assert any("is unlogged" in line for line in every())


@pytest.mark.parametrize("line", every())
def test_the_page_has_whatever_is_refused(line: str) -> None:
    assert [reason for reason in page() if reason in line], f"docs/refusals.md says nothing of: {line}"


def test_the_page_has_no_sentence_that_nobody_says() -> None:
    told = "\n".join(every())
    assert [reason for reason in page() if reason not in told] == []
