"""Event ids of a TDengine table as ranges, in the form that the comparison reads."""

from __future__ import annotations

import json

from agents.tdengine.ids import told
from drills.judging.compare import parse_found


def test_numbers_become_ranges_and_a_copy_is_counted_once_however_often_it_is_there() -> None:
    assert told([1, 2, 2, 2, 3, 7, 8, 8]) == {
        "rows": 8, "distinct": 5, "duplicated": 2, "ranges": [[1, 3], [7, 8]],
    }  # fmt: skip
    assert told([]) == {"rows": 0, "distinct": 0, "duplicated": 0, "ranges": []}


def test_the_comparison_reads_it() -> None:
    found = parse_found("tick_data", json.dumps(told([4, 5, 5, 9])))
    assert (list(found.ids), found.duplicated, found.rows) == ([4, 5, 9], 1, 4)
