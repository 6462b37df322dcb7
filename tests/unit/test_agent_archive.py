"""What the archive's listing tells: runs, gaps inside a timeline, at forks and of backups, and how far each leads."""

from __future__ import annotations

import io
import json
import os
import random
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from agents.jobs import proofs, verification
from agents.postgresql.wal.archive import Repository, entries, read, take, told
from agents.postgresql.wal.archive_map import SEGMENT_BYTES, Archive, Base, Piece, history, name, number

SHA = "beb7d7e16f35d825488acd0240d31448da84ca3a"


Forks = dict[int, tuple[tuple[int, int], ...]]


def archive(there: dict[int, Iterable[int]], histories: Forks | None = None) -> Archive:
    """An archive with these segments by timeline; forks are given in segments and lie in their middle."""
    made = Archive()
    for timeline, segments in there.items():
        for segment in segments:
            made.timeline(timeline).add(segment, 100, segment)
    for timeline, ancestors in (histories or {}).items():
        made.histories[timeline] = tuple((parent, at * SEGMENT_BYTES + 4711) for parent, at in ancestors)
    return made


def base(timeline: int, start: int, stop: int | None = None) -> Base:
    stop = start if stop is None else stop
    return Base(f"{timeline}-{start}", timeline, start, stop, stop * SEGMENT_BYTES + 100)


def test_whole_archive_has_no_gap() -> None:
    seen = archive({1: range(1, 9)})
    assert seen.gaps([base(1, 3, 4)]) == ()
    assert seen.reach(base(1, 3, 4), 1) == Piece(1, 3, 8)


def test_hole_inside_a_timeline_is_named_and_ends_what_a_backup_before_it_reaches() -> None:
    seen = archive({1: [1, 2, 3, 6, 7]})
    assert seen.gaps([base(1, 2)]) == (Piece(1, 4, 5),)
    assert seen.reach(base(1, 2), 1) == Piece(1, 2, 3)
    assert seen.reach(base(1, 6), 1) == Piece(1, 6, 7)


def test_hole_before_everything_that_a_backup_needs_is_no_gap() -> None:
    assert archive({1: [1, 3, 4, 5]}).gaps([base(1, 3)]) == ()
    assert archive({1: [1, 3, 4, 5]}).gaps([base(1, 1)]) == (Piece(1, 2, 2),)


def test_fork_needs_the_parent_up_to_it_and_the_child_from_it_on() -> None:
    forked = {2: ((1, 5),)}
    assert archive({1: range(1, 5), 2: range(5, 8)}, forked).gaps([base(1, 2)]) == ()
    assert archive({1: range(1, 6), 2: range(5, 8)}, forked).gaps([base(1, 2)]) == ()
    assert archive({1: range(1, 4), 2: range(5, 8)}, forked).gaps([base(1, 2)]) == (Piece(1, 4, 4),)
    late = archive({1: range(1, 6), 2: range(6, 8)}, forked)
    assert late.gaps([base(1, 2)]) == (Piece(2, 5, 5),)
    assert late.reach(base(1, 2), 2) == Piece(1, 2, 4)
    assert late.reach(base(1, 2), 1) == Piece(1, 2, 5)


def test_timeline_of_which_nothing_is_archived_yet_leads_to_its_fork() -> None:
    seen = archive({1: range(1, 5)}, {2: ((1, 5),)})
    assert seen.gaps([base(1, 2)]) == ()
    assert seen.reach(base(1, 2), 2) == Piece(1, 2, 4)


def test_two_forks_in_one_segment_need_nothing_between_them() -> None:
    seen = archive({1: range(1, 5), 3: range(5, 7)}, {2: ((1, 5),), 3: ((1, 5), (2, 5))})
    assert seen.gaps([base(1, 2)]) == ()
    assert seen.reach(base(1, 2), 3) == Piece(3, 5, 6)


def test_backup_behind_the_fork_does_not_lead_to_the_child() -> None:
    seen = archive({1: range(1, 9), 2: range(5, 8)}, {2: ((1, 5),)})
    assert not seen.leads(base(1, 6), 2)
    assert seen.reach(base(1, 6), 2) is None
    assert seen.reach(base(1, 6), 1) == Piece(1, 6, 8)
    assert seen.leads(base(1, 2), 2)


def test_backup_without_its_own_wal_is_told_and_reaches_nothing() -> None:
    seen = archive({1: [1, 2, 4, 5]})
    assert seen.missing_of(base(1, 2, 4)) == (Piece(1, 3, 3),)
    assert seen.reach(base(1, 2, 4), 1) is None
    assert archive({}).gaps([base(1, 2, 4)]) == (Piece(1, 2, 4),)


def test_wal_of_a_timeline_that_vanished_whole_is_a_gap() -> None:
    seen = archive({1: range(1, 5), 3: range(8, 10)}, {2: ((1, 5),), 3: ((1, 5), (2, 8))})
    assert seen.gaps([base(1, 2)]) == (Piece(2, 5, 7),)


def test_names_and_numbers_are_inverse() -> None:
    for segment in (0, 255, 256, 65535):
        assert number(name(7, segment)) == (7, segment)
    assert number("0000000A0000000100000002-beb7", SEGMENT_BYTES) == (10, 258)
    with pytest.raises(ValueError, match="no WAL segment"):
        number("00000002.history")


def test_history_file_is_read() -> None:
    text = "1\t0/5000148\tno recovery target specified\n\n2\t1/6000000\tbefore 2026-11-21\n"
    assert history(text) == ((1, 0x5000148), (2, 0x106000000))


# ---- against a model that knows no runs: sets of segments, one by one


def world(seed: int) -> tuple[Archive, list[Base], dict[int, set[int]]]:
    """Timelines that fork from each other, some segments lost, backups here and there; names in a random order."""
    dice = random.Random(seed)
    histories: Forks = {}
    there: dict[int, set[int]] = {1: set(range(1, dice.randint(4, 20)))}
    for timeline in range(2, dice.randint(2, 5)):
        parent = dice.choice(list(there))
        at = dice.randint(min(there[parent]), max(there[parent]) + 1)
        histories[timeline] = (*histories.get(parent, ()), (parent, at))
        there[timeline] = set(range(at, at + dice.randint(1, 12)))
    bases = []
    for timeline, segments in there.items():
        for start in dice.sample(sorted(segments), min(len(segments), dice.randint(0, 2))):
            bases.append(base(timeline, start, min(start + dice.randint(0, 1), max(segments))))
    for segments in there.values():
        segments -= set(dice.sample(sorted(segments), dice.randint(0, min(3, len(segments) - 1))))
    shuffled = {timeline: dice.sample(sorted(segments), len(segments)) for timeline, segments in there.items()}
    return archive(shuffled, histories), bases, there


def needed(seen: Archive, start: Base, goal: int, there: dict[int, set[int]]) -> Iterator[tuple[int, int]]:
    """Every (timeline, segment) that recovery from the backup asks for on its way to the goal's newest one."""
    left = dict(seen.histories.get(goal, ()))
    for segment in range(start.start, max(there[goal], default=0) + 1):
        line = next((parent for parent, at in left.items() if segment < at // SEGMENT_BYTES), goal)
        yield line, segment


@pytest.mark.parametrize("seed", range(300))
def test_gaps_and_reach_are_those_of_a_model_without_runs(seed: int) -> None:
    seen, bases, there = world(seed)
    found = {(gap.timeline, segment) for gap in seen.gaps(bases) for segment in range(gap.first, gap.last + 1)}
    first = min((one.start for one in bases), default=0)
    expected = {
        (line, segment)
        for line, segments in there.items()
        for segment in range(min(segments), max(segments))
        if segment not in segments and any(other >= first for other in hole(segment, segments))
    }
    for one in bases:
        own = [(one.timeline, segment) for segment in range(one.start, one.stop + 1)]
        expected |= {place for place in own if place[1] not in there[place[0]]}
        for goal in there:
            if not seen.leads(one, goal):
                continue
            way = list(needed(seen, one, goal, there))
            expected |= {place for place in way if place[1] not in there[place[0]]}
            reached = seen.reach(one, goal)
            whole = list(whole_way(way, there))
            if all(place[1] in there[place[0]] for place in own) and whole:
                assert reached is not None and reached.last == whole[-1]
            elif not whole:
                assert reached is None
    assert found == expected
    assert all(gap.segments > 0 for gap in seen.gaps(bases))


def hole(segment: int, segments: set[int]) -> Iterator[int]:
    """The segments of the hole around this one: a hole counts as soon as one of it is needed."""
    while segment not in segments:
        yield segment
        segment += 1


def whole_way(way: list[tuple[int, int]], there: dict[int, set[int]]) -> Iterator[int]:
    for line, segment in way:
        if segment not in there[line]:
            return
        yield segment


# ---- the listing


def listing(paths: Iterable[str]) -> str:
    files = ",".join(f'"{path}":{{"type":"file","size":720,"time":1795242096}}' for path in paths)
    return f'{{".":{{"type":"path"}},"0000000100000000":{{"type":"path"}},{files}}}'


def test_listing_is_read_in_pieces_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [f"0000000100000000/{name(1, nr)}-{SHA}.zst" for nr in range(1, 6)]
    text = listing([*paths, f"0000000100000000/{name(1, 6)}.partial-{SHA}.zst", "00000002.history"])
    for chunk in (1, 7, 64, 1 << 16):
        monkeypatch.setattr("agents.postgresql.wal.archive._CHUNK", chunk)
        seen, known = Archive(), []
        for path, size, at in entries(io.StringIO(text)):
            known.append(take(seen, path, size, at))
        line = seen.timelines[1]
        assert (line.segments, line.bytes, line.partial) == (5, 3600, [name(1, 6)])
        assert [one for one in known if one] == [2]


def test_a_segment_that_is_there_twice_is_named() -> None:
    seen = Archive()
    for digest in (SHA, SHA[::-1]):
        take(seen, f"x/{name(1, 1)}-{digest}.zst", 1, 1)
    assert (seen.timelines[1].segments, seen.timelines[1].twice) == (1, [name(1, 1)])


def test_backup_labels_and_strangers_are_no_segments() -> None:
    seen = Archive()
    for path in (f"{name(1, 2)}.00000028.backup", "archive.info", "archive.info.copy"):
        assert take(seen, path, 1, 1) is None
    assert seen.timelines == {}


def test_a_hundred_thousand_segments_take_no_memory() -> None:
    tracemalloc.start()
    seen = Archive()
    for nr in range(100_000):
        take(seen, f"0000000100000000/{name(1, nr)}-{SHA}.zst", 720, nr)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert (seen.timelines[1].segments, len(seen.timelines[1].runs)) == (100_000, 1)


def test_what_is_told_is_json_and_names_everything() -> None:
    seen = archive({1: [1, 2, 4], 2: [5, 6]}, {2: ((1, 5),)})
    backup = {
        "label": "20261121-062140F", "type": "full", "archive": {"start": name(1, 2), "stop": name(1, 2)},
        "lsn": {"start": "0/2000028", "stop": "0/2000100"}, "error": False,
        "timestamp": {"start": 1795242095, "stop": 1795242101},
    }  # fmt: skip
    said = json.loads(json.dumps(told(seen, [backup])))
    assert said["gaps"] == [{"timeline": 1, "first": name(1, 3), "last": name(1, 3), "segments": 1}]
    assert said["backups"][0]["reach"] == {"1": [name(1, 2), 2], "2": [name(1, 2), 2]}
    assert (said["backups"][0]["start_lsn"], said["backups"][0]["started_at"]) == ("0/2000028", 1795242095)
    assert said["histories"] == {"2": [[1, "0/5001267"]]}
    assert [line["runs"][0]["first"] for line in said["timelines"]] == [name(1, 1), name(2, 5)]


def test_a_segment_that_was_found_damaged_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore that needs it refuses before it begins, and so says the list."""
    path, names = tmp_path / "proofs.jsonl", [f"00000001000000000000000{n}" for n in (1, 2, 3)]
    listed = {f"0000000100000000/{name}-{'a' * 40}.zst": {"type": "file", "size": 1, "time": 1} for name in names}
    program = tmp_path / "pgbackrest"
    program.write_text(f"#!/bin/sh\necho '{json.dumps(listed, separators=(',', ':'))}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(proofs.read, "__defaults__", (path,))

    def gaps() -> list[object]:
        found = read(Repository(), "17-1")
        return [(piece.first, piece.last) for piece in found.gaps([])]

    assert gaps() == []
    verification.note(path, {names[1]: "17-1/x"})
    assert gaps() == [(2, 2)]
    verification.note(path, {})
    assert gaps() == []
