"""What a file of code does, as a hash: wherever it lies, and whatever its comments and docstrings say."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path


def does(path: Path) -> str:
    """Its statements as text; of what is no Python all of it."""
    text = path.read_text(encoding="utf-8")
    return "\n".join(_statements(text)) if path.suffix == ".py" else text


def digest(text: str | bytes) -> str:
    """The first 12 digits of its SHA-256: enough to tell one version from the next."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:12]


def _statements(source: str) -> Iterator[str]:
    """Lines of Python that do something. Cut out as text: how a tree is printed differs between Pythons."""
    told: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            told.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                told.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    for number, line in enumerate(source.splitlines(), 1):
        if number not in told and line.strip() and not line.lstrip().startswith("#"):
            yield line.rstrip()
