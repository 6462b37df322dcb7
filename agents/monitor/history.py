"""What the monitoring database knows of the past, for `./dr history`.

    python3 -m agents.monitor.history --dsn "dbname=monitoring port=5434" [--what drills] [--since ISO] [--limit 10000]

Prints {"incarnation", "losses", "rejected", "cut", "entries": [{"at", "what", "name", "estate", "outcome", "seconds",
"says"}]}, the newest first; `losses` are lines that spools let go unshipped, as sentences; `cut`: there are older ones,
beyond the limit. Exit codes: 0; 1 it does not answer.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import psycopg2

from agents.base.errors import AgentError, run
from agents.monitor.take import CONNECT_S, HINT

# Each gives: at, name, estate, outcome, seconds, says.
_QUERIES: Mapping[str, str] = {
    "drills": """
        SELECT started_at AS at, CASE WHEN kind = 'rounds' THEN 'rounds' ELSE scenario END
            || CASE WHEN coalesce(twin, '') <> '' THEN ', twin ' || twin ELSE '' END AS name,
          estate, CASE held WHEN true THEN 'twin held' WHEN false THEN 'twin broken' ELSE outcome END AS outcome,
          duration_s AS seconds,
          'record ' || seq || ': ' || CASE
            WHEN kind = 'run' THEN 'counts as ' || promise || ' in ' || place
            ELSE coalesce('RTO ' || to_char(rto_s, 'FM999990.00') || ' s', 'RTO unknown') || ', '
              || coalesce(to_char(lost, 'FM999,999,999,990') || ' of '
                || to_char(coalesce(acked, 0), 'FM999,999,999,990') || ' rows lost', 'rows not compared')
          END || CASE WHEN coalesce(reason, '') <> '' THEN '; ' || reason ELSE '' END AS says
        FROM drills""",
    "runs": """
        SELECT began_at AS at, procedure AS name, estate, coalesce(outcome, '') AS outcome,
          extract(epoch FROM last_at - began_at)::float8 AS seconds,
          steps_done || ' of ' || steps_all || ' steps, ' || folder AS says
        FROM runs""",
    "backups": """
        SELECT ended_at AS at, name, estate, outcome, seconds, says FROM backups""",
    "alarms": """
        SELECT first_occurred_at AS at, alert_type AS name, estate, lower(alert_status) AS outcome,
          extract(epoch FROM coalesce(resolved_at, last_occurred_at) - first_occurred_at)::float8 AS seconds,
          lower(alert_level) || ': ' || title || ', ' || occurrence_count || ' times'
            || coalesce('; acknowledged by ' || nullif(acknowledged_by, ''), '')
            || coalesce('; ' || nullif(resolution_notes, ''), '') AS says
        FROM alert_logs""",
    "operations": """
        SELECT created_at AS at, lower(operation_type) || ' ' || coalesce(table_name, '') AS name, '' AS estate,
          lower(operation_status) AS outcome, execution_time_ms / 1000 AS seconds,
          record_count || ' rows, ' || coalesce(target_database, '')
            || coalesce('; ' || nullif(error_message, ''), '') AS says
        FROM operation_logs""",
    "slow": """
        SELECT created_at AS at, metric_name AS name, '' AS estate,
          CASE WHEN is_slow_query THEN 'slow' ELSE 'warning' END AS outcome, metric_value / 1000 AS seconds,
          coalesce(tags ->> 'host', '') || ': ' || left(regexp_replace(query_sql, '\\s+', ' ', 'g'), 200) AS says
        FROM query_performance_logs""",
    "quality": """
        SELECT created_at AS at, lower(check_type) || ' ' || coalesce(table_name, '') AS name, '' AS estate,
          lower(check_status) AS outcome, check_duration_ms / 1000 AS seconds, coalesce(check_message, '') AS says
        FROM data_quality_logs""",
}
_LOSSES = (
    "SELECT machine || ': ' || number || ' lines were let go unshipped by ' || to_char(last_at, 'YYYY-MM-DD HH24:MI')"
    " || ' UTC, as ' || why FROM losses WHERE %(since)s::timestamptz IS NULL OR last_at >= %(since)s::timestamptz"
    " ORDER BY last_at"
)


def read(dsn: str, what: Sequence[str], since: str | None, limit: int) -> dict[str, Any]:
    """As it is printed. Raises AgentError."""
    given = {"since": since, "limit": limit + 1}
    try:
        with closing(psycopg2.connect(dsn, connect_timeout=CONNECT_S, options="-c timezone=UTC")) as connection:
            connection.set_session(readonly=True)
            with connection.cursor() as cursor:
                entries = [one for kind in what for one in _entries(cursor, kind, given)]
                cursor.execute(_LOSSES, given)
                losses = [row[0] for row in cursor.fetchall()]
                cursor.execute("SELECT monitor_incarnation(), (SELECT count(*) FROM rejected)")
                ((incarnation, rejected),) = cursor.fetchall()
    except psycopg2.Error as error:
        says = (str(error).strip().splitlines() or ["it does not answer"])[0]
        raise AgentError(f"The monitoring database tells nothing: {says}.", HINT) from error
    entries.sort(key=lambda one: one["at"], reverse=True)
    told = [{**one, "at": one["at"].isoformat()} for one in entries[:limit]]
    known = {"incarnation": incarnation, "losses": losses, "rejected": rejected}
    return {**known, "cut": len(entries) > limit, "entries": told}


def _entries(cursor: Any, kind: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    cursor.execute(
        f"SELECT * FROM ({_QUERIES[kind].replace('%', '%%')}) AS found"  # noqa: S608 - one of the texts above
        " WHERE %(since)s::timestamptz IS NULL OR at >= %(since)s::timestamptz ORDER BY at DESC LIMIT %(limit)s",
        given,
    )
    names = [column.name for column in cursor.description]
    return [{**dict(zip(names, row, strict=True)), "what": kind} for row in cursor.fetchall()]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.monitor.history", description="Tell the past, as JSON.")
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--what", action="append", choices=list(_QUERIES))
    parser.add_argument("--since")
    parser.add_argument("--limit", type=int, default=10_000)
    given = parser.parse_args(arguments)
    print(json.dumps(read(given.dsn, given.what or list(_QUERIES), given.since, given.limit)))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
