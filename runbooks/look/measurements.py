"""What was measured on this estate: rates of restores and replays, what runs took, and today's sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from inventories.errors import BadInput, DrError, Refused
from runbooks.engine import journal
from runbooks.engine.history import History, read_history
from runbooks.engine.outcome import StepOutcome
from runbooks.hosts import Estate
from runbooks.judge.feasibility import RUNBOOKS, Measured, Sample, Sizes
from runbooks.probes import disk
from runbooks.probes.postgresql import pgbackrest, proofs
from runbooks.probes.postgresql.pgbackrest import Repository
from runbooks.probes.postgresql.proofs import Proof
from runbooks.probes.postgresql.server import SEGMENT_BYTES, begins
from runbooks.probes.sqlite import kept
from runbooks.probes.sqlite.kept import Shelf
from runbooks.probes.tdengine import backups

_READ = 30  # journals of a runbook: those of other estates and those that came to nothing count, too
LATEST = 10  # older measurements tell of another size and another machine
# Steps whose time grows with the data, and is therefore no fixed cost.
GROWING = frozenset({"provision", "fetch-repository", "restore", "replay", "side-restore"})
LAST = ("write-path", "drain-outbox")  # with the first write, or with the last that waited, a store is back


Shelves = tuple[Shelf, ...] | None  # empty where the estate has no SQLite database; None where nobody knows


def gather(estate: Estate, runs: Path, drills: Mapping[str, Sequence[float]], there: Shelves) -> Measured:
    """From proofs on the backup host and from the journals of runs; `drills`: scenario -> RTOs. Raises DrError."""
    past = ran(estate.name, runs)
    copied, replayed = _proofs(proofs.every(estate.backup))
    clusters = [run for run in past if run.procedure == "restore-cluster"]
    rows = [run for run in past if run.procedure.startswith("tdengine-")]
    files = [run for run in past if run.procedure == "sqlite-restore"]
    own_copies = list(_samples(clusters, "restore", "bytes"))
    own_replays = list(_samples(clusters, "replay", "wal_bytes"))
    return Measured(
        restore=[*own_copies, *copied][:LATEST],
        replay=[*own_replays, *replayed][:LATEST],
        fetch=list(_samples(clusters, "fetch-repository", "repository_bytes"))[:LATEST],
        provision=[s for run in clusters if (s := _seconds(run).get("provision"))][:LATEST],
        ticks=[*_samples(rows, "restore", "rows_written"), *_ticks(backups.proofs(estate.backup))][:LATEST],
        files=_unpacked(there or ())[:LATEST],
        changes=[*_samples(files, "restore", "transactions"), *_samples(files, "build", "transactions")][:LATEST],
        fixed={name: _fixed([run for run in past if run.procedure == name]) for name in set(RUNBOOKS.values())},
        drills=drills,
    )


def sizes(estate: Estate, there: Shelves) -> Sizes:
    """Today's amounts, from the repository alone: also when the database hosts are lost. Raises DrError."""
    stanza = str(estate.data["stanza"])
    repository = pgbackrest.info(estate.backup, stanza)
    newest = repository.newest
    if newest is None:
        raise Refused("the repository holds no backup, so nothing can be restored", "./dr deploy takes the first one")
    end = pgbackrest.archive_end(estate.backup, stanza, repository)
    wal, seconds = most_wal(repository, end.at if end else newest.stopped_at)
    used = estate.backup.run("du -sb %s | cut -f1", disk.REPOSITORY, timeout=60).text
    files, changes = files_there(there)
    return Sizes(
        newest.size_bytes, wal, seconds, int(used), _ticks_there(estate), _behind(estate), files, changes
    )


def shelves(estate: Estate) -> Shelves:
    """What is kept of SQLite databases that are streamed."""
    streamed = {(host, name) for host, name, streamed in kept.declared(estate) if streamed}
    if not streamed:
        return ()
    try:
        found = {(one.host, one.database): one for one in kept.look(estate)}
    except DrError:
        return None
    there = tuple(found[one] for one in streamed if one in found and found[one].newest)
    return there if len(there) == len(streamed) else None


def files_there(there: Shelves) -> tuple[int | None, int | None]:
    """Bytes of the databases, and transactions to lay on their snapshots; None where nobody knows."""
    if there is None:
        return None, None
    return sum(one.snapshots[-1].bytes for one in there), sum(one.most_changes for one in there)


def _unpacked(there: Sequence[Shelf]) -> list[Sample]:
    """Restores of snapshots alone, newest first, from proofs that passed."""
    proven = [(one, shelf) for shelf in there for one in shelf.snapshots if one.proven and one.proof_s]
    return [
        Sample(one.bytes, one.proof_s or 1.0, f"proof of {one.label} of {shelf.name}")
        for one, shelf in sorted(proven, key=lambda each: each[0].proven_at or 0.0, reverse=True)
    ]


def _behind(estate: Estate) -> int:
    """Seconds of the standby that is furthest behind by declaration; 0 without one."""
    return max((host.entry.delay_s for host in estate.delayed), default=0)


def _ticks_there(estate: Estate) -> int:
    """Rows of TDengine's newest backup; 0 where there is none."""
    newest = backups.look(estate.backup).newest if backups.is_there(estate) else None
    return newest.rows if newest else 0


def most_wal(repository: Repository, archived_at: float) -> tuple[int, float]:
    """(bytes, seconds) of the interval between two backups, or since the newest, in which most WAL was written."""
    ordered = sorted(repository.backups, key=lambda backup: backup.place)
    marks = [(begins(backup.wal_stop), float(backup.stopped_at)) for backup in ordered]
    if repository.archive_max:
        marks.append((begins(repository.archive_max), max(archived_at, marks[-1][1])))
    spans = [(later[0] - first[0], later[1] - first[1]) for first, later in pairwise(marks)]
    # What is being written is not archived yet: one segment more is replayed than is counted.
    wal, seconds = max(spans, default=(0, 0.0))
    return max(0, wal) + SEGMENT_BYTES, max(seconds, 1.0)


def ran(estate: str, runs: Path) -> list[History]:
    """Runs of this estate that came as far as a write, newest first."""
    found = []
    for path in (path for name in sorted(set(RUNBOOKS.values())) for path in _journals(name, runs)):
        with suppress(BadInput, KeyError, ValueError):
            past = read_history(path.parent)
            if past and past.estate == estate and past.state and past.procedure in RUNBOOKS.values():
                found.append(past)
    return sorted(found, key=lambda past: past.opened_at, reverse=True)


def _journals(procedure: str, runs: Path) -> list[Path]:
    """The newest of its runs by the names of their folders: of a year's nobody reads every line."""
    folder = f"*-{procedure}*/{journal.FILE_NAME}"
    found = (*runs.glob(folder), *runs.glob(f"*/runbooks/{folder}"))
    return sorted(found, key=lambda path: path.parent.name, reverse=True)[:_READ]


def _seconds(run: History) -> dict[str, float]:
    """Step -> seconds, of those that did something."""
    return {step.name: step.seconds for step in run.done if step.outcome is StepOutcome.PASSED}


def _samples(runs: Sequence[History], step: str, amount: str) -> Iterator[Sample]:
    for run in runs:
        seconds, state = _seconds(run).get(step), run.state or {}
        if seconds and state.get(amount):
            yield Sample(float(state[amount]), seconds, run.run_dir.name)


def _fixed(runs: Sequence[History]) -> list[float]:
    """Seconds until the store is back, or to the end, of all steps that do not grow with the data."""
    found = []
    for run in runs[:LATEST]:
        names = [step.name for step in run.done]
        last = next((name for name in LAST if name in run.steps), None)
        if last and last not in names:
            continue
        until = names.index(last) + 1 if last else len(names)
        if names:
            found.append(sum(step.seconds for step in run.done[:until] if step.name not in GROWING))
    return found


def _proofs(records: Sequence[Proof]) -> tuple[list[Sample], list[Sample]]:
    """Samples of restores and of replays, newest first, from proofs that passed."""
    passed = [proof for proof in reversed(records) if proof.passed]
    copied = [Sample(p.restore_bytes, p.restore_s, f"proof of {p.label}") for p in passed if p.restore_s]
    return copied, [Sample(p.wal_bytes, p.replay_s, f"proof of {p.label}") for p in passed if p.replay_s]


def _ticks(records: Sequence[backups.Proof]) -> list[Sample]:
    """Restores of TDengine's backups, newest first, from proofs that passed."""
    passed = [proof for proof in reversed(records) if proof.passed and proof.restore_s]
    return [Sample(p.restore_rows, p.restore_s, f"proof of {p.label}") for p in passed]
