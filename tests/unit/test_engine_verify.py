"""Verification in a fresh process: counts, names, and never an empty check."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventories.errors import TimedOut, VerificationFailed
from runbooks.engine.process import started_at
from runbooks.engine.verify import EVERYTHING, VerifyResult, verify
from runbooks.engine.wait import until

SPECS = """
import os, subprocess, sys, pytest
def test_good(): pass
def test_bad(): assert 1 == 2, "lag is 3 MB"
def test_skipped(): pytest.skip("no TDengine")
def test_env(): assert os.environ["DR_LAB"] == "other" and "PYTEST_ADDOPTS" not in os.environ
@pytest.fixture
def broken(): raise RuntimeError("no host")
def test_error(broken): pass
def test_hangs():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open(os.environ["PID_FILE"], "w").write(str(child.pid))
    child.wait()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "tests/verify").mkdir(parents=True)
    (tmp_path / "tests/verify/test_toy.py").write_text(SPECS)
    (tmp_path / "tests/verify/test_none.py").write_text("")
    (tmp_path / "tests/verify/test_broken.py").write_text("import no_such_module\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def check(root: Path, *names: str, budget: float = 60, env: dict[str, str] | None = None) -> VerifyResult:
    return verify(
        [f"test_toy.py::test_{name}" for name in names], run_dir=root, budget=budget, env=env, root=root
    )


def test_counts_and_names_of_failures_come_back(root: Path) -> None:
    result = check(root, "good", "bad", "skipped", "error")
    assert (result.passed, result.failed, result.skipped) == (1, 2, 1)
    with pytest.raises(VerificationFailed, match=r"2 of 3 checks failed: test_toy::test_bad \(.*lag is 3 MB"):
        result.raise_if_failed()
    assert result.report.exists()
    assert result.report.with_suffix(".log").exists()


def test_passing_checks_get_the_environment_but_not_the_options_of_an_outer_pytest(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k nothing")
    result = check(root, "env", env={"DR_LAB": "other"})
    assert (result.passed, result.failed) == (1, 0)
    result.raise_if_failed()


@pytest.mark.parametrize(
    "selection", [(), ("test_none.py",), ("test_missing.py",), ("test_toy.py::test_skipped",)]
)
def test_checking_nothing_is_a_failure(root: Path, selection: tuple[str, ...]) -> None:
    with pytest.raises(VerificationFailed, match="nothing was checked"):
        verify(selection, run_dir=root, budget=60, root=root)


def test_a_report_of_an_earlier_check_is_not_believed(root: Path) -> None:
    check(root, "good")
    with pytest.raises(VerificationFailed, match="no readable report"):
        verify(("test_toy.py",), run_dir=root, budget=60, arguments=("--no-such-option",), root=root)


def test_specifications_that_cannot_be_loaded_fail(root: Path) -> None:
    result = verify(("test_broken.py",), run_dir=root, budget=60, root=root)
    assert (result.passed, result.failed) == (0, 1)


def test_everything_selects_all_files(root: Path) -> None:
    (root / "tests/verify/test_toy.py").write_text("def test_one(): pass\n")
    (root / "tests/verify/test_broken.py").unlink()
    assert verify(EVERYTHING, run_dir=root, budget=60, root=root).passed == 1


def test_checks_that_take_too_long_are_killed_with_their_children(root: Path) -> None:
    pid_file = root / "pid"
    with pytest.raises(TimedOut, match="stopped after"):
        check(root, "hangs", budget=4, env={"PID_FILE": str(pid_file)})
    child = int(pid_file.read_text())
    # The whole group is killed; only pytest itself was waited for, its child dies a moment later.
    until(lambda: started_at(child) == "", 5, what=f"the end of process {child}")
