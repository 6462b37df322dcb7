"""What a try of a case must have come to: rows, structure and sequences as they were, or a refusal of no effect."""

from __future__ import annotations

import re
from collections import Counter

from tests.torture.cases import Case
from tests.torture.database import RESTORED, Rows, merged, suffixed
from tests.torture.scene import Scene, Tried, of_case


def assert_restored_or_refused(scene: Scene, case: Case, mode: str) -> None:
    tried = scene.tried(case, mode)
    if mode in case.refused:
        assert_refused(tried, case, mode)
        return
    assert tried.ended.code == 0, tried.ended.err
    assert_told(tried, case, mode)
    if case.changes is not None:
        assert_what_fits_is_back(scene, case, mode)
    elif mode == "beside":
        assert_beside(tried, case)
    else:
        assert_rows(scene, tried, case, mode)
    assert_structure(tried, case)
    for table in case.same:
        assert tried.after[table] == tried.damaged[table], f"{table} was changed"
    assert_sequences(scene, tried, case, mode)


def assert_refused(tried: Tried, case: Case, mode: str) -> None:
    """One sentence and a hint, and nothing was written."""
    ended = tried.ended
    assert "Traceback" not in ended.out + ended.err, ended.err
    assert ended.code in (2, 3), ended.out + ended.err
    assert ended.hint, ended.err
    assert [words for words in case.refused[mode] if words not in f"{ended.told} {ended.hint}"] == [], ended.told
    assert tried.after == tried.damaged
    assert tried.changed == {}


def assert_told(tried: Tried, case: Case, mode: str) -> None:
    """Before --yes: what writing meets and causes, and what does not come back; --yes alone is no consent to that."""
    if tried.compared is not None:
        assert tried.compared.code == 0, tried.compared.err
        said = tried.compared.out + tried.compared.err
        wanted = (*case.told_in(mode), *(case.lost if mode == "drop" else ()), *case.changed_in(mode))
        assert [words for words in wanted if words not in said] == [], said
    if tried.unwilling is not None:
        tried.unwilling.assert_told(3, "not everything comes back", hint="--accept-loss")


def assert_rows(scene: Scene, tried: Tried, case: Case, mode: str) -> None:
    for table in case.tables:
        original, damaged, after = scene.before[table], tried.damaged[table], tried.after[table]
        assert original is not None
        assert damaged != original or table != case.table, "nothing was spoilt, which proves nothing"
        assert damaged is not None or mode == "drop"
        wrong = unlike(after, merged(original, damaged or ()) if mode == "merge" else original)
        assert wrong == [], wrong[:10]
        if mode == "replace":
            assert tried.aside[table].rows == damaged


def unlike(found: Rows | None, wanted: Rows) -> list[str]:
    """Rows that are there and should not be, and those that should be and are not."""
    if found is None:
        return ["it is not there"]
    there, right = Counter(found), Counter(wanted)
    return [f"{sign} {row}" for sign, rows in (("+", there - right), ("-", right - there)) for row in rows]


def assert_beside(tried: Tried, case: Case) -> None:
    for table in case.tables:
        assert tried.after[table] == tried.damaged[table]
        assert tried.aside[table].rows
        assert tried.aside[table].rows == tried.aside[table].wanted


def assert_what_fits_is_back(scene: Scene, case: Case, mode: str) -> None:
    """Column by column: those that both have and that can hold what was in them, a renamed one under its new name."""
    live, copy = scene.live, scene.copy
    aside = mode == "beside"
    target = suffixed(case.table, RESTORED) if aside else case.table
    names = {case.renamed[0]: case.renamed[1]} if case.renamed and not aside else {}
    there = set(live.columns(target)) - (set() if aside else set(case.changes or ()))
    columns = [name for name in copy.columns(case.table) if names.get(name, name) in there]
    assert "id" in columns
    if mode == "merge":
        assert copy.values(case.table, ["id"]) == live.values(target, ["id"])
    else:
        now = [names.get(name, name) for name in columns]
        assert live.values(target, now) == copy.values(case.table, columns)


def assert_structure(tried: Tried, case: Case) -> None:
    """Nothing that pg_dump tells is another than before; what a DROP took along and was named may be missing."""
    changed = of_case(tried, case)
    lost = "|".join(map(re.escape, case.lost)) or "(?!)"
    assert {name: texts for name, texts in changed.items() if texts[1] or not re.match(lost, name)} == {}


def assert_sequences(scene: Scene, tried: Tried, case: Case, mode: str) -> None:
    """No number that the copy or the live table has given out is given out again, and few are left out.

    What is laid beside gives the live table no row, and its sequences no push.
    """
    before, after = tried.positions
    if mode == "beside":
        assert {name: after[name] for name in case.sequences} == {name: before[name] for name in case.sequences}
        return
    for name in case.sequences:
        furthest = max(before[name], scene.positions[name])
        assert furthest <= after[name] <= furthest + 64, name
