"""Evidence from elsewhere: objectives of the catalogue, checks of testinfra, the journal's steps, the hosts' logs."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from drills.judging.compare import FoundIds, parse_found, ranges_sql
from drills.judging.result import Check, CheckOutcome, Objectives, Step
from drills.measuring.fingerprint import Fingerprint, fingerprint
from inventories.catalog.load import load_recovery
from inventories.errors import BadInput, DrError, VerificationFailed
from lab.engine import find_engine
from runbooks.engine.result import RunResult
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.probes.postgresql import server
from runbooks.probes.tdengine import servers

Results = Iterable[tuple[str, RunResult[Any]]]
_LOGS = {
    "postgresql": "tail -n 400 /var/log/postgresql/postgresql-*-main.log",
    "pgbackrest": "tail -n 200 /var/log/pgbackrest/*.log",
    "replayer": "journalctl -u mystocks-replayer -n 300 --no-pager -o short-iso-precise",
    "replayer-tdengine": "journalctl -u mystocks-replayer-tdengine -n 300 --no-pager -o short-iso-precise",
    "taosd": "tail -n 1000 /var/log/taos/taosdlog.0",
    "taosd-service": "journalctl -u taosd -t systemd -n 60 --no-pager -o short-iso-precise",
}


def objectives(scenario: str) -> Objectives:
    """What recovery.yaml promises for the scenario. Raises BadInput when it promises nothing."""
    promised = load_recovery().scenarios.get(scenario)
    if promised is None:
        raise BadInput(f"recovery.yaml promises nothing for scenario {scenario!r}", "add it below scenarios:")
    return Objectives(
        rto_s=promised.rto_s, rpo_rows=promised.rpo_rows, rpo_s=promised.rpo_s, detection_s=promised.detect_s
    )


def finder(primary: Host, database: str, run: int) -> Callable[[str], FoundIds]:
    """Asks the primary which ids of the run a table holds."""

    def found(table: str) -> FoundIds:
        text = primary.run(
            "psql -qAtX -v ON_ERROR_STOP=1 -d %s", database, user="postgres", stdin=ranges_sql(table, run), timeout=120
        )
        return parse_found(table, text.stdout)

    return found


def finders(host: Host, database: str, wanted: Collection[tuple[int, str]]) -> dict[tuple[int, str], FoundIds]:
    """The same of several (run, table) at once. Raises VerificationFailed when an answer is missing."""
    sql = "".join(f"{ranges_sql(table, run)};\n" for run, table in wanted)
    text = host.run("psql -qAtX -v ON_ERROR_STOP=1 -d %s", database, user="postgres", stdin=sql, timeout=600).stdout
    lines = text.splitlines()
    if len(lines) != len(wanted):
        raise VerificationFailed(f"{host} gave {len(lines)} answers to {len(wanted)} questions about its rows.")
    return {key: parse_found(key[1], line) for key, line in zip(wanted, lines, strict=True)}


def caught_up(estate: Estate) -> tuple[server.Node, ...]:
    """Every standby, once each has replayed all that the primary had written when this was called. Raises TimedOut."""
    written = server.the_primary(server.survey(estate)).written or 0
    return until(
        lambda: tuple(node for node in server.survey(estate) if node.streams and not node.host.entry.delay_s),
        "standby.catch_up",
        what="a standby that has replayed everything",
        accept=lambda nodes: bool(nodes) and all((node.replayed or 0) >= written for node in nodes),
    )


def steps(results: Results) -> tuple[Step, ...]:
    return tuple(
        Step(
            procedure=name, name=step.name, host=_hosts_of(result), outcome=step.outcome.value,
            seconds=round(step.seconds, 3), evidence=step.error or step.says,
        )
        for name, result in results
        for step in result.steps
    )  # fmt: skip


def degraded(results: Results) -> tuple[str, ...]:
    """Sentences that the procedures said aloud."""
    return tuple(dict.fromkeys(said for _, result in results for said in getattr(result.state, "degraded", ())))


def checks(run_dir: Path) -> tuple[Check, ...]:
    """Every testinfra check that the runbooks ran, from their JUnit files."""
    files = sorted(run_dir.glob("runbooks/*/verify-*.xml"), key=lambda path: path.stat().st_mtime)
    return tuple(_check(case, path.stem) for path in files for case in ET.parse(path).iter("testcase"))  # noqa: S314 - ours


def _check(case: ET.Element, stage: str) -> Check:
    bad = next((found for kind in ("failure", "error") if (found := case.find(kind)) is not None), None)
    outcome = (
        CheckOutcome.FAILED
        if bad is not None
        else CheckOutcome.SKIPPED
        if case.find("skipped") is not None
        else CheckOutcome.PASSED
    )
    name = case.get("name", "")
    host = re.search(r"\[([a-z0-9-]+)", name)
    return Check(
        name=f"{stage}: {case.get('classname', '').rpartition('.')[2]}::{name}", outcome=outcome,
        host=host[1] if host else "", detail=(bad.get("message") or "")[:500] if bad is not None else "",
        seconds=float(case.get("time") or 0),
    )  # fmt: skip


def whole(estate: Estate) -> tuple[Check, ...]:
    """Whether the estate is whole in the end, as one check that never depends on what a runbook believed."""
    nodes = server.survey(estate)
    primaries = [node for node in nodes if node.is_primary]
    good = len(primaries) == 1 and all(n.is_primary or n.follows_on(primaries[0].timeline or 0) for n in nodes)
    said = ", ".join(
        f"{n.name}: {'primary' if n.is_primary else 'standby' if n.follows else 'out'} on timeline {n.timeline}"
        for n in nodes
    )
    return (
        Check(
            name="the estate is whole again", outcome=CheckOutcome.PASSED if good else CheckOutcome.FAILED, detail=said
        ),
    )


def panics(run_dir: Path, since: datetime) -> tuple[Check, ...]:
    """PANIC lines that the servers logged during the drill, as one check; nothing to read is a failure."""
    logs = sorted((run_dir / "logs").glob("*-postgresql.log"))
    found = [line for log in logs for line in log.read_text(errors="replace").splitlines() if " PANIC: " in line]
    recent = [line for line in found if line[:19] >= f"{since:%Y-%m-%d %H:%M:%S}"]
    good = bool(logs) and not recent
    detail = recent[0][:300] if recent else f"{len(logs)} logs read"
    outcome = CheckOutcome.PASSED if good else CheckOutcome.FAILED
    return (Check(name="no server panicked", outcome=outcome, detail=detail),)


def versions(estate: Estate) -> dict[str, str]:
    """Versions of what ran, from the first PostgreSQL host that answers; empty when none does."""
    names = "'postgresql-[0-9]*' 'timescaledb*' pgbackrest restic"
    command = "dpkg-query -W -f '${Package} ${Version}\\n' " + names + " 2>/dev/null | awk 'NF == 2'"
    for host in estate.postgres:
        if not host.reachable():
            continue
        try:
            rows = (line.split() for line in host.run(command, expect=None, timeout=5).stdout.splitlines())
            return {row[0]: row[1] for row in rows if len(row) == 2} | _tdengine(estate)
        except DrError:
            continue
    return _tdengine(estate)


def _tdengine(estate: Estate) -> dict[str, str]:
    """TDengine's version, where the estate has one that answers."""
    speaker = servers.speaker(servers.survey(estate, timeout=5))
    return {"tdengine": f"{speaker.version} ({speaker.edition})"} if speaker else {}


def machine() -> Fingerprint:
    return fingerprint(find_engine().describe())


def logs(estate: Estate, run_dir: Path) -> None:
    """Copy the ends of the hosts' logs below logs/; a host that is away leaves none."""
    folder = run_dir / "logs"
    folder.mkdir(exist_ok=True)

    def fetch(host: Host) -> None:
        if not host.reachable():
            return
        for name, command in _LOGS.items():
            try:
                text = host.run(f"{command} 2>/dev/null", expect=None, timeout=10).stdout
            except DrError:
                return
            if text.strip() and "-- No entries --" not in text:
                (folder / f"{host.name}-{name}.log").write_text(text)

    with ThreadPoolExecutor(len(estate.hosts)) as pool:
        list(pool.map(fetch, estate.hosts))


def _hosts_of(result: RunResult[Any]) -> str:
    return str(getattr(result.state, "primary", ""))
