"""What a stopped PostgreSQL holds: control file, timelines, the last record of its WAL, its part in the cluster.

A server that is down answers no question, so its files are asked. A crashed primary's WAL ends behind its last
checkpoint, which is why the records themselves are read. Whether one directory holds all that another holds is told by
comparing bytes of the WAL, not positions alone: two servers that went separate ways on one timeline have the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from inventories.errors import DrError
from runbooks.engine.budgets import budget
from runbooks.hosts import Host
from runbooks.layout import FENCED, Layout
from runbooks.probes.postgresql.server import UNTRUSTWORTHY, as_lsn, lsn

HEADER_BYTES = 24  # of a WAL record, its checksum among them
FIRST_NORMAL_OID = 16384
IN_RECOVERY = ("in archive recovery", "shut down in recovery")
_LSN = r"([0-9A-F]+/[0-9A-F]+)"

# One command, so that a host costs one round trip. Whatever fails leaves its line empty.
_LOOK = """
export LC_ALL=C
data=%s bin=%s
# After a power cut the number in it may be anybody's.
runs() { pid=$(head -n1 $data/postmaster.pid 2>/dev/null) && test "$(cat /proc/$pid/comm 2>/dev/null)" = postgres; }
echo "installed=$(test -x $bin/postgres && echo yes)"
echo "fenced=$(test -e %s && echo yes)"
echo "runs=$(runs && echo yes)"
echo "signal=$(test -e $data/standby.signal && echo yes)"
echo "label=$(test -e $data/backup_label && echo yes)"
echo "files=$(ls -A $data 2>/dev/null | head -n1)"
runuser -u postgres -- $bin/pg_controldata $data 2>&1 | sed 's/^/control=/'
newest=$(ls $data/pg_wal 2>/dev/null | sed -n 's/^\\([0-9A-F]\\{8\\}\\)[.]history$/\\1/p' | sort | tail -n1)
echo "newest=$newest"
test -z "$newest" || sed 's/^/history=/' $data/pg_wal/$newest.history
"""
# -q is silent but for the error that the WAL's end is; where that names no record the records are listed.
_END = """
export LC_ALL=C
told=$(%(bin)s/pg_waldump -q --path=%(wal)s --timeline=%%s --start=%%s 2>&1 >/dev/null | tail -n1)
case "$told" in *"WAL record at "*) ;;
  *) told=$(%(bin)s/pg_waldump --path=%(wal)s --timeline=%%s --start=%%s 2>/dev/null | tail -n1) ;;
esac
printf '%%%%s\n' "$told"
"""
_DIGEST = """
cd %s/pg_wal || exit 0
while read -r segment bytes; do
  test ! -e "$segment" || echo "$segment $bytes $(head -c "$bytes" "$segment" | sha256sum | cut -c1-64)"
done
"""


@dataclass(frozen=True)
class Stopped:
    """One PostgreSQL host by its files. `why` says in a word or two why there is nothing to judge; else it is empty.

    `state`, `system`, `checkpoint` are the control file's. `newest` is the highest timeline that it knows, `timeline`
    the highest that it has a record of, `end` where its last record begins. `forks`: timeline -> where it was left.
    """

    host: Host
    ssh: bool = True
    why: str = ""
    fenced: bool = False
    runs: bool = False
    standby_signal: bool = False
    blank: bool = False  # nobody has used it since initdb, by its control file
    state: str = ""
    system: str = ""
    checkpoint: int = 0
    redo: int = 0
    recovered: int = 0  # minimum recovery ending location
    segment_bytes: int = 1 << 24
    newest: int = 0
    timeline: int = 0
    end: int = 0
    forks: Mapping[int, int] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)  # by `mark`, its own and those of the others

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def readable(self) -> bool:
        """Whether it holds a cluster that can be judged."""
        return not self.why

    @property
    def half_promoted(self) -> bool:
        """Its promotion began and did not end: no standby any more by its files, and it never took a write."""
        return not self.standby_signal and self.state in IN_RECOVERY

    @property
    def was_primary(self) -> bool:
        return self.readable and not self.standby_signal and not self.half_promoted

    @property
    def stepped_down(self) -> bool:
        """It ended cleanly as a primary and was made a standby since, but never ran as one: half a switchover."""
        return self.readable and self.standby_signal and self.state == "shut down"

    @property
    def mark(self) -> str:
        """The WAL segment of its last record, and the bytes of it up to there."""
        number = self.end // self.segment_bytes
        a_log = (1 << 32) // self.segment_bytes
        name = f"{self.timeline:08X}{number // a_log:08X}{number % a_log:08X}"
        return f"{name} {self.end % self.segment_bytes + HEADER_BYTES}"

    @property
    def says(self) -> str:
        """For the brackets of a sentence."""
        if not self.readable:
            return f"{self.name}: {self.why}"
        part = "half promoted" if self.half_promoted else "a standby" if self.standby_signal else "was primary"
        fenced = ", fenced" if self.fenced else ""
        return f"{self.name}: {part}{fenced}, timeline {self.timeline}, WAL to {as_lsn(self.end)}, {self.state!r}"


def survey(hosts: Sequence[Host], layout: Layout) -> tuple[Stopped, ...]:
    """Every host at once; one that cannot be looked at says why. Never raises for a host."""
    with ThreadPoolExecutor(len(hosts)) as pool:
        seen = tuple(pool.map(lambda host: _told(host, layout), hosts))
        marks = [one.mark for one in seen if one.readable]
        return tuple(pool.map(lambda one: _with_digests(one, layout, marks), seen))


def _told(host: Host, layout: Layout) -> Stopped:
    if not host.reachable():
        return Stopped(host, ssh=False, why=f"no answer at {host.dialled}")
    try:
        text = host.run(_LOOK, layout.data, layout.bin, FENCED, timeout=budget("start.look")).stdout
        found = parse(host, text)
        return _with_end(found, layout) if found.readable else found
    except DrError as error:
        return Stopped(host, ssh=False, why=str(error))


def parse(host: Host, text: str) -> Stopped:
    """What `_LOOK` printed, its WAL not yet read."""
    lines = [line.partition("=")[::2] for line in text.splitlines()]
    said = dict(lines)
    control = dict(_pairs(value for key, value in lines if key == "control"))
    found = Stopped(
        host, fenced=said.get("fenced") == "yes", runs=said.get("runs") == "yes",
        standby_signal=said.get("signal") == "yes", blank=_is_unused(control) and said.get("signal") != "yes",
    )  # fmt: skip
    if said.get("installed") != "yes":
        return replace(found, why="PostgreSQL is not installed")
    if not said.get("files"):
        return replace(found, why="its data directory is empty")
    if said.get("label") == "yes":
        return replace(found, why="a restore or a clone that was never started")
    if any(UNTRUSTWORTHY in value for key, value in lines if key == "control"):
        return replace(found, why="its control file cannot be read: its checksum is not that of its contents")
    try:
        timelines = ("Latest checkpoint's TimeLineID", "Min recovery ending loc's timeline")
        timeline = max(int(control[name]) for name in timelines)
        return replace(
            found,
            state=control["Database cluster state"],
            system=control["Database system identifier"],
            checkpoint=_position(control["Latest checkpoint location"]),
            redo=_position(control["Latest checkpoint's REDO location"]),
            recovered=_position(control["Minimum recovery ending location"]),
            segment_bytes=int(control["Bytes per WAL segment"]),
            newest=max(timeline, int(said.get("newest") or "0", 16)),
            timeline=timeline,
            forks=dict(_forks(value for key, value in lines if key == "history")),
        )
    except (KeyError, ValueError):
        told = next((value for key, value in lines if key == "control"), "nothing")
        return replace(found, why=f"its control file cannot be read: {told[:120]}")


def _is_unused(control: Mapping[str, str]) -> bool:
    """As agents/postgresql/directory/facts.py has it: no server that ever ran in it was asked to make anything."""
    oid = control.get("Latest checkpoint's NextOID", "")
    return (
        control.get("Database cluster state") == "shut down"
        and control.get("Latest checkpoint's TimeLineID") == "1"
        and oid.isdigit()
        and int(oid) < FIRST_NORMAL_OID
    )


def _pairs(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        key, _, value = line.partition(":")
        yield key.strip(), value.strip()


def _forks(lines: Iterator[str]) -> Iterator[tuple[int, int]]:
    """Rows of a history file: each timeline and where the next one left it."""
    for row in (line.split() for line in lines):
        if len(row) > 1 and row[0].isdigit():
            yield int(row[0]), _position(row[1])


def _position(text: str) -> int:
    found = lsn(text)
    if found is None:
        raise ValueError(text)
    return found


def _with_end(seen: Stopped, layout: Layout) -> Stopped:
    """Its last record: on the newest timeline, or on the one before where nothing was written to that yet."""
    begins = 0
    lines: list[tuple[int, int]] = []  # each timeline and where it begins, oldest first
    for timeline, left_at in sorted(seen.forks.items()):
        lines.append((timeline, begins))
        begins = left_at
    for timeline, begin in reversed([*lines, (seen.newest, begins)]):
        if timeline < seen.timeline:
            break
        found = _last_record(seen.host, layout, timeline, max(seen.redo, begin))
        if found is not None:
            return replace(seen, timeline=timeline, end=found)
    return replace(seen, end=max(seen.checkpoint, seen.recovered))


def _last_record(host: Host, layout: Layout, timeline: int, begin: int) -> int | None:
    """Where the last record at or behind `begin` starts; None when there is none, or its segment is gone."""
    words = (timeline, as_lsn(begin))
    script = _END % {"bin": layout.bin, "wal": f"{layout.data}/pg_wal"}
    told = host.run(script, *words, *words, user="postgres", timeout=budget("start.look"), expect=None).stdout
    named = re.search(rf"WAL record at {_LSN}|lsn: {_LSN}", told)
    return _position(named[1] or named[2]) if named else None


def _with_digests(seen: Stopped, layout: Layout, marks: Sequence[str]) -> Stopped:
    """Where its WAL cannot be read now, it has no digest: then nobody says that it holds the same."""
    if not (seen.readable and marks):
        return seen
    try:
        wanted = "".join(f"{mark}\n" for mark in marks)
        said = seen.host.run(_DIGEST, layout.data, user="postgres", stdin=wanted, timeout=budget("start.look"))
    except DrError:
        return seen
    rows = (line.rsplit(" ", 1) for line in said.stdout.splitlines())
    return replace(seen, digests={row[0]: row[1] for row in rows if len(row) == 2})


__all__ = ["Stopped", "parse", "survey"]
