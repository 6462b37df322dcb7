"""A TDengine server of our own for a while: on this host, with its own folder and port, removed afterwards.

It can be reached from elsewhere as any TDengine server can: its password is changed to a random one before it holds
a row.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.base.errors import AgentError
from agents.tdengine.session import Session, Settings, TdengineError

PROGRAM = Path("/opt/tdengine/current/bin/taosd")
PORT = 16030
_READY_S = 60.0
_STOP_S = 20.0
_DEFAULT = "taosdata"
_CONFIG = """\
fqdn localhost
firstEp localhost:{port}
serverPort {port}
dataDir {folder}/data
logDir {folder}/log
tempDir {folder}/tmp
timezone UTC
charset UTF-8
locale C.UTF-8
telemetryReporting 0
crashReporting 0
monitor 0
enableCoreFile 0
supportVnodes 64
logKeepDays 1
"""


@contextmanager
def server(folder: Path, port: int = PORT) -> Iterator[Settings]:
    """How the server is reached, as root. `folder` must be ours alone. Raises AgentError when it does not start."""
    if not PROGRAM.exists():
        raise AgentError(f"{PROGRAM} is not there.", "Name tdengine_package in the inventory, and deploy this host.")
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("data", "log", "tmp"):
        (folder / part).mkdir(parents=True, mode=0o700)
    (folder / "taos.cfg").write_text(_CONFIG.format(port=port, folder=folder))
    passfile = folder / "password"
    with os.fdopen(os.open(passfile, os.O_WRONLY | os.O_CREAT, 0o600), "w") as out:
        out.write(f"Aa1-{secrets.token_urlsafe(16)}")  # TDengine wants three kinds of characters
    with (folder / "output").open("wb") as out:
        child = subprocess.Popen([PROGRAM, "-c", folder], stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        settings = Settings((("localhost", port),), "root", passfile, "")
        _secure(settings, child, folder)
        yield settings
    finally:
        child.terminate()
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _secure(settings: Settings, child: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + _READY_S
    while True:
        try:
            with Session(settings, password=_DEFAULT) as session:
                if not session.rows("SELECT id FROM information_schema.ins_dnodes WHERE status = 'ready'"):
                    raise TdengineError("it is not ready yet", "")
                session.execute(f"ALTER USER root PASS '{settings.passfile.read_text()}'")
                return
        except TdengineError as error:
            if child.poll() is not None or time.monotonic() > end:
                raise AgentError(f"The proof's server did not start: {error}.", "Is its port free?") from error
            time.sleep(0.2)
