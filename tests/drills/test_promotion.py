"""Promotions that something stands in the way of, on real hosts: seen before, got through, and nothing is lost.

Each begins with a whole estate, breaks its standby, then takes its primary away while rows are written.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import faults
from runbooks.actions.postgresql import server as act
from runbooks.engine.budgets import budget
from runbooks.engine.context import Context, Options
from runbooks.engine.journal import read as read_journal
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.layout import Layout
from runbooks.probes.postgresql import promotion, server
from runbooks.procedures.postgresql import promoting
from tests.drills import estate as seen
from tests.drills.doors import Ended, dr
from tests.drills.estate import DATA, UNIT, load, set_by_hand

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.long, pytest.mark.timeout(600)]
LAYOUT = Layout(17)


@pytest.fixture
def whole(estate_lab: Estate) -> Iterator[Estate]:
    """A whole estate before, and one that has its declared settings again afterwards."""
    seen.make_whole(estate_lab)
    yield estate_lab
    seen.power_on(estate_lab)
    for host in estate_lab.postgres:
        seen.as_declared(host)
    dr("rejoin", "--yes")
    dr("deploy")
    restart_what_needs_it(estate_lab)


def restart_what_needs_it(estate: Estate) -> None:
    """The primary first: a standby with less than its WAL tells does not start, so it replays that end before."""
    for node in sorted(server.survey(estate), key=lambda node: not node.is_primary):
        if node.is_standby and node.pending_restart:
            replays_all(node.host, server.the_primary(server.survey(estate)).written or 0)
        if node.pending_restart:
            node.host.run("systemctl restart %s", UNIT, timeout=60)


def replays_all(standby: Host, written: int) -> None:
    until(
        lambda: server.look(standby, 17), 30, what=f"{standby} to replay",
        accept=lambda node: (node.replayed or 0) >= written,
    )  # fmt: skip


def pair(estate: Estate) -> tuple[Host, Host]:
    primary, standby = seen.roles(estate)
    return estate.host(primary), estate.host(standby)


def told_before(standby: Host, words: str) -> None:
    """Wait until status finds this in the way of its promotion: a busy host may not answer it in time at first."""
    until(
        lambda: [one for one in json.loads(dr("status", "--json").out)["findings"] if one["hint"]],
        60,
        what=f"{words!r} as a finding",
        accept=lambda found: any(
            one["objective"] == f"promotion of {standby}" and words in one["measured"] for one in found
        ),
    )


def in_use(standby: Host) -> str:
    """The segment that replay is in."""
    node = server.look(standby, 17)
    assert node.timeline and node.replayed
    return server.segment(node.timeline, node.replayed)


def lacks_wal_that_its_summarizer_wants(standby: Host, primary: Host) -> None:
    """As a rewind or recycling leaves it: summaries end where the next segment is gone."""
    set_by_hand(standby, summarize_wal="on")
    standby.run("until ls %s/pg_wal/summaries | grep -q .; do sleep 0.1; done", DATA, timeout=30)
    set_by_hand(standby, summarize_wal="off")
    summarized = in_use(standby)
    for _ in range(3):
        primary.execute("SELECT pg_create_restore_point('filler'); SELECT pg_switch_wal(); CHECKPOINT;", timeout=60)
    replays_all(standby, server.look(primary, 17).written or 0)
    standby.execute("CHECKPOINT;", timeout=60)
    # All that the summarizer could read: replay needs none of it any more but the segment that it is in. Later ones are
    # there as well, empty: they are kept for what is to come.
    standby.run(
        "cd %s/pg_wal && for one in $(ls | grep -E '^[0-9A-F]{24}$'); do "
        'if ! [ "$one" \\< %s ] && [ "$one" \\< %s ]; then rm -f "$one"; fi; done',
        DATA, summarized, in_use(standby),
    )  # fmt: skip
    set_by_hand(standby, summarize_wal="on")


def failed_over(estate: Estate, primary: Host, folder: Path) -> Ended:
    """Under load: the primary's host loses power, failover passes, every acknowledged row is there."""
    with load(estate, folder) as writing:
        writing.writes_on()
        faults.power_off(seen.lab_of(estate), primary.name)
        writing.goes_to_outbox()
        ended = dr("failover", "--yes", "--json")
        assert ended.code == 0, f"{ended.out}\n{ended.err}"
        writing.goes_to_store()
    return ended


def setting(host: Host, name: str) -> str:
    (row,) = host.query(f"SELECT current_setting('{name}') AS value")
    return str(row["value"])


def notes(ended: Ended) -> list[dict[str, object]]:
    records = read_journal(Path(json.loads(ended.out)["run_dir"])).records
    return [dict(record.data) for record in records if record.event == "noted" and record.step == "promote"]


def test_paused_replay_and_an_apply_delay_are_seen_before_and_hold_no_promotion_up(
    whole: Estate, tmp_path: Path
) -> None:
    primary, standby = pair(whole)
    set_by_hand(standby, recovery_min_apply_delay="1h")
    told_before(standby, "recovery_min_apply_delay is 3600 s")
    standby.execute("SELECT pg_wal_replay_pause();")
    told_before(standby, "pause")
    failed_over(whole, primary, tmp_path)


def test_a_standby_that_would_take_no_write_is_seen_before_and_takes_them(whole: Estate, tmp_path: Path) -> None:
    primary, standby = pair(whole)
    standby.execute("ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf();")
    set_by_hand(standby, synchronous_standby_names="nobody")
    told_before(standby, "default_transaction_read_only = 'on' in")
    said = notes(failed_over(whole, primary, tmp_path))
    assert [one["what"] for one in said] == ["removed", "removed"]


def test_a_slow_archive_is_seen_before_it_costs_a_promotion(whole: Estate) -> None:
    _, standby = pair(whole)
    set_by_hand(standby, restore_command="sleep 0.9; false")
    told_before(standby, "a promotion asks 5 times (about")
    set_by_hand(standby, restore_command="sleep 60")
    told_before(standby, "more than")


def test_a_standby_that_is_too_small_is_seen_before_and_is_made_to_fit(whole: Estate, tmp_path: Path) -> None:
    primary, standby = pair(whole)
    set_by_hand(primary, max_connections="120")
    primary.run("systemctl restart %s", UNIT, timeout=60)
    told_before(standby, "max_connections is 100")
    ended = failed_over(whole, primary, tmp_path)
    said = notes(ended)
    assert [one["what"] for one in said] == ["promotion-failed", "removed", "brought-up", "promotion-repeated"]
    assert "insufficient parameter settings" in str(said[0]["words"])
    assert said[1]["what_was"] == "max_connections is 120 now, it was 100"
    seen.power_on(whole)
    seen.as_declared(primary)  # whose own WAL asks for 120 still
    assert dr("rejoin", primary.name, "--yes").code == 0
    assert setting(primary, "max_connections") == "120"


def test_a_summarizer_that_lacks_wal_is_seen_before_and_taken_out_of_the_way(whole: Estate, tmp_path: Path) -> None:
    primary, standby = pair(whole)
    lacks_wal_that_its_summarizer_wants(standby, primary)
    told_before(standby, "summarize_wal is on")
    ended = failed_over(whole, primary, tmp_path)
    assert [one["what"] for one in notes(ended)] == [
        "promotion-failed", "removed", "brought-up", "promotion-repeated",
    ]  # fmt: skip
    assert setting(standby, "summarize_wal") == "off"


def test_a_server_that_its_own_promotion_ended_is_brought_up_and_promoted(whole: Estate, tmp_path: Path) -> None:
    """Half way it had begun a timeline and taken standby.signal away, and nobody is primary."""
    primary, standby = pair(whole)
    lacks_wal_that_its_summarizer_wants(standby, primary)
    act.fence(primary, LAYOUT, "a test")
    standby.execute("SELECT pg_promote(false);")
    until(
        lambda: server.look(standby, 17), 150, what=f"{standby} to end itself", every=1,
        accept=lambda node: node.ssh and not node.online,
    )  # fmt: skip
    half = promotion.configured(standby, LAYOUT)
    assert not half.standby_signal
    heard: list[str] = []
    ends = time.monotonic() + budget("promote")
    context = Context(whole, Options(yes=True), tmp_path, say=heard.append, deadline=ends)
    promoting.promote(context, LAYOUT, standby, primary, "./dr failover --resume --yes")
    assert any("WAL summarization is not progressing" in line for line in heard), heard
    assert server.look(standby, 17).is_primary


def test_a_switchover_that_cannot_promote_gives_the_role_back(whole: Estate) -> None:
    primary, standby = pair(whole)
    before = seen.timeline(whole)
    # Only a promotion comes that far, and each of them ends the server: it has begun a timeline by then.
    set_by_hand(standby, recovery_end_command="kill -9 $PPID")
    ended = dr("switchover", "--json")
    assert ended.code == 1
    assert "could not be promoted, twice" in ended.err or "could not be promoted, twice" in ended.out
    assert f"./dr rejoin {standby} --yes" in ended.err + ended.out
    (node,) = [one for one in server.survey(whole) if one.is_primary]
    assert (node.name, node.timeline) == (primary.name, before)
    assert server.look(standby, 17).fenced
    seen.as_declared(standby)
    came_back = dr("rejoin", standby.name, "--yes")
    assert came_back.code == 0, came_back.err
    seen.assert_whole(whole)
