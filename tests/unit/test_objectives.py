"""What `./dr status` says of estates that are whole, degraded, split or silent; no host is needed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from inventories.catalog import load_recovery
from inventories.catalog.recovery import Limits
from inventories.inventory import HostEntry
from inventories.quorum import Quorum
from runbooks.hosts import Host
from runbooks.judge import clocks, objectives
from runbooks.look.status import SLOW, Status, as_json
from runbooks.probes import disk
from runbooks.probes.app import Outbox
from runbooks.probes.disk import Disk
from runbooks.probes.jobs import Job, Jobs, Late
from runbooks.probes.postgresql.locks import LockRoom
from runbooks.probes.postgresql.pgbackrest import Archiving, Backup, Repository
from runbooks.probes.postgresql.promotion import Hindrance, Outlook
from runbooks.probes.postgresql.server import Node, Standby
from runbooks.record.read import Pages
from runbooks.record.types import Change, Page, Record
from runbooks.record.types import Mode as RecordMode

LIMITS = Limits(
    max_loss_bytes=0, max_replication_lag_bytes=1 << 20, max_backup_age_h=26, max_archive_lag_s=180, max_outbox_rows=50,
    max_disk_used_percent=90, max_promotion_delay_s=2,
    max_proof_age_h=26,
    max_offsite_age_h=26,
    max_sqlite_snapshot_age_h=3,
)
NOW = 1_790_000_000.0


def host(name: str) -> Host:
    return Host(name, HostEntry(name=name, ssh_hostname="192.0.2.1"), Path("/nowhere"))


STREAMS = Standby("pg2", "streaming", "sync", 1000, 1000, 0.01)
PRIMARY = Node(
    host("pg1"), ssh=True, online=True, in_recovery=False, timeline=1, written=1000, synchronous=True,
    standbys=(STREAMS,),
)  # fmt: skip
STANDBY = Node(
    host("pg2"), ssh=True, online=True, in_recovery=True, timeline=1, replayed=1000, standby_signal=True,
    receiving_from="pg1",
)  # fmt: skip
OFF = Node(host("pg2"), ssh=False, why="no answer")
SYSTEM = "7712820265723870263"
BACKUP = Backup("20260101-000000F", "full", int(NOW) - 3600, False, 10, 5, "000000010000000000000004")
REPOSITORY = Repository(0, "ok", "aes-256-cbc", int(SYSTEM), "17", (BACKUP,), "17-1", "000000010000000000000005", False)
ARCHIVER = Archiving("000000010000000000000005", 45.0, False, 0, None, 0)
OUTBOX = Outbox(0, 0, 0, None, None, 4096, 1 << 30, True)


def pages(**changes: object) -> Pages:
    """The same record on every host."""
    record = Record.model_validate({
        "revision": 4, "system_identifier": SYSTEM, "epoch": 1, "primary": "pg1", "timeline": 1,
        "mode": RecordMode.SYNCHRONOUS, "synchronous": ("pg2",), "since": "2026-01-01T00:00:00Z", "why": "deployed",
        **changes,
    })  # fmt: skip
    return Pages(Page("backup1", record, "s"), (Page("pg1", record, "s"), Page("pg2", record, "s")))


def alone(why: str = "pg2 is out", **changes: object) -> Pages:
    return pages(mode=RecordMode.DEGRADED, synchronous=(), why=why, **changes)


NOTED = pages()
CHECKED = Job("check", "5 * * * *", NOW - 60, "passed", NOW - 60, None, "it was in the archive", "/log")
JOBS = Jobs((CHECKED,), (), "offsite1")
PROMOTIONS = {"pg1": Outlook(False), "pg2": Outlook(True, 0.1)}
WHOLE = Status(
    "lab", NOW, 0.2, (PRIMARY, STANDBY), {"pg1": ARCHIVER}, REPOSITORY, OUTBOX, record=NOTED, jobs=JOBS,
    promotions=PROMOTIONS,
)  # fmt: skip
ALONE = replace(PRIMARY, synchronous=False, standbys=())
DEGRADED = replace(WHOLE, nodes=(ALONE, OFF), archiving={"pg1": replace(ARCHIVER, open_bytes=3 << 20)})


def named(status: Status) -> dict[str, objectives.Finding]:
    return {finding.objective: finding for finding in objectives.findings(status, LIMITS)}


def test_whole_estate_meets_everything() -> None:
    assert objectives.findings(WHOLE, load_recovery().limits) == ()
    assert objectives.degraded(WHOLE) == ()
    assert objectives.possible_loss(WHOLE).wal_bytes == 0


def test_a_logical_slot_is_told_before_the_day_on_which_the_role_moves() -> None:
    found = named(replace(WHOLE, nodes=(replace(PRIMARY, logical_slots=("cdc",)), STANDBY)))["slot cdc on pg1"]
    assert "stays behind" in found.measured and "pg_drop_replication_slot('cdc')" in found.hint


def test_synchronous_replication_loses_none_of_the_acknowledged_rows() -> None:
    assert "none of the acknowledged rows" in objectives.possible_loss(WHOLE).sentence


def test_the_repository_of_another_database_system_is_told() -> None:
    nodes = (replace(PRIMARY, system="7001"), STANDBY)
    other = replace(WHOLE, repository=replace(REPOSITORY, system_id=7002), nodes=nodes)
    assert named(other)["backup repository"].measured == "of database system 7002"
    same = replace(other, repository=replace(REPOSITORY, system_id=7001))
    assert "backup repository" not in named(same)


def test_lone_primary_may_lose_what_the_archive_lacks() -> None:
    loss = objectives.possible_loss(DEGRADED)
    assert loss.wal_bytes == 3 << 20
    assert "45 s" in loss.sentence
    assert "3.0 MiB" in loss.sentence
    assert named(DEGRADED)["possible loss"].hint == "./dr rejoin pg2 --yes"


def test_lone_primary_that_archived_nothing_has_no_bound() -> None:
    status = replace(WHOLE, nodes=(ALONE, OFF), archiving={})
    assert objectives.possible_loss(status).wal_bytes is None
    assert named(status)["possible loss"].measured == "unbounded"


def test_asynchronous_standby_may_lack_the_last_bytes() -> None:
    behind = replace(STREAMS, sync="async", flushed=700)
    status = replace(WHOLE, nodes=(replace(PRIMARY, synchronous=False, standbys=(behind,)), STANDBY))
    assert objectives.possible_loss(status).wal_bytes == 300
    assert "./dr deploy" in named(status)["possible loss"].hint
    assert any("asynchronous" in line for line in objectives.degraded(status))


def test_commits_that_wait_for_nobody_are_said_to_hang() -> None:
    status = replace(WHOLE, nodes=(replace(PRIMARY, standbys=()), OFF))
    assert "hang" in objectives.possible_loss(status).sentence
    assert "./dr detach" in named(status)["commits"].hint
    assert any("wait for a standby that is not there" in line for line in objectives.degraded(status))


def test_noted_mode_says_since_when_and_why() -> None:
    status = replace(DEGRADED, record=alone("pg1 is out"))
    assert any("pg1 is out" in line for line in objectives.degraded(status))


def test_nobody_takes_writes() -> None:
    orphan = replace(STANDBY, receiving_from=None)
    status = replace(WHOLE, nodes=(replace(OFF, host=host("pg1")), orphan), archiving={})
    assert named(status)["hosts that take writes"].measured == "none that answers; unknown: pg1"
    down = replace(status, nodes=(replace(OFF, host=host("pg1"), ssh=True), orphan))
    assert named(down)["hosts that take writes"].measured == "none"
    assert "./dr failover" in named(status)["hosts that take writes"].hint
    assert objectives.possible_loss(status).wal_bytes is None


def test_primary_that_answers_nobody_here_may_live_all_the_same() -> None:
    status = replace(WHOLE, nodes=(replace(OFF, host=host("pg1")), STANDBY), archiving={})
    finding = named(status)["hosts that take writes"]
    assert "pg2 still streams from pg1" in finding.measured
    assert "mend SSH to pg1" in finding.hint
    slow = replace(status, nodes=(Node(host("pg1"), ssh=False, slow=True, why=SLOW), STANDBY))
    assert named(slow)["hosts that take writes"].hint.startswith("./dr status asks again")


def test_record_that_lags_behind_what_is_would_make_a_failover_refuse() -> None:
    stale = replace(WHOLE, record=alone())
    finding = named(stale)["recorded mode"]
    assert finding.measured == "nobody has every acknowledged row, since 2026-01-01T00:00:00Z"
    assert "./dr deploy" in finding.hint
    assert "recorded mode" not in named(replace(DEGRADED, record=stale.record))


def test_record_that_promises_more_than_is_so_is_a_finding() -> None:
    """A file removed by hand, an undo that forgot it: the next failover would lose rows and call it none."""
    finding = named(replace(DEGRADED, record=pages()))["recorded mode"]
    assert "pg1 waits for nobody" in finding.measured and "no failover before that" in finding.hint


@pytest.mark.parametrize(
    ("record", "hint"),
    [
        (pages(primary="pg2", synchronous=("pg1",)), "./dr deploy"), (pages(timeline=0), "./dr deploy"),
        (pages(primary="pg2", synchronous=("pg1",), timeline=3), "./dr rejoin pg1 --yes"),
    ],
)  # fmt: skip
def test_record_of_another_primary_or_timeline_is_a_finding(record: Pages, hint: str) -> None:
    assert hint in named(replace(WHOLE, record=record))["recorded primary"].hint


def test_transition_that_nobody_confirmed_is_a_finding_with_its_resume() -> None:
    change = Change(procedure="failover", run="20260101T000000Z-failover", to="pg2")
    finding = named(replace(WHOLE, record=pages(changing=change)))["estate record"]
    assert "was not confirmed" in finding.measured and "./dr failover --resume --yes" in finding.hint


def test_record_that_nobody_can_tell_is_unknown_and_never_fine() -> None:
    nothing = Pages(Page("backup1"), (Page("pg1"), Page("pg2")))
    assert "./dr deploy" in named(replace(WHOLE, record=nothing))["estate record"].hint
    edited = Pages(Page("backup1", why="the record on backup1 was edited by hand"), pages().copies)
    assert "record.settle" in named(replace(WHOLE, record=edited))["estate record"].hint
    foreign = replace(WHOLE, nodes=(replace(PRIMARY, system="42"), STANDBY))
    assert "of the database system" in named(foreign)["estate record"].measured


def test_copy_that_is_not_the_newest_is_a_finding_and_one_on_a_host_that_is_away_is_not() -> None:
    known, old = pages(revision=5), pages(revision=4)
    stale = Pages(known.arbiter, (known.copies[0], old.copies[1]))
    assert named(replace(WHOLE, record=stale))["estate record's copy"].measured == "not the newest on pg2"
    away = Pages(known.arbiter, (known.copies[0], Page("pg2", why="no answer", away=True)))
    assert "estate record's copy" not in named(replace(WHOLE, record=away))


def held(beaten: float, **clocks: float) -> Status:
    moment = datetime.fromtimestamp(beaten, UTC).isoformat()
    acting = {"owner": "eve@laptop", "procedure": "deploy", "heartbeat": moment, "run_dir": "/r"}
    return replace(WHOLE, record=replace(NOTED, arbiter=replace(NOTED.arbiter, acting=acting)), clocks=clocks)


def test_lock_of_a_machine_that_is_gone_is_told_before_a_watch_is_held_up_by_it() -> None:
    finding = named(held(NOW - 3 * 86400))["estate's lock"]
    assert "eve@laptop, running deploy: no sign of life for 72.0 h" in finding.measured
    assert finding.hint.startswith("./dr lock.break")
    assert "estate's lock" not in named(held(NOW - 20))
    assert "estate's lock" not in named(held(NOW + 3600)), "a clock ahead is told by itself"


def test_lock_is_judged_by_the_clock_that_wrote_it() -> None:
    """The backup host's is an hour late, and its holder lives."""
    assert "estate's lock" not in named(held(NOW - 3600, backup1=-3600.0))
    assert "estate's lock" in named(held(NOW - 10, backup1=3600.0))


def test_a_table_that_no_backup_of_tdengine_has_is_named_as_protected_less() -> None:
    status = replace(WHOLE, jobs=replace(JOBS, left_out=(("odd", "its type is not known here"),)))
    assert any("odd" in line and "its type is not known here" in line for line in objectives.degraded(status))


def test_locks_that_are_nearly_used_up_are_among_the_findings() -> None:
    room = LockRoom(8320, "order_records", 1000, 5001)
    assert "5,001 of 8,320" in named(replace(WHOLE, locks={"pg1": room}))["locks of pg1"].measured
    assert named(replace(WHOLE, locks={"pg1": replace(room, locks=4000)})) == {}


def test_paused_replay_and_missing_server_programs_say_what_to_do() -> None:
    status = replace(WHOLE, nodes=(PRIMARY, replace(STANDBY, replay_paused=True)), promotions={})
    paused = named(status)["replay of pg2"]
    assert "pg_wal_replay_resume" in paused.hint
    bare = named(replace(WHOLE, nodes=(PRIMARY, Node(host("pg2"), ssh=True, installed=False))))["pg2 as a standby"]
    assert (bare.measured, bare.hint) == ("PostgreSQL is not installed", "./dr deploy")


def test_full_disk_is_found_to_the_percent() -> None:
    for used, found in ((90, False), (91, True)):
        disks = {"backup1": (Disk("/var/lib/pgbackrest", 1000, 10 * (100 - used)),)}
        assert ("disk /var/lib/pgbackrest of backup1" in named(replace(WHOLE, disks=disks))) is found
    assert Disk("/", 0, 0).used_percent == 100


def test_file_systems_are_read_once_each_whatever_their_names() -> None:
    text = "/ 1000 100\n/ 1000 100\n/a b/c 500 0\n"
    assert disk.parse(text) == (Disk("/", 1000, 100), Disk("/a b/c", 500, 0))
    assert disk.parse("") == ()


def test_archiver_that_fails_is_found_before_segments_are_old() -> None:
    status = replace(WHOLE, archiving={"pg1": replace(ARCHIVER, waiting=2, oldest_waiting_s=5.0, failing=True)})
    assert named(status)["archiver of pg1"].measured == "failed at its last attempt, 2 segments wait"
    assert "archive lag" not in named(status)


def test_two_primaries_are_named_with_their_timelines() -> None:
    status = replace(WHOLE, nodes=(PRIMARY, replace(PRIMARY, host=host("pg2"), timeline=2)))
    assert named(status)["hosts that take writes"].measured == "pg1 (timeline 1) and pg2 (timeline 2)"
    assert status.primary is None


@pytest.mark.parametrize(
    ("node", "measured", "hint"),
    [
        (OFF, "not reachable (no answer)", "bring the host back, then ./dr rejoin pg2"),
        (Node(host("pg2"), ssh=False, slow=True, why=SLOW), SLOW, "./dr status asks again"),
        (Node(host("pg2"), ssh=True, fenced="failover"), "fenced", "./dr rejoin pg2"),
        (Node(host("pg2"), ssh=True, standby_signal=True), "PostgreSQL is down", "./dr deploy --limit pg2"),
        (Node(host("pg2"), ssh=True), "PostgreSQL is down", "./dr rejoin pg2"),
        (replace(STANDBY, receiving_from=None), "does not stream", "./dr rejoin pg2 --yes, if"),
    ],
)
def test_standby_that_is_none_says_what_to_run(node: Node, measured: str, hint: str) -> None:
    finding = named(replace(WHOLE, nodes=(PRIMARY, node)))["pg2 as a standby"]
    assert finding.measured == measured
    assert finding.hint.startswith(hint)


def test_limits_are_kept_to_the_byte_and_the_row() -> None:
    at, above = 1 << 20, (1 << 20) + 1
    for behind, found in ((at, False), (above, True)):
        node = replace(PRIMARY, written=1000 + behind)
        assert ("replication lag of pg2" in named(replace(WHOLE, nodes=(node, STANDBY)))) is found
    for rows, found in ((50, False), (51, True)):
        status = replace(WHOLE, outbox=replace(OUTBOX, pending_rows=rows, oldest_age_s=3.0))
        assert ("rows in the outbox" in named(status)) is found
        assert any(f"{rows} rows" in line for line in objectives.degraded(status))


def test_old_or_missing_backup_is_found() -> None:
    old = replace(BACKUP, stopped_at=int(NOW - 27 * 3600))
    finding = named(replace(WHOLE, repository=replace(REPOSITORY, backups=(old,))))["age of the newest backup"]
    assert (finding.measured, finding.limit) == ("27.0 h", "26 h")
    assert (
        named(replace(WHOLE, repository=replace(REPOSITORY, backups=())))["age of the newest backup"].measured
        == "there is none"
    )


def test_backup_of_an_older_timeline_is_said_aloud() -> None:
    status = replace(WHOLE, nodes=(replace(PRIMARY, timeline=2), replace(STANDBY, timeline=2)))
    assert any("timeline 1 and pg1 is on 2" in line for line in objectives.degraded(status))


def test_archive_lag_is_the_age_of_the_oldest_segment_that_waits() -> None:
    waiting = replace(ARCHIVER, waiting=12, oldest_waiting_s=181.0, failing=True)
    status = replace(WHOLE, archiving={"pg1": waiting})
    assert named(status)["archive lag"].measured == "3 min (12 segments wait)"
    assert any("archiver of pg1 failed" in line for line in objectives.degraded(status))


def test_what_nobody_can_tell_is_a_finding() -> None:
    status = replace(WHOLE, repository=None, outbox=None, unknown={"repository": "off", "outbox": "no agents"})
    assert named(status)["backup repository"].measured == "off"
    assert named(status)["outbox"].measured == "no agents"


def test_dead_letters_and_a_missing_replayer_are_found() -> None:
    status = replace(WHOLE, outbox=replace(OUTBOX, dead_rows=1, replayer_running=False))
    assert {"dead letters in the outbox", "replayer"} <= set(named(status))


def test_what_does_not_leave_the_outbox_by_itself_is_found_and_named() -> None:
    held = {"system_config": 'relation "public.system_config" does not exist'}
    status = replace(WHOLE, outbox=replace(OUTBOX, pending_records=3, pending_rows=9, held_records=3, held=held))
    found = named(status)["system_config in the outbox"]
    assert "does not exist" in found.measured
    assert "--bury system_config" in found.hint
    for fill, alarm in ((0.49, False), (0.51, True)):
        status = replace(WHOLE, outbox=replace(OUTBOX, fill=fill))
        assert ("room of the outbox" in named(status)) is alarm


def test_every_finding_says_what_to_do() -> None:
    broken = replace(DEGRADED, repository=None, outbox=None, unknown={"repository": "off", "outbox": "off"})
    found = objectives.findings(broken, LIMITS)
    assert len(found) >= 4
    assert all(finding.hint and finding.measured and finding.limit for finding in found)


def test_json_tells_hosts_by_name_and_nothing_of_how_they_are_reached() -> None:
    said = json.loads(json.dumps(as_json(WHOLE)))
    assert [(node["name"], node["role"]) for node in said["nodes"]] == [("pg1", "primary"), ("pg2", "standby")]
    assert said["nodes"][0]["standbys"][0]["sync"] == "sync"
    assert "ssh_hostname" not in json.dumps(said)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 << 20, "3.0 MiB"), (5 << 30, "5.0 GiB")]
)
def test_sizes(value: int, text: str) -> None:
    assert objectives.size(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.4, "0.4 s"), (45, "45 s"), (720, "12 min"), (95400, "26.5 h")])
def test_durations(value: float, text: str) -> None:
    assert objectives.duration(value) == text


def test_a_job_that_failed_is_told_at_once() -> None:
    failed = replace(CHECKED, outcome="failed", sentence="the archive does not have it", ended_at=NOW - 30)
    found = named(replace(WHOLE, jobs=replace(JOBS, jobs=(failed,))))
    assert found["job check"].measured == "failed 30 s ago: the archive does not have it"
    assert "./dr backup.run --type check" in found["job check"].hint


def test_success_that_did_not_come_is_told_once_with_what_to_run() -> None:
    late = (
        Late("check", "check has not succeeded since 2026-09-21", 9000, 1200),
        Late("proof", "no backup was ever proven", 200_000, 180_000),
        Late("offsite-copy", "the copy on offsite1 is 30.0 h old", 108_000, 93_600),
    )
    failed = replace(CHECKED, outcome="failed")
    found = named(replace(WHOLE, jobs=Jobs((failed,), late, "offsite1")))
    assert set(found) == {"job check", "age of the newest proof", "age of the off-site copy"}
    assert found["job check"].measured.startswith("check has not succeeded")
    assert "--type prove" in found["age of the newest proof"].hint
    assert "--type offsite" in found["age of the off-site copy"].hint


def test_what_is_late_of_tdengine_names_the_store_in_its_remedy() -> None:
    late = (Late("td-proof", "no backup of TDengine was ever proven", 200_000, 180_000),)
    failed = replace(CHECKED, name="td-incr", outcome="failed")
    found = named(replace(WHOLE, jobs=Jobs((failed,), late, "offsite1")))
    assert "--store tdengine --type prove " in found["age of TDengine's newest proof"].hint
    assert "--store tdengine --type incr " in found["job td-incr"].hint


def test_a_clock_that_is_wrong_and_a_full_backup_that_waits_for_its_proof_are_told() -> None:
    late = (
        Late("clock", "the clock of pg1 is 60.0 d ahead of the others'", 0.0, 0.0),
        Late("full-proof", "full backups were not restored and found whole: X for 15.0 d", 1_296_000, 1_209_600),
        Late("td-full-proof", "full backups of TDengine were not restored and found whole: Y", 1_296_000, 1_209_600),
    )
    found = named(replace(WHOLE, jobs=Jobs((CHECKED,), late, "offsite1")))
    assert (found["clocks"].limit, "chronyc makestep" in found["clocks"].hint) == ("in step", True)
    assert "./dr backup.run --type prove " in found["proofs of full backups"].hint
    assert "--store tdengine --type prove " in found["proofs of TDengine's full backups"].hint


@pytest.mark.parametrize(
    ("ahead", "named"),
    [
        ({"pg1": 0.2, "pg2": -3.0, "app1": 59.0}, {}),
        ({"pg1": 0.2, "app1": 5_184_000.0}, {"clock of app1": "60.0 d ahead of the others"}),
        ({"pg1": 0.2, "app1": -7_200.0}, {"clock of app1": "2.0 h behind the others"}),
        ({"pg1": 300.0, "app1": 301.0}, {"clock of this machine": "300 s behind the others"}),
        ({"app1": 90.0}, {"clock of app1": "90 s ahead of the others, or this machine's is wrong"}),
        ({}, {}),
    ],
)
def test_whose_clock_is_wrong_the_others_tell(ahead: dict[str, float], named: dict[str, str]) -> None:
    found = {one.objective: one.measured for one in clocks.findings(ahead)}
    assert {name: said.replace("301", "300") for name, said in found.items()} == named


def test_a_clock_that_the_jobs_told_of_is_told_once() -> None:
    late = (Late("clock", "the clock of pg1 is 60.0 d ahead of the others'", 0.0, 0.0),)
    ahead = {"pg1": 5_184_000.0, "backup1": 0.0, "app1": -5_184_000.0}
    found = named(replace(WHOLE, jobs=Jobs((CHECKED,), late, "offsite1"), clocks=ahead))
    assert set(found) == {"clocks", "clock of app1"}



def test_a_backup_from_the_future_is_not_a_young_one() -> None:
    ahead = replace(BACKUP, stopped_at=int(NOW + 60 * 86400))
    status = replace(WHOLE, repository=replace(REPOSITORY, backups=(ahead,)))
    assert "from now, by a clock that was ahead" in named(status)["age of the newest backup"].measured


def test_a_shadow_that_no_longer_reaches_back_to_the_archive_is_told() -> None:
    full = replace(OUTBOX, shadow_bytes=2048 << 20, shadow_since=NOW - 30)
    full = replace(full, shadow_rows_s=23_000.0, shadow_row_bytes=31.0)
    checked = replace(CHECKED, last_success_at=NOW - 3000)
    found = named(replace(WHOLE, outbox=full, jobs=Jobs((checked,), (), "offsite1")))
    assert "2.00 of 2.00 GiB, which hold 50 min at 23,000 rows/s" in found["PostgreSQL's shadow"].measured
    assert "the last check of the archive began 50 min ago" in found["PostgreSQL's shadow"].measured


def test_an_estate_without_an_offsite_copy_is_told_so_and_fails_nothing() -> None:
    alone = replace(WHOLE, jobs=replace(JOBS, offsite=None))
    assert objectives.findings(alone, LIMITS) == ()
    assert any("no off-site copy" in line for line in objectives.degraded(alone))


def test_jobs_that_nobody_can_tell_of_are_a_finding_unless_the_host_is_silent() -> None:
    unknown = replace(WHOLE, jobs=None, unknown={"jobs": "there is no such module"})
    assert named(unknown)["scheduled jobs"].measured == "there is no such module"
    assert "scheduled jobs" not in named(replace(unknown, repository=None))


def test_a_part_that_was_only_slow_is_asked_again_before_anything_is_brought_back_or_deployed() -> None:
    """On a lab with too much to do status asked for a deploy and for a host that was there."""
    slow = replace(WHOLE, unknown=dict.fromkeys(("repository", "outbox", "jobs"), SLOW))
    for part, silent in (
        ("backup repository", replace(slow, repository=None)), ("outbox", replace(slow, outbox=None)),
        ("scheduled jobs", replace(slow, jobs=None)),
    ):  # fmt: skip
        finding = named(silent)[part]
        assert finding.measured == "did not answer in time"
        assert finding.hint.startswith("./dr status asks again")


def test_what_would_delay_a_promotion_is_a_finding_with_its_seconds_and_a_hint() -> None:
    slow = Hindrance("archive", "restore_command took 1.0 s", "2 s together", 5.0, False, "./dr backup.check")
    status = replace(WHOLE, promotions={**PROMOTIONS, "pg2": Outlook(True, 1.0, (slow,))})
    finding = named(status)["promotion of pg2"]
    assert "about 5.0 s" in finding.measured
    assert (finding.limit, finding.hint) == ("2 s together", "./dr backup.check")


def test_a_standby_of_which_nobody_can_tell_is_a_finding() -> None:
    status = replace(WHOLE, promotions={}, unknown={"promotion of pg2": "did not answer in time"})
    assert named(status)["promotion of pg2"].measured == "nobody can tell: did not answer in time"


def test_what_a_primary_leaves_behind_is_told_of_its_standby() -> None:
    prepared = Hindrance("prepared", "2 on pg1", "none older than 60 s", 0.0, False, "psql ...")
    status = replace(WHOLE, promotions={**PROMOTIONS, "pg1": Outlook(False, hindrances=(prepared,))})
    assert "no delay" in named(status)["promotion of a standby"].measured


# ---- more than one standby

THIRD = Node(
    host("pg3"), ssh=True, online=True, in_recovery=True, timeline=1, replayed=1000, standby_signal=True,
    receiving_from="pg1",
)  # fmt: skip
LOST = Node(host("pg3"), ssh=False, why="no answer")


def of_three(least: int, *stream: str, third: Node = THIRD) -> Status:
    """pg1 with two standbys of which `least` confirm each commit; these stream."""
    standbys = tuple(Standby(name, "streaming", "quorum", 1000, 1000, 0.01) for name in stream)
    primary = replace(PRIMARY, standbys=standbys, waits_for=Quorum(least, ("pg1", "pg2", "pg3")))
    named = pages(synchronous=("pg2", "pg3"), quorum=least if least < 2 else None)
    looks = {"pg1": Outlook(False), "pg2": Outlook(True, 0.1), "pg3": Outlook(True, 0.1)}
    return replace(WHOLE, nodes=(primary, STANDBY, third), record=named, promotions=looks)


def test_three_nodes_of_which_one_standby_is_lost_are_not_degraded() -> None:
    whole, lost = of_three(1, "pg2", "pg3"), of_three(1, "pg2", third=LOST)
    assert objectives.findings(whole, load_recovery().limits) == ()
    assert objectives.degraded(lost) == () and objectives.possible_loss(lost).wal_bytes == 0
    assert list(named(lost)) == ["pg3 as a standby"]


def test_commits_that_wait_for_both_hang_when_one_is_lost() -> None:
    hangs = of_three(2, "pg2", third=LOST)
    assert named(hangs)["commits"].measured == "hang: only pg2 answers them, and 2 must"
    assert "with whoever is left" in named(hangs)["commits"].hint
    assert any("wait for a standby that is not there" in one for one in objectives.degraded(hangs))


def test_several_standbys_are_brought_back_by_a_command_each() -> None:
    status = replace(DEGRADED, nodes=(ALONE, OFF, replace(OFF, host=host("pg3"))))
    assert named(status)["possible loss"].hint == "./dr rejoin pg2 --yes; ./dr rejoin pg3 --yes"


# ---- asynchronous by declaration

BY_CHOICE = replace(
    WHOLE, asynchronous=True, record=alone("by declaration"),
    nodes=(replace(PRIMARY, synchronous=False, standbys=(replace(STREAMS, sync="async"),)), STANDBY),
)  # fmt: skip


def test_what_was_chosen_is_no_finding_and_its_price_is_said_aloud() -> None:
    assert objectives.findings(BY_CHOICE, LIMITS) == ()
    (said,) = objectives.degraded(BY_CHOICE)
    assert said.startswith("ASYNCHRONOUS BY CHOICE") and "--accept-loss" in said and "./dr reconcile" in said
    assert objectives.degraded(replace(BY_CHOICE, asynchronous=False))[0].startswith("Replication is asynchronous")


@pytest.mark.parametrize(("behind", "told"), [(LIMITS.max_replication_lag_bytes, 0), (2 << 20, 1)])
def test_what_was_not_chosen_is_a_standby_that_falls_far_behind(behind: int, told: int) -> None:
    primary = replace(BY_CHOICE.nodes[0], written=1000 + behind)
    found = named(replace(BY_CHOICE, nodes=(primary, STANDBY)))
    assert ("possible loss" in found) is bool(told)
    if told:
        assert found["possible loss"].limit == "1.0 MiB" and "too far behind" in found["possible loss"].hint


def test_an_asynchronous_estate_without_its_standby_is_a_finding() -> None:
    lost = replace(BY_CHOICE, nodes=(replace(PRIMARY, synchronous=False, standbys=()), OFF), archiving={})
    assert named(lost)["possible loss"].measured == "unbounded"
