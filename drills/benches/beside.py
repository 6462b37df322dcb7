"""What commits of production take while a backup is restored beside the primary, and what they take without.

The same load on the same hosts, one after the other: so many small transactions a second, each waiting for the standby.
Its p99 counts from the moment at which a transaction was due, so that one that had to wait its turn is not forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from inventories.errors import VerificationFailed
from runbooks.actions.postgresql import side
from runbooks.hosts import Estate, Host
from runbooks.layout import Layout
from runbooks.long_work.work import Asker
from runbooks.probes.postgresql import server

NAME = "bench"
RATE, CLIENTS = 200, 4
_LEAST = 500  # commits, or a p99 is five of them
_STOPS_S = 30.0
# For so many seconds, or with 0 until its standard input ends; then what each commit took, in microseconds, one a line.
# In turns of two seconds, each of which ends by itself: pgbench writes its log in blocks and loses the last when ended.
LOAD = """
set -e
cd "$(mktemp -d)"
psql -qX -d %s -c 'set client_min_messages = warning' \
  -c 'create table if not exists public.bench_commits (n bigserial primary key, at timestamptz)'
echo 'insert into public.bench_commits (at) values (now());' >script
(for _ in $(seq 1000); do test -e stop || %s/pgbench -n -f script -R %s -c %s -j 2 -T 2 -l -d %s; done) >out 2>&1 &
echo begun
if test %s = 0; then read -r _ || true; else sleep %s; fi
touch stop; wait $!
awk '{print $3}' pgbench_log.*
rm -r "$PWD"
"""


@dataclass(frozen=True)
class Commits:
    """Milliseconds of commits: p99 without a restore, and with one that took `seconds`."""

    calm_ms: float
    beside_ms: float
    seconds: float

    @property
    def times(self) -> float:
        return self.beside_ms / self.calm_ms


def measure(estate: Estate, calm_s: float = 45.0) -> Commits:
    """Both on the primary's host, the restore as the runbooks do it. Raises DrError.

    Without it once before and once after: what comes every minute or so (a segment to archive, a checkpoint) comes
    into both, and a disk that grows slower does not count as the restore's doing.
    """
    host, layout = server.the_primary(server.survey(estate)).host, Layout(server.version(estate))
    database = str(estate.data["database"])
    side.drop(host, NAME, 60)
    words = (database, layout.bin, RATE, CLIENTS, database)

    def calm() -> list[int]:
        ran = host.run(LOAD, *words, calm_s, calm_s, user="postgres", timeout=calm_s + _STOPS_S)
        return _numbers(ran.stdout)

    alone = calm()
    with _load(host, *words) as took:
        side.restore(host, side.SideRequest(NAME), Asker.door("./dr bench --restore"))
    side.drop(host, NAME, 60)
    return Commits(p99([*alone, *calm()]), p99(took), len(took) / RATE)


def p99(took_us: Sequence[int]) -> float:
    """Milliseconds that one commit of a hundred takes longer than. Raises VerificationFailed for too few of them."""
    if len(took_us) < _LEAST:
        raise VerificationFailed(f"{len(took_us)} commits are no measure of the slowest of a hundred")
    return sorted(took_us)[len(took_us) * 99 // 100] / 1000


def _numbers(said: str) -> list[int]:
    return [int(line) for line in said.split() if line.isdigit()]


@contextmanager
def _load(host: Host, *words: object) -> Iterator[list[int]]:
    """Commits on the primary's host meanwhile; afterwards the list has what each took, in microseconds."""
    took: list[int] = []
    process = host.start(LOAD, *words, 0, 0, user="postgres")
    assert process.stdout
    try:
        if process.stdout.readline().strip() != b"begun":
            raise VerificationFailed(f"no load could be begun: {process.communicate()[1].decode()[-300:]}")
        yield took
        said, _ = process.communicate(b"\n", timeout=_STOPS_S)
        took += _numbers(said.decode())
    finally:
        process.kill()
        process.wait()
