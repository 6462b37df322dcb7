"""Decide whether PostgreSQL may start on this host: run by systemd before every start, exit 0 allows, exit 1 refuses.

A cluster that is a standby may start. One that nobody has written to yet may start only where it is the estate's
first: no peer runs and the repository holds no backup, since a host that lost its disk must not begin an empty
database beside the real one. One that would take writes may start only
when the host is not fenced and nothing newer exists: this host's copy of the estate record knows no successor, no peer
is primary, and, where a peer does not answer, the role was not being moved to it and the
backup repository holds no history file of the next timeline. When neither can be asked it stays down: a late start
costs minutes, two primaries cost data. `touch /etc/mystocks-dr/allow-start` allows one start by hand.

After a power cut of the whole site there is nobody to ask. `./dr start-cluster` then looks at every host and leaves a
permit for the one that was last. It is good for one start of this cluster, from this checkpoint, in this boot, within
minutes; whatever the guard decides it is gone afterwards. It lifts no fence, and a peer that is primary outweighs it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ASK_TIMEOUT_S = 4
CONFIG = Path("/etc/mystocks-dr/guard.json")
PERMIT = "run/mystocks-dr-start-permit.json"
RECORD = "var/lib/mystocks-dr/estate.json"  # see agents/guard/record.py
CLAIM = "var/lib/mystocks-dr/restoring-main.json"  # see agents/postgresql/directory/judge.py
FIRST_NORMAL_OID = 16384  # a server that was ever asked to make anything hands out none below
PERMIT_S = 600.0  # a permit that was not used within this long was forgotten


@dataclass(frozen=True)
class Verdict:
    """Whether PostgreSQL may start, and the sentence that says why."""

    allowed: bool
    why: str


def main() -> int:
    verdict = decide(json.loads(CONFIG.read_text()))
    if verdict.allowed:
        note_start()
    print(f"mystocks-dr start guard: {'starting' if verdict.allowed else 'refusing to start'}: {verdict.why}")
    return 0 if verdict.allowed else 1


def decide(config: dict[str, Any], root: Path = Path("/")) -> Verdict:
    """Judge by the files of this host first, which need no network, then by its peers and the repository."""
    data = root / f"var/lib/postgresql/{config['version']}/main"
    permit = used_up(root / PERMIT)
    fenced = root / config["fenced"].lstrip("/")
    if fenced.exists():
        return Verdict(False, f"this host is fenced ({fenced.read_text().strip()}); run ./dr rejoin")
    if (data / "standby.signal").exists():
        return Verdict(True, "a standby takes no writes")
    record = recorded(root)
    override = root / str(CONFIG.with_name("allow-start")).lstrip("/")
    if override.exists():
        override.unlink()
        return Verdict(True, f"{override} was there (and is used up)")
    found = control(config["version"], data)
    if permit and permit_holds(permit, found, root):
        return by_permit(config, permit)
    if is_unused(found) and record.get("system_identifier") != found.get("Database system identifier"):
        return blank_by_peers(config)
    mine = timeline(config["version"], data)
    succeeded = by_record(record, config, found, mine)
    return succeeded or by_peers(config, mine, moving_to(record, config))


def note_start(root: Path = Path("/")) -> None:
    """Say in the claim to an unfinished restore that a server was started there: what is gone after that is a loss."""
    path = root / CLAIM
    try:
        said = {**json.loads(path.read_text()), "started": True}
        partial = path.with_name(f".{path.name}.new")
        partial.write_text(json.dumps(said) + "\n")
        partial.replace(path)
    except (OSError, ValueError, TypeError):
        pass  # there is none; no start is held up by it


def recorded(root: Path) -> dict[str, Any]:
    """This host's copy of the estate record; empty when there is none, or when it cannot be read."""
    try:
        said = json.loads((root / RECORD).read_text())["record"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return said if isinstance(said, dict) else {}


def by_record(
    record: dict[str, Any], config: dict[str, Any], found: dict[str, str], mine: int
) -> Verdict | None:
    """A refusal where the record of this very database system knows a successor; it never allows anything."""
    if record.get("system_identifier") != found.get("Database system identifier"):
        return None
    primary, newest = record.get("primary"), record.get("timeline")
    if not isinstance(newest, int) or primary == config.get("name") or newest <= mine:
        return None
    return Verdict(
        False, f"the estate record knows {primary} as primary on timeline {newest}, this cluster is on {mine}: "
        "run ./dr rejoin",
    )  # fmt: skip


def moving_to(record: dict[str, Any], config: dict[str, Any]) -> str:
    """The host to which the role was being moved when this host last heard of it; empty when to none other."""
    change = record.get("changing")
    to = change.get("to") if isinstance(change, dict) else ""
    return str(to) if to and to != config.get("name") else ""


def is_unused(found: dict[str, str]) -> bool:
    """As agents/postgresql/directory/facts.py has it: initdb made it, nobody has asked it to make anything since."""
    oid = found.get("Latest checkpoint's NextOID", "")
    return (
        found.get("Database cluster state") == "shut down"
        and found.get("Latest checkpoint's TimeLineID") == "1"
        and oid.isdigit()
        and int(oid) < FIRST_NORMAL_OID
    )


def used_up(path: Path) -> dict[str, Any]:
    """The permit, which no second start will find; empty when there is none, or when it cannot be read."""
    try:
        text = path.read_text()
        path.unlink()
        said = json.loads(text)
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def permit_holds(permit: dict[str, Any], found: dict[str, str], root: Path) -> bool:
    """Whether it was written for this boot, this cluster and this checkpoint, and lately."""
    proc = root / "proc"
    try:
        age = float((proc / "uptime").read_text().split()[0]) - float(permit["uptime"])
        return (
            permit["boot"] == (proc / "sys/kernel/random/boot_id").read_text().strip()
            and permit["system"] == found["Database system identifier"]
            and permit["checkpoint"] == found["Latest checkpoint location"]
            and 0 <= age <= PERMIT_S
        )
    except (OSError, ValueError, TypeError, KeyError):
        return False


def by_permit(config: dict[str, Any], permit: dict[str, Any]) -> Verdict:
    """Somebody has looked at every host; what has become primary since is still a reason to stay down."""
    for peer in config["peers"]:
        if ask(peer, config) is False:
            return Verdict(False, f"{peer['name']} is the primary now")
    return Verdict(True, f"permitted once by {permit.get('why', 'somebody')}")


def blank_by_peers(config: dict[str, Any]) -> Verdict:
    for peer in config["peers"]:
        in_recovery = ask(peer, config)
        if in_recovery is not None:
            role = "a standby: ./dr failover promotes it" if in_recovery else "the primary: ./dr deploy clones it"
            return Verdict(False, f"this cluster is empty and {peer['name']} is {role}")
    known = repository_has_backups(config["stanza"])
    if known is None:
        return Verdict(False, "this cluster is empty and the backup repository does not say whether it is the first")
    if known:
        return Verdict(False, "this cluster is empty and the repository holds backups of the estate's: restore those")
    return Verdict(True, "nobody has written to this cluster yet, and there is no other")


def by_peers(config: dict[str, Any], mine: int, moving: str = "") -> Verdict:
    silent = []
    for peer in config["peers"]:
        in_recovery = ask(peer, config)
        if in_recovery is False:
            return Verdict(False, f"{peer['name']} is the primary now")
        if in_recovery is None:
            silent.append(peer["name"])
    if not silent:
        return Verdict(True, "every peer is a standby")
    if moving in silent:
        return Verdict(
            False, f"the role was being moved to {moving}, which does not answer: ./dr start-cluster finds who was last"
        )
    newer = repository_has_timeline(config["stanza"], mine + 1)
    if newer is None:
        return Verdict(
            False, f"neither {', '.join(silent)} nor the backup repository answers, so nobody can say who is primary: "
            "./dr start-cluster looks at every host"
        )
    if newer:
        return Verdict(
            False, f"the repository holds timeline {mine + 1}, this cluster is on {mine}: another host was promoted"
        )
    return Verdict(True, f"{', '.join(silent)} silent, but the repository knows no newer timeline than {mine}")


def ask(peer: dict[str, str], config: dict[str, Any]) -> bool | None:
    """Whether the peer is in recovery; None when it does not answer."""
    dsn = (
        f"host={peer['name']} hostaddr={peer['address']} port=5432 dbname=postgres user=monitor connect_timeout=2 "
        f"sslmode=verify-full sslrootcert={config['ca']} passfile={config['passfile']}"
    )
    done = run(["psql", "-AtX", "-d", dsn, "-c", "select pg_is_in_recovery()"])
    answer = done.stdout.strip() if done and done.returncode == 0 else ""
    return {"t": True, "f": False}.get(answer)


def repository_has_timeline(stanza: str, wanted: int) -> bool | None:
    """Whether the archive holds this timeline's history file; None when the repository does not answer."""
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o777)  # noqa: S103, PTH101 - postgres writes here; the file is no secret and is gone at once
        done = run([
            "runuser", "-u", "postgres", "--", "pgbackrest", f"--stanza={stanza}", "--log-level-console=off",
            "--log-level-file=off", "--log-level-stderr=off", "--io-timeout=3", "--protocol-timeout=4",
            "archive-get", f"{wanted:08X}.history", f"{scratch}/history",
        ])  # fmt: skip
    if done is None or done.returncode not in (0, 1):
        return None
    return done.returncode == 0


def repository_has_backups(stanza: str) -> bool | None:
    """Whether a backup of this stanza exists; None when the repository does not answer."""
    done = run([
        "runuser", "-u", "postgres", "--", "pgbackrest", f"--stanza={stanza}", "--log-level-console=off",
        "--log-level-file=off", "--log-level-stderr=off", "--io-timeout=3", "--protocol-timeout=4", "--output=json",
        "info",
    ])  # fmt: skip
    if done is None or done.returncode:
        return None
    try:
        stanzas = json.loads(done.stdout)
        # pgBackRest ends well also where it could ask nobody: 1 no stanza, 2 no backup, 3 no stanza data, 99 no access.
        if any(known["status"]["code"] not in (0, 1, 2, 3) for known in stanzas):
            return None
        return any(known["backup"] for known in stanzas)
    except (ValueError, KeyError, TypeError):
        return None


def timeline(version: int, data: Path) -> int:
    """The timeline this cluster wrote last.

    Until its first checkpoint, minutes after a promotion, the control file still names the old one; its own history
    files know better. Without them a promoted primary that crashes would take itself for one that was succeeded.
    """
    histories = (int(path.stem, 16) for path in (data / "pg_wal").glob("????????.history"))
    return max(int(control(version, data)["Latest checkpoint's TimeLineID"]), *histories, 0)


def control(version: int, data: Path) -> dict[str, str]:
    """The control file, by the names that pg_controldata gives."""
    tool = f"/usr/lib/postgresql/{version}/bin/pg_controldata"
    text = subprocess.run(
        [tool, str(data)], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}
    ).stdout
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def run(command: list[str]) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, cwd="/", check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None


if __name__ == "__main__":
    sys.exit(main())
