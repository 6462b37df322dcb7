"""How much longer production's commits take beside a restore: the slowest of a hundred, over enough of them."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from drills.benches.beside import LOAD, Commits, p99
from inventories.errors import VerificationFailed
from runbooks.engine.wait import until
from tests.unit.postgres_server import DATABASE, Server, programs


def test_the_slowest_of_a_hundred_is_told_in_milliseconds() -> None:
    took = [1000 * n for n in range(1, 1001)]
    assert p99(list(reversed(took))) == 991.0
    assert Commits(8.0, 10.0, 20.0).times == 1.25


def test_too_few_commits_are_no_measure_and_none_is_none() -> None:
    for few in ([], [5] * 499):
        with pytest.raises(VerificationFailed, match="no measure"):
            p99(few)


@pytest.mark.parametrize("calm_s", [2, 0])
def test_the_load_ends_when_it_is_told_to_and_tells_what_each_commit_took(
    copying_server: Server, calm_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For so many seconds, and until its input ends. A shell's background program ignores SIGINT."""
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", str(copying_server.port))
    words = [DATABASE, programs(), 200, 4, DATABASE, calm_s, calm_s]
    load = subprocess.Popen(
        ["sh", "-c", LOAD % tuple(shlex.quote(str(word)) for word in words)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert load.stdout and load.stdout.readline() == "begun\n"
    if not calm_s:
        until(lambda: _commits(copying_server) > 20, 20, what="the load to commit")
    told = load.communicate("\n", timeout=40)[0].split()
    assert load.returncode == 0 and told and all(0 < int(took) < 40_000_000 for took in told)
    assert 20 < len(told) <= _commits(copying_server)
    assert copying_server.sql(_SESSIONS) == [(0,)], "a load goes on"


def _commits(server: Server) -> int:
    there = server.sql("SELECT to_regclass('public.bench_commits') IS NOT NULL")[0][0]
    return int(str(server.sql("SELECT count(*) FROM public.bench_commits")[0][0])) if there else 0


_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'"
