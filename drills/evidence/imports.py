"""Which files of ours a module is made of: what it imports, and what that imports, told from their text."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def imports(name: str, path: Path) -> Iterator[str]:
    """Every module that the file imports, also inside functions; relative ones made absolute."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def closure(modules: Iterable[str], packages: frozenset[str], root: Path = ROOT) -> set[Path]:
    """The files of these modules and of all that they import, as far as it lies in one of the packages."""
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _file(name, root) if name.partition(".")[0] in packages else None
        if path and path not in found:
            found.add(path)
            waiting += imports(_module(path, root), path)
    return found


def _file(name: str, root: Path) -> Path | None:
    """Where a module lies; of a name within one, the module's own."""
    parts = name.split(".")
    for stem in (root.joinpath(*parts), root.joinpath(*parts[:-1])):
        for path in (stem.with_suffix(".py"), stem / "__init__.py"):
            if path.is_file():
                return path
    return None


def _module(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
