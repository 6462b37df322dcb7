"""One program deletes, overwrites, fills, swaps or moves a PostgreSQL data directory: no other source has the means.

Searched are calls (`shutil.rmtree`, `.rename(`) and texts that reach a shell or a list of arguments. What a page tells
a person to do by hand, and sentences, are no code. Whatever else is made and removed is named here with the reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SEARCHED = ("agents", "deploys", "runbooks")
THE_ONE = "agents/postgresql/directory/"
# Nothing of PostgreSQL's own lies on a host of these.
ELSEWHERE = ("tdengine", "agents/offsite/", "runbooks/escrow/")

_CALLS = {"rmtree", "move", "copytree", "renames", "removedirs", "rmdir"}
_RENAMES = {"rename", "replace"}  # of Path: one argument and no other
_TEXTS = {
    "rm -r": r"\brm\s+(?:-\w+\s+)*-\w*[rR]|^rm$",
    "mv": r"\bmv\s|^mv$",
    "find -delete": r"\s-delete\b|^-delete$",
    "rsync": r"\brsync\b",
    "rmdir": r"\brmdir\b",
    "rm postmaster.pid": r"\brm\b.*postmaster\.pid",
    "pgbackrest restore": r"\bpgbackrest\s.*\brestore\b(?!\.)|^restore$",
    **{
        name: rf"(?:^|[\s/}}]){name}(?:$|\s)"
        for name in (
            "pg_basebackup", "pg_rewind", "pg_combinebackup", "pg_resetwal", "pg_createcluster", "pg_dropcluster",
            "pg_upgrade", "initdb",
        )
    },
}
# Sentences are told from commands by where they stand: these words of a call are read by people.
_FOR_PEOPLE = {"name", "commands", "says", "hint", "purpose", "summary", "help", "undo_says", "when_says", "what"}

# file -> (what is found there, why that is no data directory, or only looked at)
ALLOWED: dict[str, tuple[set[str], str]] = {
    "agents/base/files.py": ({"rename()", "replace()"}, "files, and folders of ours that were just made"),
    "agents/guard/record.py": ({"replace()"}, "the estate record"),
    "agents/guard/start_guard.py": ({"replace()"}, "the claim to an unfinished restore"),
    "agents/monitor/backup.py": (
        {"pgbackrest restore", "rmtree()"}, "the verb of its own command; dumps of the monitoring database",
    ),
    "agents/monitor/shipping.py": ({"replace()"}, "segments of its own spool"),
    "agents/monitor/spool.py": ({"rename()"}, "a segment of its own spool"),
    "agents/postgresql/engines.py": ({"pgbackrest restore"}, "into the new, empty directory of a side cluster"),
    "agents/postgresql/native.py": ({"pg_basebackup", "rmtree()"}, "native backups on the backup host"),
    "agents/postgresql/side/cluster.py": ({"pgbackrest restore"}, "the verb of its own command"),
    "agents/postgresql/side/place.py": ({"rmtree()"}, "the folder beside a side cluster: settings, log, socket"),
    "agents/postgresql/side/release.py": ({"rmtree()"}, "the same folder"),
    "agents/sqlite/copying.py": ({"rename()"}, "a copy of an SQLite file"),
    "agents/sqlite/placing.py": ({"rename()"}, "small files of ours"),
    "agents/sqlite/scripts.py": ({"pgbackrest restore"}, "the verb of its own command"),
    "agents/sqlite/shelf.py": ({"rename()", "rmtree()"}, "what was received of an SQLite database, on the backup host"),
    "agents/sqlite/swap.py": ({"rename()", "rmtree()"}, "an SQLite file, its sidecars, and our own folder beside it"),
    "deploys/outliving.py": ({"rm -r"}, "what a unit left"),
    "deploys/placed.py": ({"mv"}, "small files of ours"),
    "deploys/postgresql/operations.py": (
        {"find -delete", "initdb", "pg_createcluster"},
        "pg_wal/summaries; a new cluster, which neither program makes where anything lies",
    ),
    "deploys/tree.py": ({"rm -r", "mv"}, "a folder of our own programs"),
    "runbooks/actions/offsite.py": ({"mv", "pgbackrest restore"}, "the repository, by the verb of the off-site copies"),
    "runbooks/actions/postgresql/asking.py": ({"mv", "rm -r"}, "what the archive has answered, below /run"),
    "runbooks/actions/postgresql/directory.py": ({"pgbackrest restore"}, "the verb of the one program"),
    "runbooks/actions/postgresql/permit.py": ({"mv"}, "the permit of one start"),
    "runbooks/actions/postgresql/promotion.py": ({"find -delete"}, "pg_wal/summaries"),
    "runbooks/actions/postgresql/restore.py": ({"pgbackrest restore"}, "the kind of a unit"),
    "runbooks/actions/postgresql/server.py": ({"mv", "rm -r"}, "archive_status; a copy of WAL that was kept"),
    "runbooks/actions/sqlite/restore.py": ({"pgbackrest restore"}, "the kind of a unit"),
    "runbooks/actions/postgresql/side.py": ({"pgbackrest restore"}, "the verb of the side clusters' program"),
    "runbooks/alarms/spool.py": ({"rename()"}, "the spool of alarms"),
    "runbooks/files.py": ({"replace()"}, "small files of ours: baselines, signs of life, what the watch saw"),
    "runbooks/engine/lock.py": ({"replace()"}, "the operator's own lock file"),
    "runbooks/engine/runner.py": ({"rmdir()"}, "an empty run directory of the operator's"),
    "runbooks/judge/feasibility.py": ({"pgbackrest restore"}, "the name of a rate"),
    "runbooks/look/measurements.py": ({"pgbackrest restore"}, "the name of a step in a journal"),
    "runbooks/long_work/scripts.py": ({"mv", "rm -r"}, "what a unit left: its words and its outcome"),
    "runbooks/monitoring/shipping.py": ({"pgbackrest restore"}, "the verb of the monitoring database's own backup"),
    "runbooks/procedures/postgresql/rejoin.py": ({"pg_rewind"}, "what the journal calls it"),
    "runbooks/record/breaking.py": ({"rmdir()"}, "an empty run directory of the operator's"),
}


def sources() -> Iterator[tuple[str, str]]:
    for folder in SEARCHED:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if not name.startswith(THE_ONE) and not any(part in name for part in ELSEWHERE):
                yield name, path.read_text()


def means(source: str) -> set[str]:
    """What in it could delete, overwrite or move a directory."""
    tree = ast.parse(source)
    for_people = {
        id(inner)
        for node in ast.walk(tree)
        for part in _parts_for_people(node)
        for inner in ast.walk(part)
    }
    # An f-string is one text: its parts alone would hide what it says.
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    found = set()
    for node in ast.walk(tree):
        if id(node) in for_people or id(node) in parts:
            continue
        if isinstance(node, (ast.Constant, ast.JoinedStr)):
            text = _text(node)
            found |= {name for name, pattern in _TEXTS.items() if re.search(pattern, text, re.DOTALL)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func.attr
            if name in _CALLS or (name in _RENAMES and len(node.args) == 1 and not node.keywords):
                found.add(f"{name}()")
    return found


def _text(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def _parts_for_people(node: ast.AST) -> Iterator[ast.AST]:
    """Docstrings, errors that are raised, and arguments that pages and screens show."""
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
        yield node.body[0]
    if isinstance(node, ast.Raise) and node.exc is not None:
        yield node.exc
    if isinstance(node, ast.Call):
        yield from (word.value for word in node.keywords if word.arg in _FOR_PEOPLE)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "say":
            yield from node.args
        if isinstance(node.func, ast.Name) and node.func.id in ("Evidence", "Gate", "Refused", "AgentError", "Finding"):
            yield from node.args


def test_no_other_source_could_delete_or_move_a_data_directory() -> None:
    found = {name: means(text) for name, text in sources()}
    assert len(found) > 150, "too few sources: nothing was searched"
    others = {name: what - ALLOWED.get(name, (set(), ""))[0] for name, what in found.items()}
    assert {name: sorted(what) for name, what in others.items() if what} == {}


def test_what_is_allowed_is_still_there_and_has_a_reason() -> None:
    found = {name: means(text) for name, text in sources()}
    stale = {name: what - found.get(name, set()) for name, (what, _) in ALLOWED.items()}
    assert {name: what for name, what in stale.items() if what} == {}
    assert all(reason for _, reason in ALLOWED.values())


@pytest.mark.parametrize(
    "source",
    [
        'host.run("rm -rf %s", layout.data)', 'host.run("cd x; rm -f -r main")', 'host.run("mv main aside")',
        'StringCommand("rm", "-rf", data)', 'host.run("find %s -mindepth 1 -delete", data)', "shutil.rmtree(data)",
        "from pathlib import Path\nPath(data).rename(aside)", 'host.run(f"pgbackrest --stanza={s} --delta restore")',
        'run(["pgbackrest", "--delta", "restore"])', 'host.run("pg_rewind -D x")', 'host.run("rm -f x/postmaster.pid")',
        'f(commands=("mv a b",), script="mv a b")', "data.replace(other)",
    ],
)  # fmt: skip
def test_a_second_deleter_is_caught(source: str) -> None:
    assert means(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""Runs mv on it."""', 'Step(commands=("mv main aside",))', 'raise Refused("rm -rf it by hand")',
        'text.replace("a", "b")', "replace(state, primary=1)", "dataclasses.replace(x, a=1)",
        'Evidence("pg_rewind ran")',
    ],
)  # fmt: skip
def test_what_people_read_is_no_second_deleter(source: str) -> None:
    assert not means(source)
