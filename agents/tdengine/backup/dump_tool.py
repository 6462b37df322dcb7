"""taosdump, TDengine's own dump tool, as the second engine calls it.

It ends with 0 also when it dumped nothing, and mixes what went wrong with what went on: its count of rows is what it is
judged by. The password goes to its standard input.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from agents.base.errors import AgentError
from agents.tdengine.session import CLIENT_CONFIG, Settings

PROGRAM = Path("/opt/tdengine/current/bin/taosdump")
_OUT, _IN = re.compile(r"(\d+) row\(s\) dumped out!"), re.compile(r"OK: (\d+) row\(s\) dumped in!")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
RESULT = "dump_result.txt"  # left where it is started
_ROOM = 8 << 20  # with less than that a disk is full, whatever taosdump says
_KNOCK_S = 2.0
_NOISE = "attribution of the terminal"


def out(server: Settings, database: str, folder: Path, scratch: Path, only: Sequence[str] = ()) -> int:
    """Dump a database, or `only` these tables of it, into the new empty `folder`; the rows it says it dumped.

    Raises AgentError.
    """
    folder.mkdir(mode=0o700)
    said = _run(server, ["-o", str(folder), *([database, *only] if only else ["-D", database])], scratch)
    return _counted(_OUT, said, f"dumped no row of {database}")


def into(server: Settings, folder: Path, database: str, target: str, scratch: Path) -> int:
    """Write the dump in `folder`, which is of `database`, into `target`; the rows it says it wrote."""
    renamed = ["-W", f"{database}={target}"] if target != database else []
    said = _run(server, ["-i", str(folder), *renamed], scratch)
    return _counted(_IN, said, f"wrote no row into {target}")


def _run(server: Settings, words: Sequence[str], scratch: Path) -> str:
    """Its output."""
    if not PROGRAM.exists():
        raise AgentError(f"{PROGRAM} is not there.", "./dr deploy puts TDengine's programs on this host.")
    name, port = _listening(server)
    threads = str(max(2, os.cpu_count() or 2))
    command = [
        str(PROGRAM), "-h", name, "-P", str(port), "-u", server.user, "-p", "-c", str(CLIENT_CONFIG), "-T", threads,
        *words,
    ]  # fmt: skip
    password = server.passfile.read_text(encoding="utf-8").strip()
    done = subprocess.run(
        command, input=f"{password}\n", capture_output=True, text=True, errors="replace", check=False, cwd=scratch
    )
    said = _COLOURS.sub("", done.stdout + done.stderr)
    wrong = [line.strip() for line in said.splitlines() if "ERROR" in line and _NOISE not in line]
    if done.returncode or wrong:
        if shutil.disk_usage(scratch).free < _ROOM:
            raise AgentError(f"{scratch.parent} has no room left for a dump.", "Make room there; nothing was kept.")
        why = (wrong or [f"it ended with {done.returncode}"])[0].removeprefix("ERROR:").strip()
        raise AgentError(f"taosdump failed: {why[:300]}.", "Is there room on the disk, and does TDengine answer?")
    return said


def _listening(server: Settings) -> tuple[str, int]:
    """The first node that answers; taosdump would try for ever."""
    for node in server.nodes:
        try:
            socket.create_connection(node, _KNOCK_S).close()
        except OSError:
            continue
        return node
    names = ", ".join(name for name, _ in server.nodes)
    raise AgentError(f"No TDengine node answers ({names}).", "Does taosd run there?")


def _counted(pattern: re.Pattern[str], said: str, otherwise: str) -> int:
    found = pattern.findall(said)
    if not found or int(found[-1]) == 0:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        last = lines[-1][:200] if lines else "it said nothing"
        raise AgentError(f"taosdump {otherwise}: {last}.", "An empty dump would look like a backup.")
    return int(found[-1])
