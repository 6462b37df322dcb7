"""The twin of the witness: the standby is promoted by hand while the primary lives, and both take writes alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from inventories.errors import TargetFailed, TimedOut
from runbooks.engine.outcome import Outcome
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.layout import Layout
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql.rejoin import REJOIN, RejoinOptions
from runbooks.run import execute

# Alone each of them would wait for a standby. The archive must not get a timeline that nobody goes on with.
_ALONE = ("ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_reload_conf()")
_SILENT = ("ALTER SYSTEM SET archive_command = 'false'", "SELECT pg_reload_conf()")
_AS_IT_WAS = ("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
SEEN_S = 2.0
PROMOTED_S = 20.0


def appear(estate: Estate, say: Callable[[str], None], runs: Path) -> None:
    """Two primaries for a while, then one again: the standby is made again from the repository.

    Raises TargetFailed when it could not be.
    """
    nodes = server.survey(estate)
    primary = server.the_primary(nodes).host
    standby = next(node.host for node in nodes if node.streams and node.host.entry.synchronous)
    unit = Layout(server.version(estate)).unit
    say(f"the twin: {standby} is promoted by hand beside {primary}")
    try:
        _tell(standby, *_ALONE, *_SILENT, "SELECT pg_promote(true, 15)")
        _tell(primary, *_ALONE)
        with suppress(TimedOut):
            until(lambda: False, SEEN_S, what="the witness to see it")
    finally:
        _tell(standby, "CHECKPOINT")
        standby.run("systemctl stop %s", unit, timeout=PROMOTED_S)
        _tell(primary, *_AS_IT_WAS)
    result = execute(REJOIN, estate, RejoinOptions(yes=True, host=standby.name, reclone=True), say, runs=runs)
    if result.outcome is not Outcome.PASSED:
        raise TargetFailed(f"{standby} could not be brought back: {result.error}", result.hint)


def _tell(host: Host, *statements: str) -> None:
    """Each by itself: ALTER SYSTEM runs in no transaction block."""
    for statement in statements:
        host.execute(statement)
