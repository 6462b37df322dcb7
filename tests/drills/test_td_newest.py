"""The last write wins by its event id, on every way to a real TDengine: an older value never replaces a newer one.

TDengine itself keeps what is written last. On each way the newer bar comes from another host, so that nothing of this
one could put it right afterwards, and the older one arrives after it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import pytest

from runbooks.actions import app as app_actions
from runbooks.actions import backup as backup_actions
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.long_work.work import Asker
from runbooks.probes import outbox
from runbooks.probes.outbox import TDENGINE, Box
from runbooks.probes.tdengine import backups, ground
from tests.drills import bars
from tests.drills.doors import dr

pytestmark = [
    pytest.mark.lab, pytest.mark.tdengine, pytest.mark.destructive, pytest.mark.timeout(600),
    pytest.mark.skipif(not os.environ.get("TDENGINE_PACKAGE"), reason="TDENGINE_PACKAGE names no package"),
]  # fmt: skip
SYMBOL = "LWW001"
FIRST, OLD, NEW = 1, 1_000, 2_000  # events
AT = bars.minutes(2)
CLI = "cd /opt/mystocks-dr && exec python3 -m agents.writing.outbox_cli --config /etc/mystocks-dr/agent-tdengine.json "


@pytest.fixture
def server(estate_lab: Estate) -> Host:
    return estate_lab.group("tdengine")[0]


@pytest.fixture(autouse=True)
def clean(estate_lab: Estate, server: Host) -> Iterator[None]:
    """The subtable is there, and nothing else of the symbol. Another host dropped the one that the replayer knows."""
    bars.put(estate_lab, "outbox", AT - bars.MINUTE_NS, FIRST, 1.0, SYMBOL)
    bars.drained(estate_lab)
    for row in ground.ask(server, f"SELECT DISTINCT TBNAME AS t FROM {bars.TABLE} WHERE symbol = '{SYMBOL}'"):
        ground.ask(server, f"DROP TABLE market_data.`{row['t']}`")
    assert bars.put(estate_lab, "store", AT - bars.MINUTE_NS, FIRST, 1.0, SYMBOL) == "store"
    yield
    bars.drained(estate_lab)


def at(server: Host) -> int:
    return bars.events(server, SYMBOL)[AT]


def test_a_replayed_bar_does_not_take_the_place_of_a_newer_one(estate_lab: Estate, server: Host) -> None:
    bars.another_host_puts(server, AT, NEW, 2.0, SYMBOL)
    bars.put(estate_lab, "outbox", AT, OLD, 1.0, SYMBOL)
    bars.drained(estate_lab)
    assert at(server) == NEW
    bars.put(estate_lab, "outbox", AT, NEW + 1, 3.0, SYMBOL)
    bars.drained(estate_lab)
    assert at(server) == NEW + 1, "a newer one does"


def test_a_bar_whose_age_a_client_gives_does_not(estate_lab: Estate, server: Host) -> None:
    """As the items of an old recovery queue, which are as old as they say."""
    bars.another_host_puts(server, AT, NEW, 2.0, SYMBOL)
    assert bars.put(estate_lab, "client", AT, OLD, 1.0, SYMBOL) == "outbox"
    bars.drained(estate_lab)
    assert at(server) == NEW
    bars.put(estate_lab, "client", AT, NEW + 1, 3.0, SYMBOL)
    bars.drained(estate_lab)
    assert at(server) == NEW + 1, "a newer one does"


@pytest.mark.parametrize("way", ["store", "outbox"])
def test_a_bar_that_is_queued_again_does_not(estate_lab: Estate, server: Host, way: str) -> None:
    """Once out of the shadow, once out of what the outbox had applied."""
    since = time.time()
    bars.put(estate_lab, way, AT, OLD, 1.0, SYMBOL)
    bars.drained(estate_lab)
    bars.another_host_puts(server, AT, NEW, 2.0, SYMBOL)
    said = estate_lab.app.run(CLI + "requeue --since %s", f"{since:.3f}", user="mystocks", timeout=60).json()
    assert said["rows"] >= 1
    bars.drained(estate_lab)
    assert at(server) == NEW


@pytest.mark.parametrize("way", ["store", "outbox"])
def test_a_bar_that_a_restore_writes_again_out_of_the_shadow_does_not(
    estate_lab: Estate, server: Host, way: str
) -> None:
    since = time.time()
    bars.put(estate_lab, way, AT, OLD, 1.0, SYMBOL)
    bars.drained(estate_lab)
    bars.another_host_puts(server, AT, NEW, 2.0, SYMBOL)
    done = app_actions.replay_shadow(estate_lab.app, since, ("minute_kline",), 60)
    assert done.rows >= 1
    bars.drained(estate_lab)
    assert at(server) == NEW


@pytest.mark.parametrize(("words", "event"), [(("--as", "own"), NEW), ((), 0), (("--as", "newest"), 0)])
def test_a_dead_letter_that_is_tried_again_wins_only_where_it_is_said_to_be_the_newest(
    estate_lab: Estate, server: Host, words: tuple[str, ...], event: int
) -> None:
    """One that was edited is what somebody says today, unless its own time is asked for."""
    box = Box(estate_lab.app, TDENGINE)
    before = {letter["id"] for letter in outbox.dead(box, "", 10_000, 60)}
    bars.put(estate_lab, "outbox", AT, OLD, "no number", SYMBOL)

    def new() -> list[str]:
        """A refusal is heard once more before it counts, so that an outbox may be drained before there is a letter."""
        return [str(one["id"]) for one in outbox.dead(box, "", 10_000, 60) if one["id"] not in before]

    (letter,) = until(new, 60, what="a dead letter", accept=bool)
    bars.another_host_puts(server, AT, NEW, 2.0, SYMBOL)
    ticks = ("outbox.dead", "--store", "tdengine")
    assert dr(*ticks, "--edit", letter, "--set", "close=1.5", "--reason", "a test").code == 0
    assert dr(*ticks, "--retry", letter, *words, "--reason", "a test").code == 0
    bars.drained(estate_lab)
    assert not {one["id"] for one in outbox.dead(box, "", 10_000, 60)} - before
    assert at(server) == event if event else at(server) > NEW


def test_a_bar_that_tdengine_refuses_is_no_letter_where_a_newer_one_is_there(estate_lab: Estate, server: Host) -> None:
    """Nobody has to decide about a value that would have changed nothing."""
    box = Box(estate_lab.app, TDENGINE)
    before = outbox.dead(box, "", 10_000, 60)
    bars.another_host_puts(server, AT, NEW, 2.0, SYMBOL)
    bars.put(estate_lab, "outbox", AT, OLD, "no number", SYMBOL)
    bars.drained(estate_lab)
    assert outbox.dead(box, "", 10_000, 60) == before
    assert at(server) == NEW


def test_of_two_programs_that_save_a_bar_at_one_moment_the_later_save_stays(estate_lab: Estate, server: Host) -> None:
    first, second = bars.meetings(estate_lab, SYMBOL, AT, 300)
    assert "store" in {by for one in (first, second) for _, by in one.values()}
    bars.drained(estate_lab)
    found = bars.events(server, SYMBOL)
    older = {ts for ts in first if found[ts] != max(first[ts][0], second[ts][0])}
    assert not older, f"of {len(first)} bars {len(older)} have the earlier save"


@pytest.mark.parametrize("mode", ["missing", "overwrite"])
def test_bars_that_are_corrected_while_a_restore_writes_keep_their_last_correction(
    estate_lab: Estate, server: Host, mode: str
) -> None:
    """The writer goes on, and the replayer of what it could not write; once the rows are there, once they were lost."""
    many = 200
    for nth in range(3):  # the backup's own, older events
        bars.put(estate_lab, "store", AT + nth * bars.MINUTE_NS, OLD + nth, 1.0, SYMBOL)
    backup_actions.run_job(estate_lab.backup, "td-incr", Asker.door("a test"), wait_s=60)
    label = backups.labels(estate_lab.backup)[-1]
    if mode == "missing":
        table = ground.ask(server, f"SELECT DISTINCT TBNAME AS t FROM {bars.TABLE} WHERE symbol = '{SYMBOL}'")[0]["t"]
        ground.ask(server, f"DELETE FROM market_data.`{table}`")
    with bars.corrected(estate_lab, SYMBOL, AT, many, NEW) as told:
        ended = dr("tdengine-restore", "--label", label, "--tables", "minute_kline", "--mode", mode, "--yes")
    assert ended.code == 0, ended.err
    bars.drained(estate_lab)
    found = bars.events(server, SYMBOL)
    assert len(told.acked) == many and told.by["store"] > 0, told.by
    older = {ts: (found.get(ts), event) for ts, event in told.acked.items() if found.get(ts, 0) < event}
    assert not older, f"{len(older)} of {many} bars have an older event than was acknowledged"
    assert json.loads(dr("validate", "--json", "--label", label).out)["comparison"]
