"""A hundred thousand subtables on a real server: whoever takes, reads, lists, expires, proves or restores their backups
stays below 300 MiB, and ends.

A database of its own, backed up into a folder of its own. The tests run in the order in which they stand.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator

import pytest

from runbooks.hosts import Estate, Host
from runbooks.probes.tdengine import ground
from tests.drills.test_tdengine_restore import server_of

pytestmark = [
    pytest.mark.lab, pytest.mark.tdengine, pytest.mark.destructive, pytest.mark.long, pytest.mark.timeout(1800),
    pytest.mark.skipif(not os.environ.get("TDENGINE_PACKAGE"), reason="TDENGINE_PACKAGE names no package"),
]  # fmt: skip
LOG = logging.getLogger(__name__)
WIDE = "wide"
SUBTABLES, EACH, MOST_MIB, MOST_S = 100_000, 5, 300, 600
HOME = "/var/lib/mystocks-dr/td-wide"
PLACE = f"{HOME}/td-backup.json"
# Five rows a second apart in each, over the hours of a year; made in statements as long as a server takes.
MAKE = f"""
import json, time
from pathlib import Path
from agents.tdengine.backup import settings
from agents.tdengine.session import Session
own = json.loads(settings.PATH.read_text()) | {{
    "folder": "{HOME}/backups", "proofs": "{HOME}/proofs.jsonl", "database": "{WIDE}",
}}
Path("{PLACE}").write_text(json.dumps(own))
second = 10**9
day, year = 86400 * second, 365 * 86400 * second
newest = time.time_ns() // day * day - 2 * day
with Session(settings.load(Path("{PLACE}")).server()) as session:
    session.execute("DROP DATABASE IF EXISTS {WIDE}")
    session.execute("CREATE DATABASE {WIDE} PRECISION 'ns' VGROUPS 2 KEEP 3650d DURATION 10d WAL_LEVEL 1")
    session.execute(
        "CREATE STABLE {WIDE}.tick_data (ts TIMESTAMP, event_id BIGINT PRIMARY KEY, price DOUBLE, volume BIGINT) "
        "TAGS (symbol VARCHAR(20), exchange VARCHAR(10))"
    )
    for first in range(0, {SUBTABLES}, 2000):
        numbers = range(first, min(first + 2000, {SUBTABLES}))
        session.execute("CREATE TABLE " + " ".join(
            f"{WIDE}.t_{{n:06d}} USING {WIDE}.tick_data TAGS ('{{600000 + n}}', 'SSE')" for n in numbers
        ))
        session.execute("INSERT INTO " + " ".join(
            f"{WIDE}.t_{{n:06d}} VALUES " + "".join(
                f"({{newest - n * 7919 * 60 * second % year + k * second}}, {{n * {EACH} + k + 1}}, 1.5, 100)"
                for k in range({EACH})
            ) for n in numbers
        ))
"""
# One module as a program, and what it took at most: of itself, as a server that a proof starts is not ours.
MEASURED = """
import json, resource, runpy, sys, time
began, code, sys.argv = time.monotonic(), 0, sys.argv[1:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
except SystemExit as error:
    code = error.code or 0
mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"mib": round(mib), "seconds": round(time.monotonic() - began, 1)}))
sys.exit(code)
"""


def agent(backup: Host, words: str, stdin: str = "{}") -> dict[str, object]:
    """What an agent says of the wide database's backups. Fails where it takes too much memory or never ends."""
    ran = backup.run(
        f"cd /opt/mystocks-dr && MYSTOCKS_TD_BACKUP={PLACE} exec python3 -c %s agents.{words}",
        MEASURED, user="postgres", stdin=stdin, timeout=MOST_S,
    )  # fmt: skip
    *said, took = [json.loads(line) for line in ran.stdout.splitlines()]
    LOG.info("%s: %s MiB, %s s", words, took["mib"], took["seconds"])  # --log-cli-level=INFO shows them
    assert 20 < took["mib"] < MOST_MIB, (words, took)
    return dict(said[-1])


@pytest.fixture(scope="module")
def wide(estate_lab: Estate) -> Iterator[Host]:
    backup = estate_lab.backup
    backup.run("rm -rf %s && install -d -o postgres -m 0700 %s %s/backups", HOME, HOME, HOME)
    try:
        backup.run("cd /opt/mystocks-dr && exec python3 -", user="postgres", stdin=MAKE, timeout=MOST_S)
        yield backup
    finally:
        ground.ask(server_of(estate_lab), f"DROP DATABASE IF EXISTS {WIDE}")
        backup.run("rm -rf %s", HOME)


def test_a_full_backup_has_every_subtable(wide: Host) -> None:
    assert agent(wide, "tdengine.backup.rows full")["rows"] == SUBTABLES * EACH


def test_an_incremental_one_has_what_came_since(wide: Host) -> None:
    late = f"INSERT INTO {WIDE}.t_000001 VALUES (NOW, 999999999, 2.5, 1)\n"
    wide.run("cd /opt/mystocks-dr && exec python3 -m agents.tdengine.session", user="postgres", stdin=late, timeout=60)
    assert agent(wide, "tdengine.backup.rows incr")["rows"] == SUBTABLES * EACH + 1


def test_they_are_listed_and_read_again(wide: Host) -> None:
    backups = agent(wide, "tdengine.backup.listing")["backups"]
    assert isinstance(backups, list) and [one["why"] for one in backups] == ["", ""]
    assert agent(wide, "tdengine.backup.verify --all")["labels"] == [one["label"] for one in backups]


def test_what_would_expire_is_told(wide: Host) -> None:
    told = agent(wide, "tdengine.backup.expire plan")
    assert isinstance(told["stays"], list) and [one["damaged"] for one in told["stays"]] == [False, False]


def test_every_row_is_held_against_the_server(wide: Host) -> None:
    found = agent(wide, "tdengine.backup.validate --rows")
    assert (found["missing"], found["flaws"]) == ([], [])


def test_the_newest_is_proven(wide: Host) -> None:
    proof = agent(wide, "tdengine.backup.prove")
    assert proof["outcome"] == "passed", proof
    assert f"{SUBTABLES} of {SUBTABLES} with their tags" in json.dumps(proof)


def test_a_dropped_supertable_comes_back(wide: Host) -> None:
    wide.run(
        "cd /opt/mystocks-dr && exec python3 -m agents.tdengine.session", user="postgres", timeout=MOST_S,
        stdin=f"DROP STABLE {WIDE}.tick_data\n",
    )  # fmt: skip
    assert agent(wide, "tdengine.backup.restore")["rows_written"] == SUBTABLES * EACH + 1
    counted = "SELECT COUNT(*) AS n, COUNT(event_id) AS ids FROM wide.tick_data\n"
    said = wide.run("cd /opt/mystocks-dr && exec python3 -m agents.tdengine.session", user="postgres", stdin=counted)
    assert json.loads(said.stdout) == [{"n": SUBTABLES * EACH + 1, "ids": SUBTABLES * EACH + 1}]
