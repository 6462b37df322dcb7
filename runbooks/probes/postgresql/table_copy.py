"""Compare a copy in a side cluster with the live tables, on their host; and what became of a write."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from inventories.errors import TargetFailed, VerificationFailed
from runbooks.probes.postgresql import window
from runbooks.probes.postgresql.tables import Server
from runbooks.table_copy import compare as sql
from runbooks.table_copy import definition
from runbooks.table_copy.counts import Counts, Mode
from runbooks.table_copy.fit import Change
from runbooks.table_copy.names import literal, qualified
from runbooks.table_copy.pair import Pair
from runbooks.table_copy.shape import Shape
from runbooks.table_copy.source import EVENT_TRIGGERS, Source, gave_no_rows, plain_settings
from runbooks.table_copy.write import SESSION

_MOST_BYTES = 1_800_000  # of all arguments of a program together; xargs does not divide them, but fails


def compare(
    live: Server, pairs: Iterable[Pair], source: Source, timeout: float, mode: Mode | None = None
) -> tuple[Counts, ...]:
    """Counts of each pair in their order. Raises VerificationFailed for an answer that leaves one out."""
    pairs = tuple(pairs)
    try:
        said = live.ask(sql.script(pairs, source, mode), timeout)
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


def locked_of(copy: Server, names: Sequence[str]) -> tuple[str, ...]:
    """Those of these tables that are locked against reading, or one of whose partitions, indexes or toast is."""
    held = set(json.loads(copy.ask(f"SELECT coalesce(json_agg(oid), '[]') FROM ({window.LOCKED}) q;")))
    if not held:
        return ()
    families = window.families(copy.query, names)
    return tuple(name for name in names if families[name].whole & held)


def accepts(copy: Server, rows: str, expression: str) -> None:
    """Raises TargetFailed unless these rows, called t, have such an expression. Asked of the copy."""
    copy.ask(f"{plain_settings()}EXPLAIN SELECT ({expression}) FROM {rows};\n")


def losses(copy: Server, shape: Shape, changes: Sequence[Change], timeout: float) -> dict[str, int | None]:
    """Of each change the values that would not come back; None where the server knows no way to convert them."""
    found: dict[str, int | None] = {}
    for change in changes:
        question = f"SELECT count(*) FROM {shape.rows} WHERE {change.lost};\n"
        try:
            found[change.source] = int(copy.ask(plain_settings() + question, timeout))
        except TargetFailed:
            found[change.source] = None
    return found


def committed(live: Server, mark: str) -> int:
    """The transaction that carries this mark, the lower half of its number; 0 where none was committed."""
    if live.ask("SELECT to_regclass('public.dr_probe') IS NOT NULL;") != "t":
        return 0
    found = f"SELECT coalesce(max(xmin::text::bigint), 0) FROM public.dr_probe WHERE run = {literal(mark)};"
    return int(live.ask(found))


def sessions(live: Server) -> int:
    """How many writing sessions of ours are still there."""
    return int(live.ask(f"SELECT count(*) FROM pg_stat_activity WHERE application_name = {literal(SESSION)};"))


def event_triggers(live: Server) -> tuple[str, ...]:
    """Production's own, not those of an extension."""
    return tuple(json.loads(live.ask(EVENT_TRIGGERS)))


def definitions(server: Server, bin_folder: str, names: Sequence[str], timeout: float) -> tuple[str, str]:
    """pg_dump's statements of these tables and sequences together: before their rows and after them.

    The names of thousands of partitions are more than a command over SSH may have.
    """
    words = "".join(f"-t\0{qualified(name)}\0" for name in names)

    def dump(section: str) -> str:
        return server.host.run(
            f"xargs -0 -x -n {len(names) * 2} -s {_MOST_BYTES} "
            f"{bin_folder}/pg_dump {server.connect} -d %s --schema-only --section=%s",
            server.database, section, user="postgres", stdin=words, timeout=timeout,
        ).stdout  # fmt: skip

    with ThreadPoolExecutor(2) as pool:
        before, after = pool.map(dump, ("pre-data", "post-data"))
    return before, after


def rehearsed(live: Server, statements: Sequence[str], timeout: float) -> dict[str, str]:
    """Which of these statements the live server refuses, and why; each is tried, and all are undone."""
    said = live.ask(definition.rehearsal(statements), timeout)
    return definition.failed(said, statements)


