"""A host's part: gather what its own files tell, and ship what waits in its spools. A timer runs it as root.

    python3 -m agents.monitor.main ship --config FILE
    python3 -m agents.monitor.main status --config FILE

    {"estate": "mystocks", "host": "backup1", "dsn": "host=backup1 port=5434 dbname=monitoring user=recorder ...",
     "spools": ["/var/spool/mystocks-dr/mystocks"], "max_bytes": 268435456, "keep_s": 172800,
     "own": "/var/spool/mystocks-dr/host",                    where it gathers to; shipped as the others are
     "server_log": "/var/log/postgresql/...log", "slow_ms": 5000, "warn_ms": 2000,        left out: no such log
     "jobs": "/var/lib/mystocks-dr/jobs", "proofs": {"postgresql": "...proofs.jsonl"}}    left out: none

Prints a JSON object. Exit codes: 0; 1 a spool could not be shipped, it waits; 2 bad settings.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError, BadConfig, run
from agents.monitor import jobs, slow
from agents.monitor.seen import Seen
from agents.monitor.shipping import KEEP_S, ship
from agents.monitor.spool import MAX_BYTES, Spool
from agents.monitor.take import take

_HINT = "The docstring of agents/monitor/main.py has one."


@dataclass(frozen=True)
class Settings:
    estate: str
    host: str
    dsn: str
    own: Path
    spools: tuple[Path, ...] = ()
    max_bytes: int = MAX_BYTES
    keep_s: float = KEEP_S
    server_log: Path | None = None
    slow_ms: float = slow.SLOW_MS
    warn_ms: float = slow.WARN_MS
    jobs: Path | None = None
    proofs: Mapping[str, Path] = field(default_factory=dict)


def load(path: Path) -> Settings:
    """Raises BadConfig."""
    try:
        raw = json.loads(path.read_text())
        paths = {name: Path(raw[name]) for name in ("own", "server_log", "jobs") if raw.get(name)}
        several = {
            "spools": tuple(map(Path, raw.get("spools", ()))),
            "proofs": {store: Path(place) for store, place in raw.get("proofs", {}).items()},
        }
        return Settings(**{**raw, **paths, **several})
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error.strerror}.", _HINT) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadConfig(f"{path} is not what it should be: {error!r}.", _HINT) from error


def gather(settings: Settings, spool: Spool) -> int:
    """What this host's own files tell, into its own spool; how many lines that were."""
    spool.make()
    seen = Seen(spool.folder)
    lines: list[str] = []
    if settings.server_log:
        lines += slow.gather(settings.server_log, settings.host, seen, settings.slow_ms, settings.warn_ms)
    if settings.jobs:
        lines += jobs.runs(settings.jobs, settings.estate, seen)
    for store, path in settings.proofs.items():
        lines += jobs.proofs(path, store, settings.estate, seen)
    spool.put(lines)
    seen.save()
    return len(lines)


def shipped(settings: Settings) -> dict[str, Any]:
    """Each spool for itself: one that cannot be shipped keeps no other waiting. `failed`: why it was not."""
    own = Spool(settings.own, settings.max_bytes)
    told: dict[str, Any] = {"gathered": gather(settings, own), "spools": {}, "failed": {}}
    deliver = partial(take, settings.dsn)
    for spool in (own, *(Spool(folder, settings.max_bytes) for folder in settings.spools)):
        try:
            done = ship(spool, deliver, settings.keep_s)
            if spool is own and done.began_anew:
                told["gathered"] += gather(settings, own)
                ship(spool, deliver, settings.keep_s)
            told["spools"][str(spool.folder)] = asdict(done)
        except (AgentError, OSError) as error:
            told["failed"][str(spool.folder)] = str(error)
    return told


def depths(settings: Settings) -> dict[str, Any]:
    folders = (settings.own, *settings.spools)
    return {"spools": {str(folder): asdict(Spool(folder).depth()) for folder in folders}}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.monitor.main", description="Gather and ship what monitoring keeps.")
    parser.add_argument("what", choices=("ship", "status"))
    parser.add_argument("--config", type=Path, required=True)
    given = parser.parse_args(arguments)
    settings = load(given.config)
    told = shipped(settings) if given.what == "ship" else depths(settings)
    print(json.dumps(told))
    for folder, why in told.get("failed", {}).items():
        print(f"{folder} waits: {why}", file=sys.stderr)
    return 1 if told.get("failed") else 0


if __name__ == "__main__":
    sys.exit(run(main))
