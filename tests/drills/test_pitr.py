"""Point-in-time recovery on real hosts: targets of every kind, refusals, the check of the archive, and a swap that is
killed at every step under load and resumed. Nothing here asserts on time.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from drills import feed as feeds
from drills.benches.moments import shoot
from inventories.errors import TargetFailed
from runbooks.actions.postgresql import side as sides
from runbooks.engine.procedure import replace_step
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.probes import app
from runbooks.probes.postgresql import server
from runbooks.probes.postgresql import side as side_probe
from runbooks.procedures.postgresql.restore_pitr import RESTORE_PITR, SIDE, RestorePitr, RestorePitrOptions
from runbooks.run import execute
from tests.drills import estate as seen
from tests.drills.doors import Started, dr
from tests.drills.estate import DATA, inside

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.timeout(900)]
MARKS = "pitr_marks"
POINT = f"after the third of {time.time_ns()}"  # a lab that is kept has those of earlier runs
TWICE = f"before the etl of {time.time_ns()}"
CONF = "/etc/postgresql/17/main/conf.d/95-test.conf"


@dataclass(frozen=True)
class Mark:
    """A row that was committed alone: its transaction, a moment and a position between it and the next one."""

    n: int
    xid: int
    at: str
    lsn: str


@pytest.fixture(scope="module")
def whole(estate_lab: Estate) -> Iterator[Estate]:
    seen.make_whole(estate_lab)
    yield estate_lab
    sides.drop(primary(estate_lab), SIDE, 60)


def primary(estate: Estate) -> Host:
    return server.the_primary(server.survey(estate)).host


def psql(estate: Estate, sql: str) -> list[list[str]]:
    """Rows of statements, each in a transaction of its own."""
    ran = primary(estate).run("psql -qAtX -v ON_ERROR_STOP=1 -d %s", database(estate), user="postgres", stdin=sql)
    return [line.split("|") for line in ran.stdout.splitlines() if line]


def database(estate: Estate) -> str:
    return str(estate.data["database"])


def mark(estate: Estate, n: int) -> Mark:
    """Commit row n; afterwards the clock and the WAL have gone on."""
    rows = psql(
        estate,
        f"insert into {MARKS} values ({n}) returning pg_current_xact_id();\n"
        "select pg_sleep(0.05) is null;\nselect clock_timestamp(), pg_current_wal_insert_lsn();\n"
        "select pg_current_xact_id();\n",
    )
    return Mark(n, int(rows[0][0]), rows[2][0], rows[2][1])


@pytest.fixture(scope="module")
def marks(whole: Estate) -> tuple[Mark, ...]:
    psql(whole, f"drop table if exists {MARKS}; create table {MARKS} (n int primary key);")
    made = [mark(whole, n) for n in (1, 2, 3)]
    psql(whole, f"select pg_create_restore_point('{POINT}');")
    return (*made, mark(whole, 4))


def highest(estate: Estate) -> int:
    """The last mark that the side cluster holds; every one before it must be there too."""
    rows = side_probe.query(primary(estate), SIDE, database(estate), f"select n from {MARKS} order by n")
    numbers = [int(row["n"]) for row in rows]
    assert numbers == list(range(1, len(numbers) + 1))
    return numbers[-1] if numbers else 0


def opened(estate: Estate, *words: str) -> int:
    """Restore beside the primary, which goes on: the last mark that is in it."""
    before = seen.timeline(estate)
    done = dr("restore-pitr", *words, "--replace")
    assert done.code == 0, done.err
    assert "commit before the target, in it" in done.out
    assert seen.timeline(estate) == before
    return highest(estate)


class TestTargets:
    """Each opens a side cluster beside the primary; exclusive unless asked otherwise."""

    def test_time(self, whole: Estate, marks: tuple[Mark, ...]) -> None:
        assert opened(whole, "--to-time", marks[1].at) == 2
        side = side_probe.look(primary(whole), SIDE)
        assert side is not None and side.paused and not side.promoted

    def test_same_target_again_takes_what_is_open_and_another_one_is_refused(
        self, whole: Estate, marks: tuple[Mark, ...]
    ) -> None:
        opened(whole, "--to-time", marks[1].at)
        again = dr("restore-pitr", "--to-time", marks[1].at, "--json")
        assert again.code == 0, again.err
        refused = dr("restore-pitr", "--to-time", marks[2].at)
        refused.assert_told(3, f"a side cluster {SIDE} is open on", hint="--replace")
        assert highest(whole) == 2

    def test_lsn(self, whole: Estate, marks: tuple[Mark, ...]) -> None:
        assert opened(whole, "--to-lsn", marks[2].lsn) == 3

    @pytest.mark.long
    def test_transaction_is_left_out_unless_asked_for(self, whole: Estate, marks: tuple[Mark, ...]) -> None:
        assert opened(whole, "--to-xid", str(marks[3].xid)) == 3
        assert opened(whole, "--to-xid", str(marks[3].xid), "--inclusive") == 4

    def test_restore_point(self, whole: Estate, marks: tuple[Mark, ...]) -> None:
        assert opened(whole, "--to-name", POINT) == 3

    @pytest.mark.long  # the torture schema has such a point too, in every run
    def test_restore_point_that_stands_twice_is_told_with_both_and_either_is_reached(
        self, whole: Estate, marks: tuple[Mark, ...]
    ) -> None:
        psql(whole, f"select pg_create_restore_point('{TWICE}');")
        later = mark(whole, 5)
        psql(whole, f"select pg_create_restore_point('{TWICE}');")
        mark(whole, 6)
        refused = dr("restore-pitr", "--to-name", TWICE)
        refused.assert_told(2, f"restore point {TWICE} stands 2 times in the archive", hint="--to-lsn")
        first, second = re.findall(r"--to-lsn ([0-9A-F]+/[0-9A-F]+)", refused.err)
        assert server.lsn(first) < server.lsn(later.lsn) < server.lsn(second)  # type: ignore[operator]
        table = dr("restore-table", "--tables", MARKS, "--to-name", TWICE, "--mode", "replace", "--yes")
        table.assert_told(2, "stands 2 times", hint="--to-lsn")
        assert opened(whole, "--to-lsn", first) == 4
        assert opened(whole, "--to-lsn", second) == 5

    def test_part_of_a_transaction_and_a_prepared_one_are_found_by_their_own_ids(
        self, whole: Estate, marks: tuple[Mark, ...]
    ) -> None:
        rows = psql(
            whole,
            f"begin; insert into {MARKS} values (100); savepoint s;\n"
            f"insert into {MARKS} values (101) returning xmin; commit;\n",
        )
        refused = dr("restore-pitr", "--to-xid", str((1 << 32) + int(rows[0][0])))
        refused.assert_told(3, "does not exist yet")
        done = dr("restore-pitr", "--to-xid", rows[0][0], "--inclusive", "--replace")
        assert done.code == 0, done.err
        held = side_probe.query(primary(whole), SIDE, database(whole), f"select n from {MARKS} where n >= 100")
        assert sorted(int(row["n"]) for row in held) == [100, 101]
        psql(whole, f"delete from {MARKS} where n >= 100;")

    def test_random_moments_under_load_are_reached_exactly(self, whole: Estate, tmp_path: Path) -> None:
        hits = shoot(whole, 3, 20261121, tmp_path, seen.quiet)
        assert [hit.wrong for hit in hits] == ["", "", ""]


@pytest.mark.usefixtures("marks")
class TestRefused:
    """Bad targets end with one sentence, a hint and their code; the primary is not touched."""

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (["--to-time", "2026-11-21 10:00:00"], 2, "has no time zone"),
            (["--to-time", "soon"], 2, "is no time"),
            (["--to-lsn", "7"], 2, "is no LSN"),
            (["--to-lsn", "0/7", "--to-xid", "9"], 2, "two targets"),
            ([], 2, "no target was given"),
            (["--to-xid", "4000000000"], 3, "does not exist yet"),
            (["--to-lsn", "FFFF/0"], 3, "lies behind the last record"),
            (["--to-name", "nobody wrote this"], 3, "has no name nobody wrote this"),
            (["--to-time", "2020-01-01 00:00:00Z"], 3, "lies before anything that can be restored"),
            (["--to-lsn", "0/1000028"], 3, "lies before anything that can be restored"),
            (["--to-name", POINT, "--set", "20200101-000000F"], 2, "holds no backup '20200101-000000F'"),
        ],
    )
    def test_target_that_cannot_be_reached(self, whole: Estate, words: list[str], code: int, told: str) -> None:
        dr("restore-pitr", *words).assert_told(code, told)

    def test_future(self, whole: Estate) -> None:
        soon = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%d %H:%M:%S+00}"
        dr("restore-pitr", "--to-time", soon).assert_told(3, "lies in the future: the clock of")

    def test_transaction_that_was_rolled_back(self, whole: Estate) -> None:
        rows = psql(whole, f"begin; insert into {MARKS} values (99) returning pg_current_xact_id(); rollback;")
        dr("restore-pitr", "--to-xid", rows[0][0]).assert_told(3, "was rolled back")

    def test_swap_without_consent(self, whole: Estate) -> None:
        refused = dr("restore-pitr", "--to-name", POINT, "--swap")
        refused.assert_told(3, "need your consent: fence-main, swap", hint="--yes")

    def test_second_restore_while_one_runs(self, whole: Estate, marks: tuple[Mark, ...]) -> None:
        first = Started("restore-pitr", "--to-time", marks[1].at, "--replace")
        first.hears("side-restore: ")
        first.send(signal.SIGSTOP)
        try:
            second = dr("restore-pitr", "--to-time", marks[2].at)
            second.assert_told(3, "has been running restore-pitr on this estate for")
        finally:
            first.send(signal.SIGCONT)
        assert first.ends().code == 0


class TestArchive:
    """A forced segment must be in the repository, byte for byte; gaps are named."""

    def test_archive_is_whole(self, whole: Estate) -> None:
        checked = dr("backup.check", "--json")
        assert checked.code == 0, checked.err
        assert json.loads(checked.out)["primary"] == primary(whole).name
        listed = dr("backup.list", "--json")
        assert listed.code == 0, (listed.out, listed.err)
        said = json.loads(listed.out)
        assert said["backups"] and said["gaps"] == [] and said["covered"]

    def test_liar_is_caught_and_what_it_lost_is_a_gap(self, whole: Estate) -> None:
        with archive_command(whole, "/bin/true pgbackrest %p"):
            caught = dr("backup.check")
            caught.assert_told(1, "says that it archived it, and it did not", "In force is '/bin/true pgbackrest %p'")
        gap = dr("backup.check")
        gap.assert_told(1, "The archive has a gap: missing 0000", hint="./dr mend-archive")
        listed = dr("backup.list")
        assert listed.code == 1
        assert "GAP" in listed.out
        mended = dr("mend-archive", "--yes")
        assert mended.code == 0, mended.err
        assert dr("backup.check").code == 0

    def test_archive_of_other_bytes_is_caught(self, whole: Estate) -> None:
        spoil = (
            "mkdir -p /tmp/spoilt && cp %p /tmp/spoilt/%f && "
            "printf x | dd of=/tmp/spoilt/%f bs=1 seek=5000000 conv=notrunc status=none && "
            "pgbackrest --stanza=main archive-push /tmp/spoilt/%f"
        )
        with archive_command(whole, spoil):
            caught = dr("backup.check")
            caught.assert_told(1, "its SHA-256 is", "In force is archive_command 'mkdir -p /tmp/spoilt")
        # What is left of it would stop the archiver of whoever is promoted next.
        spoilt = re.findall(r"\b[0-9A-F]{24}\b", caught.told)[0]
        whole.backup.run("find /var/lib/pgbackrest/archive -name %s -delete", f"{spoilt}-*")
        push = "pgbackrest --stanza=main archive-push /var/lib/postgresql/17/main/pg_wal/%s"
        primary(whole).run(push, spoilt, user="postgres", timeout=60)
        assert dr("backup.check").code == 0
        full = dr("backup.run", "--type", "full", "--wait", "120")
        assert full.code == 0, full.err


class archive_command:  # noqa: N801 - reads as what it is
    """The primary's archive_command for a while."""

    def __init__(self, estate: Estate, command: str) -> None:
        self.host, self.command = primary(estate), command

    def __enter__(self) -> None:
        line = f"archive_command = '{self.command}'"
        self.host.run("printf '%%s\\n' %s > %s; chown postgres %s", line, CONF, CONF)
        self._reload(self.command)

    def __exit__(self, *_: object) -> None:
        self.host.run("rm -f %s", CONF)
        self._reload("pgbackrest --stanza=main archive-push %p")

    def _reload(self, wanted: str) -> None:
        self.host.execute("select pg_reload_conf();")
        until(
            lambda: str(self.host.query("select current_setting('archive_command') as now")[0]["now"]),
            10, what="archive_command to be read", accept=lambda now: now == wanted,
        )  # fmt: skip


@pytest.mark.long
class TestSwap:
    """The side cluster takes the primary's place under load; the run is killed at every step and resumed."""

    def test_swap_killed_at_every_step_ends_at_the_target_and_loses_no_row_of_the_outbox(
        self, whole: Estate, marks: tuple[Mark, ...], tmp_path: Path
    ) -> None:
        before = seen.timeline(whole)
        old, other = seen.roles(whole)
        words = ("--to-time", marks[1].at, "--replace", "--swap", "--yes")
        with feeds.running(whole.app, 300.0, 1, tmp_path) as feed:
            resume: tuple[str, ...] = ()
            for step in RESTORE_PITR.step_names[1:]:
                run = Started("restore-pitr", *(resume or words))
                run.hears(f"{step}: ")
                run.send(signal.SIGKILL)
                assert run.ends().code == -signal.SIGKILL
                resume = ("--resume", "--yes")
            done = dr("restore-pitr", *resume, "--json")
            assert done.code == 0, done.err
            seen.Load(feed).goes_to_store()
            outbox = feed.ledger.view().by_outbox
        assert outbox > 0, "the application wrote on"
        state = json.loads(done.out)["state"]
        assert (state["primary"], state["other"], state["rebuilt"]) == (old, other, True)
        until(lambda: app.outbox(whole.app), 60, what="an empty outbox", accept=lambda box: not box.pending_records)
        assert app.outbox(whole.app).dead_rows == 0
        assert psql(whole, f"select n from {MARKS} order by n") == [["1"], ["2"]]
        assert seen.timeline(whole) > before
        seen.assert_whole(whole)
        assert inside(whole, old, f"ls -d {DATA}.replaced-*").split()
        # On a machine that is busy with what was rebuilt a host may be asked a moment too early.
        until(lambda: dr("status"), 120, what="status to find nothing", accept=lambda status: status.code == 0)
        assert dr("backup.check").code == 0

    def test_what_was_replaced_still_holds_what_came_after_the_target(self, whole: Estate) -> None:
        host = primary(whole)
        folder = inside(whole, host.name, f"ls -dt {DATA}.replaced-*").split()[0]
        state = host.run("LC_ALL=C /usr/lib/postgresql/17/bin/pg_controldata %s", folder, user="postgres").stdout
        assert "shut down" in state
        inside(whole, host.name, f"rm -rf {DATA}.replaced-*")

    def test_failed_start_puts_the_old_primary_back_and_a_resumed_run_goes_on_from_there(self, whole: Estate) -> None:
        psql(whole, f"delete from {MARKS};")
        last = mark(whole, 1)
        mark(whole, 2)
        before = seen.timeline(whole)
        options = RestorePitrOptions(to_time=last.at, replace=True, swap=True, yes=True)
        failed = execute(replace_step(RESTORE_PITR, "start", action=breaks), whole, options, seen.quiet)
        assert (failed.exit_code, failed.error) == (1, "it does not start")
        assert seen.timeline(whole) == before
        assert psql(whole, f"select n from {MARKS} order by n") == [["1"], ["2"]]
        seen.assert_whole(whole)
        resumed = execute(RESTORE_PITR, whole, RestorePitrOptions(yes=True), seen.quiet, resume=True)
        assert resumed.exit_code == 0, resumed.error
        assert psql(whole, f"select n from {MARKS} order by n") == [["1"]]
        seen.assert_whole(whole)
        inside(whole, primary(whole).name, f"rm -rf {DATA}.replaced-*")


def breaks(_context: object, _state: RestorePitr) -> RestorePitr:
    raise TargetFailed("it does not start")
