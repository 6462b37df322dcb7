"""A folder of ours on a host, file for file: one question to the host, and one answer when anything differs.

pyinfra's own files.sync asks several times for each file, which is most of a deploy that changes nothing.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path

from pyinfra import host
from pyinfra.api import FactBase, QuoteString, StringCommand, operation

_ASK = """
cd "$1" 2>/dev/null || exit 0
find . -name __pycache__ -prune -o -printf '%P|%y|%m|%u\\n'
find . -name __pycache__ -prune -o -type f -exec sha256sum {} +
"""
# The new tree is whole before the old one goes, and whoever runs from the old one keeps its open files.
_BRING = """
set -e
rm -rf "$1.new" "$1.old"
mkdir -m 0755 "$1.new"
base64 -d | tar -xz --no-same-owner -C "$1.new"
test ! -e "$1" || mv "$1" "$1.old"
mv "$1.new" "$1"
rm -rf "$1.old"
"""


class Tree(FactBase[dict[str, str]]):
    """What is in a folder: relative path -> `d|755|root` or `f|644|root|SHA-256`; empty when it is not there."""

    default = dict

    def command(self, path: str) -> StringCommand:
        return StringCommand("sh", "-c", QuoteString(_ASK), "sh", QuoteString(path))

    def process(self, output: Iterable[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for line in output:
            if "|" in line:
                name, _, known = line.strip().partition("|")
                found[name] = known
            else:
                digest, _, name = line.strip().partition("  ")
                found[name.removeprefix("./")] += f"|{digest}"
        return found


def wanted(source: Path, only: Sequence[str] = ()) -> dict[str, str]:
    """The same of a folder of this repository, as it is to be on a host; compiled files are no part of it.

    `only`: the files and folders in it that are, where not all are.
    """
    found = {"": "d|755|root"}
    for path in _files(source, only):
        name = path.relative_to(source)
        found |= {str(parent): "d|755|root" for parent in name.parents if str(parent) != "."}
        found[str(name)] = f"f|644|root|{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return found


def packed(source: Path, only: Sequence[str] = ()) -> str:
    """The folder as a tar archive in text: commands take nothing else on their standard input."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for path in _files(source, only):
            info = tarfile.TarInfo(str(path.relative_to(source)))
            info.size, info.mode = path.stat().st_size, 0o644
            with path.open("rb") as content:
                archive.addfile(info, content)
    return base64.encodebytes(made.getvalue()).decode()


def _files(source: Path, only: Sequence[str]) -> Iterator[Path]:
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        chosen = not only or any(name.is_relative_to(one) for one in only)
        if chosen and path.is_file() and "__pycache__" not in path.parts:
            yield path


@operation()
def tree(src: str, dest: str, only: Sequence[str] = ()) -> Generator[StringCommand, None, None]:
    """Make `dest` the same as `src`, everything in it root's, readable by all, and nothing else in it. Runs as root.

    `only`: the files and folders of `src` that are brought, where not all are.
    """
    source = Path(src)
    if host.get_fact(Tree, path=dest) == wanted(source, only):
        host.noop("it is the same")
        return
    script = QuoteString(f"umask 022; {_BRING}")
    yield StringCommand("sh", "-c", script, "sh", QuoteString(dest), _stdin=packed(source, only))
