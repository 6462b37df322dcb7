"""Puts the programs that the deploy lays on the hosts (agents/) into the package, under the package's own name.

There is one copy of them in the repository. Installed as they are they would be a top-level package `agents`, which
others have too.
"""

import ast
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent.parent
# What the package itself imports, and the program that holds a session with TDengine.
ENTRANCES = ("agents.client", "agents.client.takeover", "agents.tdengine.worker", "agents.tracker.batches")
# An import, or the dotted name of a program in a string; a path has a slash, and an attribute a name before it.
NAMED = re.compile(r"(?<![\w./])agents(?=\.[a-z_]| import)")


def source(module: str) -> Path:
    """Its file. Raises SystemExit where the agents do not lie beside this folder."""
    path = ROOT.joinpath(*module.split("."))
    found = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not found.is_file():
        raise SystemExit(f"{found} is not there: build from the repository, or where a deploy placed it.")
    return found


def imported(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports, with the packages around them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            path_to = ROOT.joinpath(*name.split("."))
            if name.startswith("agents.") and (path_to.is_dir() or path_to.with_suffix(".py").is_file()):
                yield name


def needed() -> dict[str, Path]:
    """Every module that the entrances lead to."""
    found: dict[str, Path] = {}
    waiting = [*ENTRANCES]
    while waiting:
        name = waiting.pop()
        for module in (name, *(name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1))):
            if module not in found:
                found[module] = source(module)
                waiting += imported(found[module])
    return found


class WithAgents(build_py):
    def run(self) -> None:
        super().run()
        package = Path(self.build_lib) / "mystocks_dr"
        own = {path: package / path.name for path in (Path(__file__).resolve().parent / "mystocks_dr").glob("*.py")}
        for path, placed in {**own, **{path: package / path.relative_to(ROOT) for path in needed().values()}}.items():
            placed.parent.mkdir(parents=True, exist_ok=True)
            placed.write_text(NAMED.sub("mystocks_dr.agents", path.read_text(encoding="utf-8")), encoding="utf-8")


# Nothing is left beside the sources: on a host they are root's, and a deploy would bring what lies there.
with tempfile.TemporaryDirectory() as made:
    setup(cmdclass={"build_py": WithAgents}, options={"build": {"build_base": made}, "egg_info": {"egg_base": made}})
