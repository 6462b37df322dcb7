"""Compare a copy in a side cluster with the live tables, on their host; and what became of a write."""

from __future__ import annotations

import json
from collections.abc import Iterable

from inventories.errors import TargetFailed, VerificationFailed
from runbooks.probes.postgresql.tables import Server
from runbooks.table_copy import compare as sql
from runbooks.table_copy.compare import Pair
from runbooks.table_copy.counts import Counts
from runbooks.table_copy.shape import literal
from runbooks.table_copy.source import Source, gave_no_rows
from runbooks.table_copy.write import SESSION


def compare(live: Server, pairs: Iterable[Pair], source: Source, timeout: float) -> tuple[Counts, ...]:
    """Counts of each pair in their order. Raises VerificationFailed for an answer that leaves one out."""
    pairs = tuple(pairs)
    try:
        said = live.ask(sql.script(pairs, source), timeout)
    except TargetFailed as error:
        if not gave_no_rows(str(error)):
            raise
        raise TargetFailed(
            f"{live.host}: the side cluster gave no rows; it was stopped, or lost a table",
            "python3 -m agents.postgresql.side.cluster list, in /opt/mystocks-dr, shows what is open there",
        ) from error
    found = tuple(Counts.model_validate(json.loads(line)) for line in said.splitlines() if line.startswith("{"))
    if not pairs or [one.table for one in found] != [pair.copy.name for pair in pairs]:
        raise VerificationFailed(f"compared {len(found)} of {len(pairs)} tables: {said[-200:]!r}")
    return found


def locked(copy: Server) -> bool:
    """Whether recovery stands in the middle of a transaction that has locked tables against reading, such as a DROP.

    Its locks are those of the primary, and last as long as recovery is paused: whoever reads such a table waits.
    """
    held = "SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND locktype = 'relation'"
    return copy.ask(f"SELECT pg_is_in_recovery() AND EXISTS ({held});") == "t"


def accepts(copy: Server, table: str, where: str) -> None:
    """Raises TargetFailed when `where` is no condition on this table. Asked of the copy, which cannot be written to."""
    copy.ask(f"EXPLAIN SELECT FROM public.{json.dumps(table)} AS t WHERE ({where});\n")


def committed(live: Server, mark: str) -> bool:
    """Whether the transaction that carries this mark was committed."""
    there = live.ask("SELECT to_regclass('public.dr_probe') IS NOT NULL;")
    return there == "t" and live.ask(f"SELECT EXISTS (SELECT FROM public.dr_probe WHERE run = {literal(mark)});") == "t"


def sessions(live: Server) -> int:
    """How many writing sessions of ours are still there."""
    return int(live.ask(f"SELECT count(*) FROM pg_stat_activity WHERE application_name = {literal(SESSION)};"))


def edition_has_policies(live: Server) -> bool:
    """TimescaleDB's Community edition has background policies, the Apache edition has not."""
    return live.ask("SELECT current_setting('timescaledb.license', true);") == "timescale"


def definition(copy: Server, bin_folder: str, table: str, section: str, timeout: float) -> str:
    """pg_dump's statements of one table: section pre-data or post-data."""
    return copy.host.run(
        f"{bin_folder}/pg_dump {copy.connect} -d %s --schema-only --section=%s -t %s",
        copy.database, section, f'public."{table}"', user="postgres", timeout=timeout,
    ).stdout  # fmt: skip
