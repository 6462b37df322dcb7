"""The gate on a real lab: the fault that it was made for, put back by hand, is found and named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drills.benches import bench_gate, figures
from drills.benches.figures import Verdict
from drills.benches.headlines import ROUNDS, Headlines
from runbooks.hosts import Estate
from tests.drills import estate as seen
from tests.drills.doors import dr
from tests.drills.estate import quiet

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.long]
WAITS_S = 3.0  # a promotion waits at least so long for the summarizer, on however fast a machine


def say_to_all(estate: Estate, sql: str) -> None:
    for host in estate.postgres:
        host.execute(f"{sql}; SELECT pg_reload_conf();")


@pytest.fixture
def summarizing(estate_lab: Estate) -> Iterator[Estate]:
    """Every server summarizes WAL, as it did when nobody noticed; in the end none does and the estate is whole."""
    seen.make_whole(estate_lab)
    say_to_all(estate_lab, "ALTER SYSTEM SET summarize_wal = on")
    yield estate_lab
    seen.make_whole(estate_lab)
    say_to_all(estate_lab, "ALTER SYSTEM RESET summarize_wal")
    dr("deploy")


def test_a_summarizer_that_holds_promotions_up_fails_the_gate_by_the_name_of_failover(summarizing: Estate) -> None:
    record = figures.load(bench_gate.RECORD)
    (found,) = Headlines(seen.lab_of(summarizing), summarizing, quiet).measure(("failover",))
    assert len(found.ours) == ROUNDS, found.why
    assert found.ours_s > WAITS_S
    assert found.yardstick_s < WAITS_S, "the yardstick has PostgreSQL's own settings, or it would hide the fault"
    (judged,) = figures.judge([found], record, 0.5)
    assert judged.verdict is Verdict.WORSE
    assert judged.sentence().startswith("failover takes ")
    assert found.times > record.figures["failover"].times * 1.5


def test_the_ways_to_write_are_measured_and_their_rows_go_again(estate_lab: Estate) -> None:
    seen.make_whole(estate_lab)
    primary, _ = seen.roles(estate_lab)
    rows = "select count(*) as rows from public.order_records where event_id >> 32 > 1 and event_id >> 32 < 1000000000"
    store, replay = Headlines(seen.lab_of(estate_lab), estate_lab, quiet).measure(("store", "replay"))
    assert (store.why, replay.why) == ("", "")
    assert len(store.ours) == len(replay.yardstick) == ROUNDS
    database = str(estate_lab.data["database"])
    assert estate_lab.host(primary).query(rows, database) == [{"rows": 0}]
