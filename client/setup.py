"""Puts the programs that the deploy lays on the hosts (agents/) into the package, under the package's own name.

There is one copy of them in the repository. Installed as they are they would be a top-level package `agents`, which
others have too.
"""

import re
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

AGENTS = Path(__file__).resolve().parent.parent / "agents"
ROOMS = ("base", "client", "postgresql", "tdengine", "writing")
# An import, or the dotted name of a program in a string; a path has a slash, and an attribute a name before it.
NAMED = re.compile(r"(?<![\w./])agents(?=\.[a-z_]| import)")


class WithAgents(build_py):
    def run(self) -> None:
        super().run()
        target = Path(self.build_lib) / "mystocks_dr" / "agents"
        sources = [AGENTS / "__init__.py", *(path for room in ROOMS for path in sorted((AGENTS / room).rglob("*.py")))]
        if len(sources) < len(ROOMS) + 1:
            raise SystemExit(f"{AGENTS} is not there: build from the repository, or from where a deploy placed it.")
        for source in sources:
            placed = target / source.relative_to(AGENTS)
            placed.parent.mkdir(parents=True, exist_ok=True)
            placed.write_text(NAMED.sub("mystocks_dr.agents", source.read_text(encoding="utf-8")), encoding="utf-8")


setup(cmdclass={"build_py": WithAgents})
