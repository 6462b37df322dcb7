"""Hold the history against itself: every record there, in its place, as it was signed, and the results it speaks of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drills.evidence import chain
from drills.evidence.chain import Head, Record
from drills.evidence.files import Files
from drills.evidence.keys import Public, publics, signer

_UNKNOWN = ""  # the hash of a line that is told of already: what follows on it is not told of again


@dataclass(frozen=True)
class Checked:
    """`records` are those whose own signature holds; `troubles` has a sentence for whatever does not fit."""

    records: tuple[Record, ...]
    troubles: tuple[str, ...]
    keys: tuple[str, ...] = ()  # those that signed, in the order in which they first did

    @property
    def sound(self) -> bool:
        """Nothing at all is no evidence."""
        return bool(self.records) and not self.troubles


def check(files: Files, trusted: Mapping[str, Public] | None = None) -> Checked:
    """By the keys that are trusted: those given, or this machine's own and those beside the history.

    Raises BadInput for keys that cannot be read.
    """
    keys = trusted if trusted is not None else _known(files)
    lines, known = chain.snapshot(files)
    read = [(number, line, chain.parse(line)) for number, line in enumerate(lines, 1)]
    good: list[Record] = []
    troubles: list[str] = []
    last = Head()
    for number, line, record in read:
        if record is None:
            troubles.append(_unreadable(number, line))
            last = Head(last.seq + 1, _UNKNOWN)
            continue
        why = _why_not(record, keys)
        troubles += [*_place(number, record, last), *([why] if why else [])]
        if not why:
            good.append(record)
        last = Head(record.seq, _UNKNOWN if why else record.hash)
    troubles += [*_end(known, last), *_results(files.runs, good)]
    return Checked(tuple(good), tuple(troubles), tuple(dict.fromkeys(record.key for record in good)))


def trusted(paths: Sequence[Path]) -> Mapping[str, Public]:
    """The public keys in these files. Raises BadInput."""
    return {name: key for path in paths for name, key in publics(path).items()}


def _known(files: Files) -> Mapping[str, Public]:
    beside = dict(publics(files.public)) if files.public.exists() else {}
    if files.key.exists():
        own = signer(files.key).public
        beside[own.name] = own
    return beside


def _unreadable(number: int, line: bytes) -> str:
    if not line.endswith(b"\n"):
        return f"line {number} was written in part"
    return f"line {number} is no record: it was edited, or spelled anew"


def _why_not(record: Record, keys: Mapping[str, Public]) -> str:
    key = keys.get(record.key)
    if key is None:
        return f"record {record.seq} is signed with key {record.key}, which is none of those that are trusted"
    if not record.signed_by(key):
        return f"record {record.seq} was edited: the signature does not fit what it says"
    return ""


def _place(number: int, record: Record, last: Head) -> Iterator[str]:
    if record.seq > last.seq + 1:
        yield f"{_records(last.seq + 1, record.seq - 1)} missing: line {number} is record {record.seq}"
    elif record.seq <= last.seq:
        yield f"line {number} is record {record.seq}, and record {last.seq} stands before it"
    elif last.hash not in (_UNKNOWN, record.before):
        yield f"record {record.seq} does not follow on what stands before it: that was replaced since"


def _end(known: Head | None, last: Head) -> Iterator[str]:
    """A history that was cut off at its end, or away, is whole by itself: what was written here is remembered."""
    if known is None:
        return
    if last.seq < known.seq:
        yield f"{_records(last.seq + 1, known.seq)} missing at the end: {known.seq} were written here"
    elif last.seq == known.seq and last.hash not in (_UNKNOWN, known.hash):
        yield f"record {known.seq} is not the one that was written here"


def _results(runs: Path, records: Sequence[Record]) -> Iterator[str]:
    """The result that a record speaks of, where its folder is still there."""
    for record in records:
        name, file, wanted = (record.told.get(key) for key in ("run", "file", "sha256"))
        if not (name and file and wanted):
            continue
        path = runs / str(name) / str(file)
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            yield f"{path.parent.name}/{file} was edited since record {record.seq} was written"


def _records(first: int, last: int) -> str:
    return f"record {first} is" if first == last else f"records {first} to {last} are"
