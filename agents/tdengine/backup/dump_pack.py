"""A folder as one file and back: tar, zstd, openssl with the key of the other backups.

Nothing of ours is needed to open one:

    openssl enc -d -aes-256-ctr -pbkdf2 -iter 100000 -md sha256 -pass file:KEY < dump.tar.zst.enc | zstd -d | tar -x
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError
from agents.tdengine.backup.file import ENC, Broken

_CHUNK = 1 << 20
_HINT = "Take another dump, or use another one; was the key changed?"


def pack(folder: Path, target: Path, key: Path, level: int) -> dict[str, Any]:
    """Write everything in `folder` to the new file `target`: {"bytes", "sha256"}. Raises AgentError."""
    commands = [
        ["tar", "-C", str(folder), "-c", "."], ["zstd", "-q", f"-{level}", "-c"], [*ENC, "-pass", f"file:{key}"],
    ]  # fmt: skip
    children = _chain(commands, None)
    digest, size = hashlib.sha256(), 0
    try:
        with target.open("xb") as out:
            while chunk := _out(children[-1]).read(_CHUNK):
                digest.update(chunk)
                size += out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        _end(children)
        target.unlink(missing_ok=True)
        raise AgentError(f"{target} was not written: {error.strerror}.", "Make room on the backups' disk.") from error
    _judge(children, f"{target} was not written", "Make room on the backups' disk.")
    return {"bytes": size, "sha256": digest.hexdigest()}


def unpack(source: Path, folder: Path, key: Path, expected: dict[str, Any]) -> None:
    """Bring it back into `folder`. Raises Broken before anything is unpacked that is not what was written."""
    check(source, expected)
    _through(source, key, ["tar", "-C", str(folder), "-x", "--no-same-owner"])


def read(source: Path, key: Path, expected: dict[str, Any]) -> list[str]:
    """The names that it holds, read to its end. Raises Broken."""
    check(source, expected)
    return _through(source, key, ["tar", "-t"]).splitlines()


def check(source: Path, expected: dict[str, Any]) -> None:
    """Raises Broken when the file is not what was written."""
    try:
        with source.open("rb") as file:
            digest, size = hashlib.sha256(), 0
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise Broken(f"{source} cannot be read: {error.strerror}.", _HINT) from error
    if size != expected["bytes"]:
        raise Broken(f"{source} has {size} bytes instead of {expected['bytes']}.", _HINT)
    if digest.hexdigest() != expected["sha256"]:
        raise Broken(f"The content of {source} is not what was written.", _HINT)


def _through(source: Path, key: Path, last: list[str]) -> str:
    with source.open("rb") as file:
        children = _chain([[*ENC, "-d", "-pass", f"file:{key}"], ["zstd", "-q", "-d", "-c"], last], file)
        said = bytes(_out(children[-1]).read()).decode(errors="replace")
    _judge(children, f"{source} cannot be opened", _HINT)
    return said


def _chain(commands: Sequence[Sequence[str]], source: Any) -> list[subprocess.Popen[bytes]]:
    children: list[subprocess.Popen[bytes]] = []
    for command in commands:
        stdin = _out(children[-1]) if children else source or subprocess.DEVNULL
        children.append(subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        if len(children) > 1:
            _out(children[-2]).close()  # the next one's now
    return children


def _judge(children: Sequence[subprocess.Popen[bytes]], what: str, hint: str) -> None:
    """Raises Broken with the first reason that a program gave."""
    reasons = []
    for child in children:
        assert child.stderr is not None
        said = child.stderr.read().decode(errors="replace").strip().splitlines()
        if child.wait():
            reasons.append(said[-1] if said else f"{child.args!r} ended with {child.returncode}")
        child.stderr.close()
        _out(child).close()
    if reasons:
        raise Broken(f"{what}: {reasons[0]}.", hint)


def _end(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.kill()
        child.wait()


def _out(child: subprocess.Popen[bytes]) -> Any:
    assert child.stdout is not None
    return child.stdout
