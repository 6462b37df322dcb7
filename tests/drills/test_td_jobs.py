"""TDengine's scheduled jobs on a real server: backups, proofs, retention, the copy off-site, what the shadow lets go.

Without a package (TDENGINE_PACKAGE) each test is skipped by name.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab.disks import small_disk
from runbooks.actions import offsite
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.long_work.work import Asker
from runbooks.probes.tdengine import backups
from tests.drills.doors import Ended, dr

pytestmark = [
    pytest.mark.lab, pytest.mark.tdengine, pytest.mark.timeout(300),
    pytest.mark.skipif(not os.environ.get("TDENGINE_PACKAGE"), reason="TDENGINE_PACKAGE names no package"),
]  # fmt: skip
TICKS = ("--store", "tdengine")
SETTINGS = "/etc/mystocks-dr/jobs.json"
STATES = "/var/lib/mystocks-dr/jobs"
DUMPS = "/var/lib/mystocks-dr/td-dumps"
SHADOW = "/var/lib/mystocks-dr/shadow-tdengine"
LEASES = "/var/lib/mystocks-dr/leases"
_FEED = (
    "cd /opt/mystocks-dr && exec python3 -m agents.feed.feeder "
    "--config /etc/mystocks-dr/agent-tdengine.json --rate 3000 "
    "--seconds 1"
)  # fmt: skip


@pytest.fixture
def backup(estate_lab: Estate) -> Host:
    return estate_lab.backup


@pytest.fixture
def rows(estate_lab: Estate) -> None:
    """Some more rows, acknowledged by TDengine."""
    feed(estate_lab)


def feed(estate: Estate) -> None:
    process = estate.app.start(_FEED, user="mystocks")  # it would end with its input
    assert process.stdin is not None and process.stdout is not None
    told = process.stdout.read().decode().splitlines()
    process.stdin.close()
    assert process.wait(10) == 0
    assert json.loads(told[-1])["acked"] > 1000


def agent(backup: Host, words: str, expect: int = 0, stdin: str = "", settings: str = SETTINGS) -> Any:
    """What an agent answers, or, where it fails, what it says."""
    command = f"cd /opt/mystocks-dr && MYSTOCKS_JOBS=%s python3 -m agents.{words}"
    ran = backup.run(command, settings, user="postgres", timeout=200, expect=expect, stdin=stdin)
    return ran.stderr if expect else [json.loads(line) for line in ran.stdout.splitlines()][-1]


def labels(backup: Host) -> list[str]:
    return list(backups.labels(backup))


def state(backup: Host, job: str) -> dict[str, Any]:
    return dict(backup.run("cat %s", f"{STATES}/{job}.json").json())


def listed(*words: str) -> dict[str, Any]:
    ended = dr("backup.list", *TICKS, "--json", *words)
    return dict(json.loads(ended.out)["tdengine"])


def findings(ended: Ended) -> dict[str, dict[str, str]]:
    return {one["objective"]: one for one in json.loads(ended.out)["findings"]}


@contextmanager
def kept(backup: Host, path: str) -> Iterator[None]:
    """Whatever happens to it meanwhile, it is as it was afterwards."""
    backup.run("rm -rf /var/lib/postgresql/kept && cp -a %s /var/lib/postgresql/kept", path)
    try:
        yield
    finally:
        backup.run("rm -rf %s && mv /var/lib/postgresql/kept %s", path, path)


@contextmanager
def retention(backup: Host, full_copies: int, days: int) -> Iterator[str]:
    """Settings of the jobs that ask for this much."""
    raw = backup.run("cat %s", SETTINGS).json()
    path = "/var/lib/postgresql/td-jobs-test.json"
    text = json.dumps({**raw, "td_retention": {"full_copies": full_copies, "days": days}})
    backup.run("cat > %s && chown postgres: %s", path, path, stdin=text)
    try:
        yield path
    finally:
        backup.run("rm -f %s", path)


@pytest.mark.usefixtures("rows")
def test_a_backup_by_hand_is_recorded_like_a_scheduled_one_and_says_what_is_covered(
    estate_lab: Estate, backup: Host
) -> None:
    before = labels(backup)
    done = dr("backup.run", *TICKS, "--type", "full")
    assert done.code == 0, done.err
    feed(estate_lab)
    assert dr("backup.run", *TICKS, "--type", "incr").code == 0
    full, incr = [label for label in labels(backup) if label not in before]
    assert incr.startswith(f"{full}_")
    assert state(backup, "td-full")["outcome"] == state(backup, "td-incr")["outcome"] == "passed"
    assert incr in state(backup, "td-incr")["sentence"]
    told = {one["label"]: one for one in listed()["backups"]}
    assert told[incr]["rows"] > told[full]["rows"]
    assert told[incr]["own_rows"] > 0
    checked = dr("backup.check", *TICKS, "--json")
    assert checked.code == 0, checked.err
    seen = json.loads(checked.out)["tdengine"]
    assert (seen["label"], seen["covered_label"]) == (incr, incr)
    assert incr in json.loads(dr("status", "--json").out)["tdengine_backups"]


def test_jobs_of_tdengine_do_not_wait_for_the_repository(backup: Host) -> None:
    holder = backup.start("exec flock /var/lib/pgbackrest/.backup.lock cat", user="postgres")
    try:
        probe = "flock -n /var/lib/pgbackrest/.backup.lock true"
        until(lambda: backup.run(probe, expect=None).rc == 1, 10, what="the lock to be held")
        assert dr("backup.run", *TICKS, "--type", "incr").code == 0
        dr("backup.run", "--type", "incr").assert_told(3, "incr cannot run")
    finally:
        assert holder.stdin is not None
        holder.stdin.close()
        holder.wait(10)


def test_a_proof_is_recorded_and_shown(backup: Host) -> None:
    newest = labels(backup)[-1]
    done = dr("prove-backup", *TICKS, "--set", newest)
    assert done.code == 0, done.err
    assert f"{newest} is proven" in done.out
    told = {one["label"]: one for one in listed()["backups"]}
    assert time.time() - told[newest]["proven_at"] < 120


def test_a_byte_that_flipped_is_found_by_every_door(backup: Host) -> None:
    full = listed()["backups"][-1]["chain"][0]  # whose rows the newest one needs
    data = f"{backups.FOLDER}/{full}/data-0001.blocks.zst.enc"
    with kept(backup, f"{backups.FOLDER}/{full}"), kept_proofs(backup):
        backup.run("printf '\\377\\376' | dd of=%s bs=1 seek=900 conv=notrunc status=none", data)
        dr("backup.check", *TICKS).assert_told(1, "data-0001")
        dr("backup.run", *TICKS, "--type", "verify").assert_told(1, "data-0001")
        proof = dr("prove-backup", *TICKS, "--set", full)
        assert proof.code == 1, proof.out
        assert "NOT proven" in proof.out
        told = listed()
        assert not told["sound"]
        assert "its files are damaged" in {one["label"]: one["trouble"] for one in told["backups"]}[full]
        plan = json.loads(dr("backup.expire", *TICKS, "--plan", "--json").out)
        assert [one["damaged"] for one in plan["stays"] if one["label"] == full] == [True]
        assert "job td-verify" in findings(dr("status", "--json"))
    assert dr("backup.run", *TICKS, "--type", "verify").code == 0
    assert dr("prove-backup", *TICKS, "--set", full).code == 0
    assert listed()["sound"]


@contextmanager
def kept_proofs(backup: Host) -> Iterator[None]:
    """The records as they were: nothing else in this module asks for a proof that failed."""
    backup.run("cp -a %s %s.kept", backups.PROOFS, backups.PROOFS)
    try:
        yield
    finally:
        backup.run("mv %s.kept %s", backups.PROOFS, backups.PROOFS)


@contextmanager
def unleased(backup: Host) -> Iterator[None]:
    """A restore that failed in another test has its backup kept for a day; what there is of that is put aside."""
    backup.run("mv %s %s.kept && install -d -o postgres -m 0755 %s", LEASES, LEASES, LEASES)
    try:
        yield
    finally:
        backup.run("rm -rf %s && mv %s.kept %s", LEASES, LEASES, LEASES)


def test_nothing_expires_without_a_proof_and_then_whole_chains_do(backup: Host) -> None:
    for _ in range(2):
        assert dr("backup.run", *TICKS, "--type", "full").code == 0
    *others, older, newest = labels(backup)
    with (
        unleased(backup), kept(backup, backups.FOLDER), kept_proofs(backup), retention(backup, 1, 0) as settings
    ):  # fmt: skip
        for label in others:  # tables that other tests dropped are in no newer one, and nothing expires
            backup.run("rm -r %s", f"{backups.FOLDER}/{label}")
        backup.run(": > %s", backups.PROOFS)
        said = agent(backup, "tdengine.backup.expire apply", settings=settings)
        assert "no backup was ever restored and found whole" in said["sentence"]
        assert labels(backup) == [older, newest]
        proof = {"label": newest, "proven_at": time.time(), "outcome": "passed"}
        backup.run("cat >> %s", backups.PROOFS, stdin=json.dumps(proof) + "\n")
        said = agent(backup, "jobs.runner run td-expire", settings=settings)
        assert f"expired: {older}" in said["sentence"]
        assert labels(backup) == [newest]
        assert agent(backup, "tdengine.backup.verify")["label"] == newest


def test_expire_says_what_stays_and_changes_nothing(backup: Host) -> None:
    before = labels(backup)
    told = dr("backup.expire", *TICKS, "--plan", "--json")
    assert told.code == 0, told.err
    assert {one["label"] for one in json.loads(told.out)["stays"]} == set(before)
    assert labels(backup) == before


def test_a_lost_folder_comes_back_from_the_copy(backup: Host) -> None:
    assert dr("backup.run", "--type", "offsite").code == 0
    before = labels(backup)
    said = agent(backup, f"offsite.copies restore --only {backups.FOLDER}", expect=1)
    assert "holds backups, and nothing is restored over them" in said
    with kept(backup, backups.FOLDER):
        backup.run("rm -rf %s", backups.FOLDER)
        assert "cannot be made here" in agent(backup, f"offsite.copies restore --only {backups.FOLDER}", expect=1)
        assert "there is none, though there was one" in findings(dr("status", "--json"))["TDengine's newest backup"][
            "measured"
        ]
        dr("backup.run", "--type", "offsite").assert_told(1, "none of the TDengine backups that were taken")
        assert offsite.restore_tdengine(backup, Asker.door("a test")).bytes > 0
        assert labels(backup) == before
        assert agent(backup, "tdengine.backup.verify")["label"] == before[-1]
    assert dr("backup.run", "--type", "offsite").code == 0


def test_the_second_engine_takes_dumps_that_come_back_whole(backup: Host) -> None:
    done = dr("backup.run", *TICKS, "--type", "full", "--engine", "taosdump")
    assert done.code == 0, done.err
    dumps = agent(backup, "tdengine.backup.dump list")["dumps"]
    newest = dumps[-1]
    assert newest["label"] in done.out
    assert backup.run("stat -c %%a %s", f"{DUMPS}/{newest['label']}").text == "700"
    agent(backup, "tdengine.session", stdin="DROP DATABASE IF EXISTS td_beside\n")
    try:
        back = agent(backup, f"tdengine.backup.dump restore {newest['label']} --into td_beside")
        assert back["rows"] == newest["counts"]
        over = agent(backup, f"tdengine.backup.dump restore {newest['label']} --into td_beside", expect=1)
        assert "nothing is written over it" in over
        options = agent(backup, "tdengine.session", stdin="SHOW CREATE DATABASE td_beside\n")
        assert "WAL_LEVEL 2" in options[0]["Create Database"], "taosdump forgets it"
    finally:
        agent(backup, "tdengine.session", stdin="DROP DATABASE IF EXISTS td_beside\n")
    with kept(backup, f"{DUMPS}/{newest['label']}"):
        backup.run("truncate -s -1 %s", f"{DUMPS}/{newest['label']}/dump.tar.zst.enc")
        assert "bytes instead of" in agent(backup, "tdengine.backup.dump verify", expect=1)
        backup.run("sed -i s/tick_data/tick_date/ %s", f"{DUMPS}/{newest['label']}/manifest.json")
        assert "was edited" in agent(backup, "tdengine.backup.dump verify", expect=1)
    proof = dr("prove-backup", *TICKS, "--engine", "taosdump", "--set", newest["label"])
    assert proof.code == 0, proof.err
    assert f"{newest['label']} is proven by 1 checks" in proof.out
    told = {one["label"]: one["proven_at"] for one in agent(backup, "tdengine.backup.listing")["dumps"]}
    assert time.time() - told[newest["label"]] < 120


def test_a_full_disk_ends_a_dump_with_a_sentence_and_leaves_nothing(estate_lab: Estate, backup: Host) -> None:
    before = agent(backup, "tdengine.backup.dump list")["dumps"]
    with small_disk(estate_lab.name.removeprefix("lab-"), backup.name, DUMPS, "cron") as disk:
        disk.fill()
        dump = ("backup.run", *TICKS, "--type", "full", "--engine", "taosdump")
        dr(*dump).assert_told(1, hint="Make room")
        assert backup.run("ls -A %s | grep partial || true", DUMPS).text == ""
        assert agent(backup, "tdengine.backup.dump list")["dumps"] == before
        disk.empty()
        assert dr(*dump).code == 0


def segments(app: Host) -> list[str]:
    """What the shadow holds, oldest first; its note of the clock lies beside."""
    return app.run("cd %s && ls *.shadow", SHADOW, user="mystocks").stdout.split()


def test_the_shadow_lets_go_of_what_a_backup_covers(estate_lab: Estate, backup: Host) -> None:
    app = estate_lab.app
    trim = (
        "cd /opt/mystocks-dr && python3 -m agents.tdengine.backup.cover trim "
        "--config /etc/mystocks-dr/agent-tdengine.json"
    )
    feed(estate_lab)
    before = segments(app)
    app.run("touch -d '-20 minutes' %s/*.shadow".replace("%s", SHADOW))
    feed(estate_lab)
    newest = segments(app)[-1]
    assert newest not in before
    assert dr("backup.run", *TICKS, "--type", "incr").code == 0
    assert app.run(trim, user="mystocks").json()["segments_gone"] == len(before)
    assert segments(app) == [newest]
    assert app.run("systemctl is-active mystocks-shadow.timer").text == "active"


def test_a_backup_is_begun_before_the_shadow_no_longer_reaches_back(estate_lab: Estate, backup: Host) -> None:
    assert dr("backup.run", *TICKS, "--type", "incr").code == 0
    trim = "cd /opt/mystocks-dr && python3 -m agents.tdengine.backup.cover trim --config %s"
    estate_lab.app.run(trim, "/etc/mystocks-dr/agent-tdengine.json", user="mystocks")
    (noted,) = agent(backup, "tdengine.session", stdin="SELECT COUNT(*) AS n FROM mystocks_dr.held\n")
    assert noted["n"] > 0, "the application host says how full it is"
    assert agent(backup, "jobs.runner wanted") == {"ran": []}
    agent(backup, "tdengine.session", stdin="INSERT INTO mystocks_dr.held VALUES (NOW, 8, 10)\n")
    ran = agent(backup, "jobs.runner wanted")["ran"]
    assert [(one["job"], one["outcome"]) for one in ran] == [("td-incr", "passed")]
    assert agent(backup, "jobs.runner wanted") == {"ran": []}, "it is covered now"


def test_rows_that_vanished_keep_the_shadow_and_raise_the_alarm(estate_lab: Estate, backup: Host) -> None:
    """Dropped between two backups: what came since the first of them may be in the shadow alone."""
    feed(estate_lab)
    assert dr("backup.run", *TICKS, "--type", "incr").code == 0
    known = labels(backup)[-1]
    table = "market_data.minute_kline"
    before = agent(backup, "tdengine.session", stdin=f"SELECT COUNT(*) AS n FROM {table}\n")[0]["n"]
    agent(backup, "tdengine.session", stdin=f"DELETE FROM {table} WHERE ts > 0\n")
    told = dr("backup.run", *TICKS, "--type", "incr")
    assert told.code == 0, told.err
    assert f"TDengine lacks {before:,} rows of minute_kline" in told.out
    assert json.loads(dr("backup.check", *TICKS, "--json").out)["tdengine"]["covered_label"] == known
    found = findings(dr("status", "--json"))["rows of TDengine"]
    assert f"which {known} has" in found["measured"]
    assert "ALARM: TDengine lacks" in backup.run("journalctl --since=-2min -t mystocks-dr").stdout
    back = dr("tdengine-restore", "--label", known, "--tables", "minute_kline", "--yes")
    assert back.code == 0, back.err
    assert dr("backup.run", *TICKS, "--type", "incr").code == 0
    assert "rows of TDengine" not in findings(dr("status", "--json"))
    seen = json.loads(dr("backup.check", *TICKS, "--json").out)["tdengine"]
    assert seen["covered_label"] == seen["label"] != known


def test_a_success_of_tdengine_that_did_not_come_is_told_with_its_remedy(backup: Host) -> None:
    path = f"{STATES}/td-incr.json"
    other = state(backup, "td-full")
    with kept(backup, path):
        backup.run("cat > %s", f"{STATES}/td-full.json", stdin=json.dumps({**other, "last_success_at": 0}))
        old = {**state(backup, "td-incr"), "armed_at": 0, "last_success_at": 0, "outcome": "passed"}
        backup.run("cat > %s", path, stdin=json.dumps(old))
        found = findings(dr("status", "--json"))["job td-incr"]
        assert "td-incr has not succeeded since 1970" in found["measured"]
        assert "--store tdengine --type incr" in found["hint"]
    backup.run("cat > %s", f"{STATES}/td-full.json", stdin=json.dumps(other))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("backup.run", "--store", "oracle"), "no store 'oracle'"),
        (("backup.run", *TICKS, "--type", "offsite"), "no job 'offsite' of tdengine"),
        (("backup.run", *TICKS, "--engine", "native"), "tdengine has no engine 'native'"),
        (("backup.run", *TICKS, "--engine", "taosdump"), "taosdump has no job 'incr'"),
        (("backup.list", "--store", "oracle"), "no store 'oracle'"),
        (("prove-backup", "--store", "oracle"), "no store 'oracle'"),
    ],
)
@pytest.mark.usefixtures("backup")
def test_a_mistake_is_one_sentence(words: tuple[str, ...], told: str) -> None:
    dr(*words).assert_told(2, told)
