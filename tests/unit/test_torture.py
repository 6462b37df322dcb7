"""Every table of the torture schema on a server of this machine, in each mode: as it was, or refused with the reason.

`-k types` or `-k unique_values_permuted` chooses; tests/drills/test_torture.py does it with hosts and side clusters.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.drills.doors import Ended
from tests.torture import cases
from tests.torture.cases import Case
from tests.torture.database import differences
from tests.torture.judging import assert_restored_or_refused
from tests.unit import torture_here
from tests.unit.postgres_server import Server, folder_for_server
from tests.unit.torture_here import HereScene

KINDS = torture_here.kinds()
EVERY = [(case, mode) for kind in KINDS.values() for mode in cases.MODES for case in kind.cases if mode in case.modes]


def given(case: Case, mode: str) -> object:
    marks = () if (str(case), mode) in cases.SHORT else (pytest.mark.long,)
    return pytest.param(case, mode, marks=marks, id=f"{case}-{mode}")


@pytest.fixture(scope="module")
def scene() -> Iterator[HereScene]:
    with pytest.MonkeyPatch.context() as patch, folder_for_server() as folder:
        patch.setitem(os.environ, "PGUSER", "postgres")  # whom the program of COPY connects as
        server = Server(folder)
        try:
            server.create()
            yield torture_here.lay(server, KINDS)
        finally:
            server.stop()


def test_the_copy_has_every_row_and_every_definition(scene: HereScene) -> None:
    assert len(scene.before) > 200
    assert scene.content(scene.cases, scene.copy) == scene.before
    assert differences(scene.definitions, scene.copy.definitions()) == {}


@pytest.mark.parametrize(("case", "mode"), [given(*one) for one in EVERY])
def test_a_table_comes_back_as_it_was_or_is_refused_with_the_reason(scene: HereScene, case: Case, mode: str) -> None:
    assert_restored_or_refused(scene, case, mode)


@pytest.mark.parametrize("mode", cases.MODES)
def test_a_restore_that_says_it_passed_and_did_nothing_does_not_pass(
    scene: HereScene, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative twin."""
    case = next(case for case in scene.cases if case.name == "several_columns_match_full_in_another_order")
    idle = HereScene(scene.kinds, scene.live, scene.keys, scene.before, scene.positions, scene.definitions,
                     server=scene.server)  # fmt: skip
    monkeypatch.setattr(idle, "restore", lambda *_: Ended(0, "", ""))
    with pytest.raises(AssertionError):
        assert_restored_or_refused(idle, case, mode)
