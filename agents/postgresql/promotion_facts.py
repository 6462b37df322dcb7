"""What a PostgreSQL server and its host say of how it would be promoted; nothing is judged and nothing is changed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError

# A standby with less of these than its primary had is not promoted. pg_controldata's words -> the setting's name.
SIZES: Mapping[str, str] = {
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
}
ASKED_AGAIN, AT_EASE_S = 2, 0.2  # an archive that took longer is asked so many times more
SAMPLE_S = 0.3  # between two looks at replay, where much is left to be replayed
MUCH_BYTES = 1 << 20
NOWHERE = "FFFFFFFE.history"  # a file that no archive holds, asked for as a promotion asks for the next timeline's
# Each part prints an object; the last one is the same on every version of the server.
_SQL = r"""
select pg_is_in_recovery() as recovering,
  coalesce(pg_is_in_recovery() and pg_last_wal_receive_lsn() - pg_last_wal_replay_lsn() > :much_bytes, false) as much
\gset
\if :recovering
select json_build_object('pause', pg_get_wal_replay_pause_state(),
  'unreplayed', greatest(0, coalesce(pg_last_wal_receive_lsn() - pg_last_wal_replay_lsn(), 0))::bigint,
  'streams', exists (select from pg_stat_wal_receiver where status = 'streaming'),
  'wanted', (select lpad(upper(to_hex(coalesce((select received_tli from pg_stat_wal_receiver),
    (select timeline_id from pg_control_checkpoint())))), 8, '0')
    || lpad(upper(to_hex(div(at, 4294967296)::bigint)), 8, '0')
    || lpad(upper(to_hex(div(mod(at, 4294967296), size)::bigint)), 8, '0')
    from (select pg_last_wal_replay_lsn() - '0/0'::pg_lsn as at,
      (select setting::numeric from pg_settings where name = 'wal_segment_size') as size) s));
\endif
\if :much
select pg_last_wal_replay_lsn() as before, clock_timestamp() as began, pg_sleep(:sample_s) as slept \gset
select json_build_object('replayed_per_s', (pg_last_wal_replay_lsn() - :'before')
  / extract(epoch from clock_timestamp() - :'began'));
\endif
select json_build_object('in_recovery', pg_is_in_recovery(),
  'settings', (select json_object_agg(name, setting) from pg_settings where name in (
    'max_connections', 'max_worker_processes', 'max_wal_senders', 'max_prepared_transactions',
    'max_locks_per_transaction', 'recovery_min_apply_delay', 'summarize_wal', 'restore_command', 'data_directory')),
  'refuses', (select coalesce(json_agg(format('%s = ''%s'' in %s', name, setting, coalesce(sourcefile, source))), '[]')
    from pg_settings where (name = 'default_transaction_read_only' and setting = 'on')
      or (name = 'synchronous_standby_names' and setting <> '' and sourcefile not like '%/90-synchronous.conf')),
  'prepared', (select count(*) from pg_prepared_xacts),
  'prepared_age_s', (select extract(epoch from now() - min(prepared)) from pg_prepared_xacts),
  'lost_slots', (select coalesce(json_agg(slot_name), '[]') from pg_replication_slots where wal_status = 'lost'),
  'collations', (select coalesce(json_agg(format('database %s: %s, here %s', datname, datcollversion,
      coalesce(pg_database_collation_actual_version(oid), 'unknown'))), '[]')
    from pg_database where datcollversion is distinct from pg_database_collation_actual_version(oid)
      and datcollversion is not null));
"""
# Collations by name belong to one database; only those of a column count.
_COLLATIONS = """
select json_build_object('collations', coalesce(json_agg(format('collation %s of %s: %s, here %s', collname,
  current_database(), collversion, coalesce(pg_collation_actual_version(oid), 'unknown'))), '[]'))
from pg_collation c where collversion is distinct from pg_collation_actual_version(oid) and collversion is not null
  and exists (select from pg_attribute a where a.attcollation = c.oid);
"""


@dataclass(frozen=True)
class Facts:
    """One server. What is None or empty by default was not asked, or is not so: a primary replays nothing.

    `refuses`: settings with which it would take no write once it is promoted, each with its file.
    `pause` in the server's words; bytes and seconds as the names say. `replayed_per_s` is measured where much is
    unreplayed. `needed`: sizes that its control file asks for. `asked_s`: what restore_command took to say that it
    lacks a file, at least so long where `asked_in_vain`. `wanted`: the segment that replay goes on with;
    `wanted_there`: here or in the archive, of a standby that does not stream.
    """

    in_recovery: bool
    settings: Mapping[str, str]
    pause: str = "not paused"
    refuses: tuple[str, ...] = ()
    unreplayed: int = 0
    replayed_per_s: float | None = None
    streams: bool = True
    prepared: int = 0
    prepared_age_s: float = 0.0
    lost_slots: tuple[str, ...] = ()
    collations: tuple[str, ...] = ()
    needed: Mapping[str, int] = field(default_factory=dict)
    free_bytes: int | None = None
    asked_s: float | None = None
    asked_in_vain: bool = False
    wanted: str = ""
    wanted_there: bool | None = None

    @property
    def sizes(self) -> Mapping[str, int]:
        return {name: int(self.settings[name]) for name in SIZES.values() if name in self.settings}

    @property
    def apply_delay_s(self) -> float:
        return int(self.settings.get("recovery_min_apply_delay", "0")) / 1000

    @property
    def summarizes(self) -> bool:
        return self.settings.get("summarize_wal", "off") == "on"


def asked(dsn: str, database: str, patience_s: float) -> Facts:
    """What a server says over a connection: a DSN without database name, or nothing for this host's own socket.

    Raises AgentError when it does not answer in time.
    """
    ends = time.monotonic() + patience_s
    said = _psql(f"{dsn} dbname=postgres".strip(), _SQL, patience_s)
    with suppress(AgentError):  # a database that is not there; a server that is not there has told so above
        said["collations"] += _psql(f"{dsn} dbname={database}".strip(), _COLLATIONS, left(ends))["collations"]
    return Facts(
        in_recovery=said["in_recovery"], settings=said["settings"], refuses=tuple(said.get("refuses", ())),
        pause=said.get("pause", Facts.pause), unreplayed=said.get("unreplayed", 0),
        replayed_per_s=said.get("replayed_per_s"), streams=said.get("streams", True), prepared=said["prepared"],
        prepared_age_s=said["prepared_age_s"] or 0.0, lost_slots=tuple(said["lost_slots"]),
        collations=tuple(said["collations"]), wanted=said.get("wanted", ""),
    )  # fmt: skip


def of_this_host(facts: Facts, version: int, patience_s: float) -> dict[str, Any]:
    """The fields that only the server's own host can tell, asked as its owner, in `patience_s` together.

    Whoever asks waits for one answer: an archive that hangs must not take the others with it. Raises AgentError.
    """
    ends = time.monotonic() + patience_s
    data = Path(facts.settings["data_directory"])
    found: dict[str, Any] = {"free_bytes": min(_free(data), _free(data / "pg_wal"))}
    if not facts.in_recovery:
        return found
    command = facts.settings.get("restore_command", "")
    found["needed"] = _needed(data, version, left(ends))
    wants = not facts.streams and facts.wanted
    if wants:
        found["wanted_there"] = (data / "pg_wal" / facts.wanted).exists()
    if command:
        with ThreadPoolExecutor(2) as pool:
            nowhere = pool.submit(quickest, command, data, ends)
            if wants and not found["wanted_there"]:
                found["wanted_there"] = pool.submit(restore, command, facts.wanted, data, left(ends)).result()[1]
            found["asked_s"], there = nowhere.result()
        found["asked_in_vain"] = there is None
    return found


def quickest(command: str, data: Path, ends: float) -> tuple[float, bool | None]:
    """The least of what a few questions for a file that is nowhere took, as `restore` tells it.

    An archive that is slow is slow each time; a host that was busy for a moment is not.
    """
    best, there = restore(command, NOWHERE, data, left(ends))
    for _ in range(ASKED_AGAIN):
        if there is None or best <= AT_EASE_S or time.monotonic() + best > ends:
            break
        took, again = restore(command, NOWHERE, data, left(ends))
        if again is not None:
            best = min(best, took)
    return best, there


def left(ends: float) -> float:
    """Seconds until then, and never none: `timeout 0` would wait for ever."""
    return max(0.05, ends - time.monotonic())


def restore(command: str, name: str, data: Path, patience_s: float) -> tuple[float, bool | None]:
    """Ask the archive for a file as the server would: seconds, and whether it was there (None: no answer in time)."""
    with tempfile.TemporaryDirectory(prefix="mystocks-promotion-") as folder:
        target = Path(folder) / "asked"
        words = {"%f": name, "%p": str(target), "%r": name, "%%": "%"}
        text = "".join(words.get(part, part) for part in _parts(command))
        started = time.monotonic()
        done = _run(["sh", "-c", text], patience_s, cwd=data)
        return time.monotonic() - started, None if done is None else done.returncode == 0 and target.exists()


def _parts(command: str) -> list[str]:
    """The command cut before and after each placeholder."""
    found, at = [], 0
    while at < len(command):
        step = 2 if command[at] == "%" else 1
        found.append(command[at : at + step])
        at += step
    return found


def _needed(data: Path, version: int, patience_s: float) -> Mapping[str, int]:
    program = f"/usr/lib/postgresql/{version}/bin/pg_controldata"
    done = _run([program, str(data)], patience_s, env={**os.environ, "LC_ALL": "C"})
    if done is None:
        raise AgentError(f"its control file was not read within {patience_s:.2f} s", "Is its disk or its host busy?")
    rows = (line.partition(":") for line in done.stdout.splitlines())
    return {SIZES[name]: int(value) for name, _, value in rows if name in SIZES}


def _free(path: Path) -> int:
    seen = os.statvfs(path)
    return seen.f_bavail * seen.f_frsize


def _psql(dsn: str, script: str, patience_s: float) -> dict[str, Any]:
    """Every object that a script prints, in one. Raises AgentError."""
    command = [
        "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-v", f"much_bytes={MUCH_BYTES}", "-v", f"sample_s={SAMPLE_S}",
        "-d", f"{dsn} connect_timeout={max(2, round(patience_s))}",
    ]  # fmt: skip
    done = _run(command, patience_s, script)
    if done is None:
        raise AgentError(f"its server does not answer within {patience_s:g} s", "Is it stopped, or without memory?")
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        raise AgentError(f"its server does not answer: {said[0]}", "./dr status says what each server is.")
    merged: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            merged |= json.loads(line)
    return merged


def _run(
    command: Sequence[str], patience_s: float, stdin: str = "", cwd: Path = Path("/"),
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str] | None:  # fmt: skip
    """None when it did not end in time: `timeout` ends it with all that it started."""
    words = ["timeout", "--kill-after=0.2", f"{patience_s:.2f}", *command]
    done = subprocess.run(
        words, input=stdin, capture_output=True, text=True, errors="replace", check=False, cwd=cwd, env=env
    )
    return None if done.returncode in (124, 137) else done


def dsn(**words: str) -> str:
    """Connection parameters as libpq reads them; those without a value are left out."""
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in words.items() if value)
