"""What a node says of itself, read into types; positions and segment names; one primary or a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventories.errors import DrError, Refused, TargetFailed, TimedOut, Unreachable
from inventories.inventory import HostEntry
from runbooks.hosts import Host, Ran
from runbooks.knock import Door
from runbooks.layout import slot
from runbooks.probes.postgresql import server

SERVER = {
    "system": "7712820265723870263",
    "in_recovery": False, "timeline": 3, "written": "1/2000060", "replayed": None, "replay_age_s": None,
    "since_s": None, "heard": 0, "delaying": False,
    "replay_paused": False,
    "receiving_from": None, "synchronous": True, "archived_age_s": 1.5, "archive_failing": False, "lost_slots": [],
    "logical_slots": [], "pending_restart": ["max_connections"],
    "standbys": [
        {
            "name": "pg2", "state": "streaming", "sync": "sync", "flushed": "1/2000060", "replayed": "1/2000000",
            "lag_s": 0.1,
        },
    ],
}  # fmt: skip


def host(name: str) -> Host:
    return Host(name, HostEntry(name=name, ssh_hostname="192.0.2.1"), Path("unused"))


def node(name: str, **said: object) -> server.Node:
    beside = {"standby_signal": False, "installed": True, "fenced": "", "runs": "", "error": ""}
    return server._node(host(name), {**beside, "server": {**SERVER, **said}})


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_a_position_survives_its_text(position: int) -> None:
    assert server.lsn(server.as_lsn(position)) == position


def test_no_position_is_none_and_not_zero() -> None:
    assert server.lsn(None) is None


@pytest.mark.parametrize(
    ("timeline", "position", "name"),
    [
        (1, "0/3000060", "000000010000000000000003"),
        (12, "1/FFFFFFFF", "0000000C00000001000000FF"),
        (2, "2/0", "000000020000000200000000"),
    ],
)
def test_segments_are_named_as_postgresql_names_them(timeline: int, position: str, name: str) -> None:
    at = server.lsn(position)
    assert at is not None
    assert server.segment(timeline, at) == name


def test_a_primary_is_read_with_its_standbys() -> None:
    read = node("pg1")
    assert read.is_primary and read.online and read.ssh and not read.is_standby
    assert read.written == (1 << 32) + 0x2000060
    assert read.standbys[0].streams and read.standbys[0].flushed == read.written
    assert read.pending_restart == ("max_connections",)


def test_a_node_without_a_server_is_seen_and_offline() -> None:
    said = {"standby_signal": True, "installed": True, "fenced": "failover\n", "server": None, "runs": "", "error": ""}
    read = server._node(host("pg1"), said)
    assert read.ssh and not read.online and read.fenced == "failover" and read.standby_signal
    assert read.answer is server.Answer.DOWN and not read.is_primary and not read.is_standby


@pytest.mark.parametrize(
    ("error", "why"),
    [
        ("", "PostgreSQL hangs (process 7 runs and did not answer within 1.5 s)"),
        (
            "psql: error: connection to server failed: FATAL:  sorry, too many clients already",
            "PostgreSQL does not serve (process 7 runs): connection to server failed: FATAL: sorry, too many clients "
            "already",
        ),
    ],
)
def test_server_that_runs_and_does_not_answer_is_unknown_and_never_down(error: str, why: str) -> None:
    said = {
        "standby_signal": False, "installed": True, "fenced": "", "server": None, "runs": "process 7 runs",
        "error": error,
    }  # fmt: skip
    read = server._node(host("pg1"), said, 1.5)
    assert read.answer is server.Answer.UNKNOWN and read.is_unknown and read.hangs
    assert read.why == why
    assert server.told([read]) == f"pg1: {why}"


def test_host_that_cannot_be_asked_is_unknown_and_its_server_does_not_hang() -> None:
    silent = server.Node(host("pg1"), ssh=False, why="no answer at 192.0.2.1:22")
    assert silent.is_unknown and not silent.hangs
    assert not silent.is_primary and not silent.is_standby


@pytest.mark.parametrize(
    ("error", "slow"),
    [(TimedOut("pg1 did not finish within 2 s"), True), (Unreachable("pg1 cannot be reached over SSH"), False)],
)
def test_a_host_that_is_slow_is_not_called_away(
    monkeypatch: pytest.MonkeyPatch, error: DrError, slow: bool
) -> None:
    def fails(*_: object, **__: object) -> Ran:
        raise error

    monkeypatch.setattr(Host, "knock", lambda *_: Door.OPEN)
    monkeypatch.setattr(Host, "run", fails)
    seen = server.look(host("pg1"), 17)
    assert (seen.slow, seen.is_unknown, seen.hangs, seen.why) == (slow, True, False, str(error))
    way = server.way_to_a_primary((seen,))
    assert ("asks again" in way, "power the hosts on" in way) == (slow, not slow)


def test_a_standby_that_receives_nothing_does_not_stream() -> None:
    assert not node("pg2", in_recovery=True).streams
    assert node("pg2", in_recovery=True, receiving_from="pg1").streams


def test_two_primaries_are_refused_with_their_timelines() -> None:
    with pytest.raises(Refused, match=r"two primaries: pg1 \(timeline 3\) and pg2 \(timeline 4\)"):
        server.the_primary([node("pg1"), node("pg2", timeline=4)])


def test_no_primary_is_refused() -> None:
    with pytest.raises(Refused, match="no PostgreSQL node takes writes"):
        server.the_primary([node("pg2", in_recovery=True)])


@pytest.mark.parametrize("said", ["WARNING: Calculated CRC", "pg_controldata: warning: calculated CRC"])
def test_a_damaged_control_file_is_not_believed(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    printed = (
        "Database cluster state: in production\nLatest checkpoint location: 0/2000080\n"
        "Latest checkpoint's TimeLineID: 7\n"
    )
    monkeypatch.setattr(Host, "run", lambda *_, **__: Ran(0, printed, "", 0.1))
    assert server.control_data(host("pg1"), 17).timeline == 7
    warning = f"{said} checksum does not match value stored in file.\n"
    monkeypatch.setattr(Host, "run", lambda *_, **__: Ran(0, printed, warning, 0.1))
    with pytest.raises(TargetFailed, match="pg1: the checksum of its control file"):
        server.control_data(host("pg1"), 17)


def test_a_slot_is_named_after_its_host_in_postgresqls_letters() -> None:
    assert slot("PG-1.example") == "pg_1_example"
