"""README's tables: written by the commands that measure, each with a hash of the code that it measured.

A table stands between two marks such as `<!-- restores -->`, its first line says `<!-- code HASH -->`. `lint` compares
that hash with today's, so that a table older than its code is said to be.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from drills.benches.headline import Bench, Figure
from drills.evidence.statements import does
from drills.measuring.fingerprint import Fingerprint
from inventories.errors import BadInput

ROOT = Path(__file__).resolve().parents[2]
_LAYERS = ("agents", "deploys", "inventories", "runbooks", "templates")
_HASH = re.compile(r"<!-- code ([0-9a-f]{12}) -->")
_KINDS = (".py", ".yaml", ".j2", ".css")
_WRITING = (
    "agents/base/*", "agents/feed/*.py", "agents/writing/*", "agents/postgresql/store.py",
    "agents/postgresql/primary.py",
)  # fmt: skip
_PROVISIONING = (
    "deploys/*.py", "deploys/postgresql/*", "inventories/group_data/*", "templates/postgres*", "templates/pgbackrest*",
)  # fmt: skip
_ORDER = (
    "runbooks/engine/*", "runbooks/hosts.py", "runbooks/actions/postgresql/server.py", "runbooks/probes/app.py",
    "runbooks/probes/postgresql/server.py", "runbooks/procedures/postgresql/failover.py",
    "runbooks/procedures/checks.py", "runbooks/procedures/outbox.py", "runbooks/procedures/postgresql/gates.py",
    "runbooks/procedures/postgresql/roles.py", "runbooks/procedures/postgresql/*ing.py",
    "runbooks/procedures/postgresql/ahead.py", "runbooks/procedures/postgresql/fence_proof.py", "runbooks/begun.py",
    "runbooks/knock.py", "runbooks/record/*", "runbooks/probes/network.py", "runbooks/actions/postgresql/asking.py",
)  # fmt: skip
_RESTORING = ("agents/postgresql/side/*", "agents/postgresql/pgbackrest.py", "agents/postgresql/engines.py")


@dataclass(frozen=True)
class Page:
    """A table of the README: what measures it, and patterns of the files that decide its figures.

    A `*` matches any number of folders too. What matches one of `besides` decides nothing.
    """

    command: str
    code: tuple[str, ...]
    besides: tuple[str, ...] = ()


PAGES: Mapping[str, Page] = {
    "measured": Page(
        "./dr bench --runs 20 --image --readme",
        (*_WRITING, *_PROVISIONING, *_ORDER, "agents/guard/*", "runbooks/procedures/postgresql/switchover.py",
         "runbooks/procedures/postgresql/detach.py"),
    ),
    "restores": Page(
        "./dr bench --restore --readme",
        (*_RESTORING, *_PROVISIONING, "runbooks/engine/*", "runbooks/table_copy/*",
         "runbooks/actions/postgresql/restore.py", "runbooks/procedures/postgresql/*restore*",
         "runbooks/procedures/postgresql/pitr*"),
    ),
    "tdengine": Page(
        "./dr bench --tdengine --readme",
        ("agents/tdengine/*", *_WRITING, "deploys/tdengine/*", "templates/tdengine/*"),
        # They write to PostgreSQL, and are no feed.
        besides=("agents/writing/write_probe.py", "agents/writing/watch.py"),
    ),
    "client": Page("./dr bench --client --readme", (*_WRITING, "agents/client/*")),
    "watch": Page(
        "./dr bench --watch --runs 20 --readme", (*_ORDER, "runbooks/watch/*", "agents/watch/*", "agents/guard/*"),
    ),
    "validation": Page(
        "./dr bench --validation --readme",
        ("runbooks/validation/hashing.py", "runbooks/table_copy/rowchain.py", "runbooks/validation/questions.py",
         "runbooks/table_copy/rowhash.py", "runbooks/table_copy/shape.py"),
    ),
    "figures": Page("./dr bench --gate --record", (*_WRITING, *_PROVISIONING, *_ORDER, *_RESTORING)),
}  # fmt: skip


def files(page: Page, root: Path = ROOT) -> dict[str, tuple[Path, ...]]:
    """What each pattern of a page matches."""
    there = [
        (path.relative_to(root).as_posix(), path)
        for layer in _LAYERS
        for path in sorted((root / layer).rglob("*"))
        if path.suffix in _KINDS
    ]
    there = [(name, path) for name, path in there if not any(fnmatch(name, pattern) for pattern in page.besides)]
    return {
        pattern: tuple(path for name, path in there if fnmatch(name, pattern))
        for pattern in page.code
    }


def code_hash(page: Page, root: Path = ROOT) -> str:
    """Of what those files do, wherever they lie: their names, their imports, comments and docstrings are no part of it.

    Raises BadInput where a pattern matches nothing.
    """
    matched = files(page, root)
    empty = [pattern for pattern, paths in matched.items() if not paths]
    if empty:
        hint = "the patterns stand in drills/benches/pages.py"
        raise BadInput(f"no file is {empty[0]}, so that a table would be measured with nothing", hint)
    paths = {path for found in matched.values() for path in found}
    each = sorted(hashlib.sha256(does(path).encode()).hexdigest() for path in paths)
    return hashlib.sha256("\n".join(each).encode()).hexdigest()[:12]


def outdated(text: str, root: Path = ROOT) -> tuple[str, ...]:
    """A sentence for each table of a page that was not measured with today's code, and what measures it again."""
    return tuple(
        f"README.md: the table `{name}` {why}; `{page.command}` measures it again."
        for name, page in PAGES.items()
        if (why := _why(text, name, page, root))
    )


def _why(text: str, name: str, page: Page, root: Path) -> str:
    if text.count(mark(name)) != 2:
        return f"is missing: it stands between two marks {mark(name)}"
    said = _HASH.search(text.split(mark(name))[1])
    if said is None:
        return "does not say which code it was measured with"
    return "" if said[1] == code_hash(page, root) else "was measured with other code than this"


def mark(name: str) -> str:
    return f"<!-- {name} -->"


def write(path: Path, name: str, body: str, root: Path = ROOT) -> None:
    """Put a table between its two marks, with the hash of today's code. Raises BadInput when they are not there."""
    text = path.read_text(encoding="utf-8")
    if text.count(mark(name)) != 2:
        raise BadInput(f"{path} has not two marks {mark(name)}", "the table goes between them")
    before, _, after = text.split(mark(name))
    said = f"{mark(name)}\n<!-- code {code_hash(PAGES[name], root)} -->\n{body}{mark(name)}"
    path.write_text(f"{before}{said}{after}", encoding="utf-8")


def table(title: str, figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table: the median, the worst where there were several, the target."""
    lines = [f"| {title} | measured | target |", "|---|---|---|"]
    for figure in figures:
        several = f"; {_text(figure, figure.worst)} at worst" if len(figure.values) > 2 else ""
        least = "at least " if figure.at_least else ""
        limit = "" if figure.target is None else f"{least}{_text(figure, figure.target)}"
        lines.append(f"| {figure.name} | {_text(figure, figure.median)}{several} | {limit} |")
    return "\n".join(lines) + "\n"


def page(title: str, bench: Bench, machine: Fingerprint, on: str) -> str:
    """The table, and below it what it was measured with."""
    versions = ", ".join(f"{name} {number}" for name, number in sorted(bench.versions.items()))
    shown = f"{machine.cores} cores, {machine.memory_gib:g} GiB, {machine.container_engine}"
    return f"{table(title, bench.figures)}\n{on}, {shown}; {versions or 'versions unknown'}.\n"


def _text(figure: Figure, value: float) -> str:
    digits = 2 if figure.unit == "times" else 1 if figure.unit in ("s", "GiB") else 0
    return f"{value:,.{digits}f} {figure.unit}".strip()
