"""What keeps pgBackRest from working, named by its own words, with what helps: a stop, a lock, a label, a cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError

LOCKS = Path("/tmp/pgbackrest")  # noqa: S108 - where pgBackRest keeps its own, on every host
_PROC = Path("/proc")


class Stopped(AgentError):  # noqa: N818 - named after what is, as in the rest of the agents
    """Somebody ran `pgbackrest stop`, and nobody `start`."""


class OtherCluster(AgentError):  # noqa: N818
    """The repository is of another system identifier than the primary."""


def require_started(stanza: str, folder: Path = LOCKS) -> None:
    """Raises Stopped where this host was told to stop: it then takes no WAL from any host either."""
    for path in stops(stanza, folder):
        raise Stopped(
            f"pgBackRest was stopped on this host and not started again: {path} is there, so that no WAL is archived "
            "and no backup taken (stop file exists).",
            f"./dr mend-archive lifts it; by hand `{start(path)}` as postgres.",
        )


def stops(stanza: str, folder: Path = LOCKS) -> list[Path]:
    """The stop files that hold for this stanza."""
    return [path for name in (stanza, "all") if (path := folder / f"{name}.stop").exists()]


def start(stop: Path) -> str:
    """The command that takes a stop file away."""
    return "pgbackrest start" if stop.stem == "all" else f"pgbackrest --stanza={stop.stem} start"


def require_same_cluster(said: Sequence[Mapping[str, Any]], primary: str, system_id: int, stanza: str) -> None:
    """`said` is what `info` has of the stanza. Raises OtherCluster."""
    known = max((one for stanza_said in said for one in stanza_said.get("db") or ()), key=lambda one: one["id"])
    if int(known.get("system-id", system_id)) != system_id:
        raise OtherCluster(
            f"The repository is of the cluster with system identifier {known['system-id']}, and {primary} is of "
            f"another one, {system_id}: it archives nothing, and no backup in the repository is of it.",
            f"./dr restore-cluster where {primary} was begun anew by mistake; where it is meant to be, "
            f"`pgbackrest --stanza={stanza} stanza-upgrade` as postgres, and the old backups stay.",
        )


def refused(code: int, text: str, what: str, folder: Path = LOCKS, proc: Path = _PROC) -> AgentError:
    """Exit code and output of a pgBackRest that did not do `what` it was told, in one sentence that says who must act.

    `ERROR: [106]: new backup label '20261121-083000F' is not later than latest backup label '20270121-083000F'`
    """
    match = re.search(r"ERROR: \[(\d+)\]: (.*)", text)
    number, said = (int(match[1]), match[2].strip().rstrip(".")) if match else (code, f"it ended with {code}")
    sentence = f"pgBackRest took no {what}: {said}."
    if number == 106 or "is not later than latest backup label" in said:
        return AgentError(sentence, _ahead(said))
    if number == 62 or "stop file exists" in said:
        return Stopped(sentence, "./dr mend-archive lifts the stop that somebody gave pgBackRest.")
    if number == 50 or "unable to acquire lock" in said:
        return AgentError(sentence, _holder(said, folder, proc))
    if number in (28, 44, 51) or "do not match" in said:
        hint = "./dr backup.check names both clusters; the one that the repository is of is the one to restore."
        return OtherCluster(sentence, hint)
    if number == 82 or "was not archived before" in said:
        return AgentError(sentence, "./dr backup.check says why WAL does not arrive, ./dr mend-archive mends it.")
    if number == 26 or "unable to load" in said:
        return AgentError(sentence, "./dr backup.run --type verify names what is damaged; a full backup begins anew.")
    return AgentError(sentence, "The lines above say more; its log is in /var/log/pgbackrest.")


def _ahead(said: str) -> str:
    labels = re.findall(r"'(\d{8}-\d{6}F[^']*)'", said)
    label = labels[-1] if labels else "LABEL"
    return (
        f"A clock was ahead when {label} was taken, or is behind now. On the backup host, as postgres, "
        f"`pgbackrest --stanza=main --set={label} expire` lets it go, then remove its {label}.manifest.gz below "
        "backup.history; incremental backups are taken meanwhile."
    )


def _holder(said: str, folder: Path, proc: Path) -> str:
    """Who holds the lock that is named, by the kernel's own list: a file without a holder stops nobody."""
    match = re.search(r"'([^']+\.lock)'", said)
    path = Path(match[1]) if match else folder / "?"
    try:
        inode = path.stat().st_ino
        lines = (proc / "locks").read_text().splitlines()
        pids = {words[4] for line in lines if len(words := line.split()) > 5 and words[5].endswith(f":{inode}")}
        names = [f"process {pid} ({_command(pid, proc)})" for pid in sorted(pids) if pid.isdigit()]
    except OSError:
        names = []
    if not names:
        return f"Nobody holds {path} any more: run it again."
    return f"{' and '.join(names)} holds it; wait for its end, or `kill` it where its work is long gone."


def _command(pid: str, proc: Path) -> str:
    try:
        words = (proc / pid / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return "of another user"
    return " ".join(word.decode(errors="replace") for word in words if word)[:120]
