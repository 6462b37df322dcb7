"""Write a copy's rows into the live database: one transaction, which ends with us unless it was committed."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import dataclass

from inventories.errors import TargetFailed, TimedOut
from runbooks.hosts import Host
from runbooks.table_copy.names import literal
from runbooks.table_copy.source import gave_no_rows
from runbooks.table_copy.write import SESSION, closing, opening

_READY, _DONE = "ready to commit", "committed"


@dataclass(frozen=True)
class Written:
    """`xid` of the transaction and, by table and verb (inserted, updated, deleted), the rows it wrote."""

    xid: int
    rows: tuple[tuple[str, str, int], ...]


def write(host: Host, database: str, body: str, mark: str, timeout: float) -> Written:
    """Run `body` and commit it. psql waits for the commit on a pipe of ours: should this process or its connection
    end before, so does the transaction. Raises TargetFailed with the server's own error, or where nobody
    knows; TimedOut.
    """
    process = host.start("psql -qAtX -v ON_ERROR_STOP=1 -d %s", database, user="postgres")
    timer = threading.Timer(timeout, process.kill)
    timer.start()
    try:
        said, errors = _talk(process, f"{opening()}{body}{closing(mark)}\\echo {_READY}\n", "COMMIT;\n")
    finally:
        in_time = timer.is_alive()
        timer.cancel()
        process.kill()
        process.wait()
    if _DONE not in said:
        if _READY in said and "ERROR:" not in errors:
            raise TargetFailed(
                f"{host.name}: the line broke at the commit, and nobody can tell whether it was committed",
                "repeat with --resume: it looks for the mark that this run leaves with its rows",
            )
        if not in_time:
            raise TimedOut(f"{host.name}: writing took more than {timeout:.0f} s, and nothing was written")
        raise TargetFailed(f"{host.name}: nothing was written: {_telling(errors)}")
    return _written(said)


def _talk(process: subprocess.Popen[bytes], body: str, commit: str) -> tuple[list[str], str]:
    """Send the body; once it is done, and only then, the commit. Lines of output, and everything on standard error."""
    assert process.stdin and process.stdout and process.stderr
    errors: list[bytes] = []
    stderr = process.stderr
    listener = threading.Thread(target=lambda: errors.append(stderr.read()), daemon=True)
    listener.start()
    lines: list[str] = []
    try:
        process.stdin.write(body.encode())
        process.stdin.flush()
        for raw in process.stdout:
            lines.append(raw.decode(errors="replace").strip())
            if lines[-1] == _READY:
                process.stdin.write(f"{commit}\\echo {_DONE}\n".encode())
                process.stdin.close()
    except BrokenPipeError:  # psql has ended; what it said tells why
        lines += [raw.decode(errors="replace").strip() for raw in process.stdout]
    listener.join(5)
    return lines, b"".join(errors).decode(errors="replace")


def end_sessions(host: Host, database: str) -> None:
    """End writing sessions that an earlier run left; what they had not committed is undone."""
    host.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = {literal(SESSION)};", database
    )



def _written(said: list[str]) -> Written:
    xid = next(int(line.split()[1]) for line in said if line.startswith("xid "))
    found = (json.loads(line) for line in said if line.startswith('["'))
    return Written(xid, tuple((table, verb, count) for table, verb, count in found))


def _telling(errors: str) -> str:
    """The server's error and its detail."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    at = next((nr for nr, line in enumerate(lines) if "ERROR:" in line or "FATAL:" in line), None)
    if at is None:
        return lines[-1][:300] if lines else "the connection was lost"
    if gave_no_rows(lines[at]):
        return "the side cluster gave no rows; it was stopped, or lost a table"
    shown = [lines[at].partition("ERROR:")[2].strip() or lines[at]]
    shown += [line.partition("DETAIL:")[2].strip() for line in lines[at:] if line.startswith("DETAIL:")][:1]
    return " ".join(shown)[:400]
