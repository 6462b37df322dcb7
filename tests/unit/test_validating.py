"""A recovery ends with a look at the tables: what differs is said, costs no more with more rows, and ends nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from inventories.catalog import load_quality, load_tables
from inventories.errors import TimedOut
from runbooks.hosts import Run
from runbooks.probes.postgresql.tables import Server as Asked
from runbooks.procedures.postgresql import validating
from runbooks.procedures.postgresql.failover import FAILOVER
from runbooks.procedures.postgresql.restore_cluster import RESTORE_CLUSTER
from runbooks.procedures.postgresql.restore_pitr import RESTORE_PITR
from runbooks.procedures.postgresql.roles import Roles
from runbooks.procedures.postgresql.start_cluster import START_CLUSTER
from runbooks.validation import rules, yielding
from runbooks.validation.difference import Check, Difference, Looked
from runbooks.validation.glance import glance
from tests.unit.postgres_server import Server
from tests.unit.validation_kit import Validated, validated


@pytest.fixture
def database(copying_server: Server) -> Iterator[Validated]:
    with validated(copying_server, 100) as made:
        yield made


def looked(database: Validated) -> tuple[Looked, ...]:
    known = load_tables()
    return glance(database.asked, known, load_quality().fits(known), 30.0)


def found(database: Validated) -> list[str]:
    """Without what a server without TimescaleDB always differs in."""
    return [str(one) for check in looked(database) for one in check.differences if one.what != "hypertable"]


def test_a_sound_database_differs_in_nothing(database: Validated) -> None:
    assert found(database) == []
    assert looked(database)[1].over == "tables"


def test_a_table_without_its_rows_and_one_without_its_column_are_told(database: Validated) -> None:
    database.sql("TRUNCATE order_records", "ALTER TABLE daily_kline DROP COLUMN amount")
    assert [one for one in found(database) if one.startswith("empty")] == [
        "empty: order_records: rows: expected some, found none"
    ]
    assert any(one.startswith("structure: daily_kline") for one in found(database))


def test_a_table_that_is_gone_is_told_once(database: Validated) -> None:
    database.sql("DROP TABLE order_records")
    assert [one for one in found(database) if "order_records" in one] == [
        "structure: order_records: table: expected there, found missing"
    ]


def test_no_question_goes_through_the_rows(database: Validated) -> None:
    known = load_tables()
    there = {table.name for table in known.tables.values()}
    asked = rules.glances(known, there)
    assert asked
    for question in asked.values():
        plan = "\n".join(str(row[0]) for row in database.sql(f"EXPLAIN {question}"))
        assert "Aggregate" not in plan and "InitPlan" in plan, plan
    assert all(one.rows for one in yielding.ask(database.asked, asked, 30.0).values())


class _Context:
    """Enough of a run: who says what."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.say = self.said.append
        self.estate = self
        self.data = {"database": "quant"}

    def remaining(self) -> float:
        return 30.0


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(validating, "primary_of", lambda context, state: None)
    return cast(Run, _Context())


def told(monkeypatch: pytest.MonkeyPatch, context: Run, *differences: Difference) -> Roles:
    answer = (Looked(Check.STRUCTURE, "tables", 5, "", differences),)
    monkeypatch.setattr(validating, "glance", lambda *_: answer)
    return validating.glanced(context, Roles(primary="pg2"))


def test_what_differs_is_said_as_degraded_and_ends_no_recovery(
    monkeypatch: pytest.MonkeyPatch, context: Run
) -> None:
    gone = [Difference(Check.STRUCTURE, f"t{nr}", "table", "there", "missing") for nr in range(7)]
    [said] = told(monkeypatch, context, *gone).degraded
    assert said.startswith("pg2's tables are not as the catalogue says: structure: t0: table: expected there")
    assert "and 2 more; ./dr validate --store postgresql tells each" in said
    assert told(monkeypatch, context).degraded == ()


def test_who_cannot_be_asked_ends_no_recovery(monkeypatch: pytest.MonkeyPatch, context: Run) -> None:
    def slow(server: Asked, *_: Any) -> tuple[Looked, ...]:
        raise TimedOut("pg2 is busy")

    monkeypatch.setattr(validating, "glance", slow)
    assert validating.glanced(context, Roles(primary="pg2")).degraded == ()
    assert "nobody could look" in context.say.__self__[0]  # type: ignore[attr-defined]


def test_questions_that_hang_leave_the_step_some_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Late is failed: a step that had used up all its time would end the recovery after all."""
    clock = [100.0]
    monkeypatch.setattr("runbooks.validation.glance.time.monotonic", lambda: clock[0])

    class Slow:
        def query(self, sql: str, timeout: float) -> list[dict[str, Any]]:
            clock[0] += min(timeout, 9.0)
            if timeout < 9.0:
                raise TimedOut("it hangs")
            return [{"there": False}] if "as there" in sql else []

    with pytest.raises(TimedOut, match="it hangs"):
        glance(cast(Asked, Slow()), load_tables(), load_quality(), 30.0)
    assert clock[0] - 100.0 <= 25.0


ENDING = (FAILOVER, RESTORE_CLUSTER, RESTORE_PITR, START_CLUSTER)


@pytest.mark.parametrize("procedure", ENDING, ids=lambda one: one.name)
def test_it_comes_once_rows_are_written_again(procedure: Any) -> None:
    names = [step.name for step in procedure.steps]
    write = next(name for name in names if name in ("write-path", "write"))
    assert names.index(write) < names.index("drain-outbox") < names.index("validate")
