"""Run the specifications of tests/verify in a fresh process, which believes nothing cached before."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from inventories.errors import TimedOut, VerificationFailed
from runbooks.engine.budgets import seconds
from runbooks.engine.rundir import REPOSITORY

EVERYTHING = (".",)
_NAMED = 5  # failures named in one sentence


@dataclass(frozen=True)
class VerifyResult:
    """Counts of specifications; `failures` names each failed one with the first line of its reason."""

    passed: int
    failed: int
    skipped: int
    failures: tuple[str, ...]
    report: Path  # JUnit XML

    def raise_if_failed(self) -> None:
        """Raise VerificationFailed naming what failed; a step's evidence ends with this."""
        if self.failed:
            named = "; ".join(self.failures[:_NAMED])
            more = f"; and {self.failed - _NAMED} more" if self.failed > _NAMED else ""
            raise VerificationFailed(
                f"{self.failed} of {self.failed + self.passed} checks failed: {named}{more}",
                f"all are in {self.report}",
            )


def verify(
    selection: Sequence[str],
    *,
    run_dir: Path,
    budget: str | float,
    arguments: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    report: str = "junit.xml",
    root: Path = REPOSITORY,
) -> VerifyResult:
    """Run the selected specifications (paths or node ids below tests/verify, or EVERYTHING).

    `arguments` go to pytest, `env` is added to this process's environment; `budget` is a name or seconds. The
    report and a log of the same name are left in run_dir. Returns also when specifications failed: see
    `raise_if_failed`. Raises VerificationFailed when nothing was checked (nothing selected, found, or all
    skipped), and TimedOut.
    """
    if not selection:
        raise VerificationFailed("nothing was checked: no specification was selected")
    path = (run_dir / report).resolve()
    path.unlink(missing_ok=True)  # an older report must not be read in place of this one
    command = [sys.executable, "-m", "pytest", *(f"tests/verify/{name}" for name in selection), *arguments]
    command += [f"--junitxml={path}", "-p", "no:cacheprovider"]
    log = path.with_suffix(".log")
    # Options meant for an outer pytest could deselect what is to be checked.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    code = _run(command, {**inherited, **(env or {})}, root, log, seconds(budget))
    result = _parsed(path, log)
    if code not in (0, 1) and not result.failed:
        raise VerificationFailed(
            f"the checks did not run to their end (pytest exit code {code})", f"see {log}"
        )
    return result


def _run(command: Sequence[str], env: Mapping[str, str], root: Path, log: Path, allowed: float) -> int:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(None if math.isinf(allowed) else allowed)
        except subprocess.TimeoutExpired as error:
            raise TimedOut(
                f"the checks were stopped after {allowed:g} s, before they had ended", f"see {log}"
            ) from error
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _parsed(path: Path, log: Path) -> VerifyResult:
    try:
        cases = list(ET.parse(path).iter("testcase"))  # noqa: S314 - our own child wrote it
    except (OSError, ET.ParseError) as error:
        raise VerificationFailed(
            "nothing was checked: the checks left no readable report", f"see {log}"
        ) from error
    failures = [told for case in cases if (told := _failure(case))]
    skipped = sum(case.find("skipped") is not None for case in cases)
    # A failing teardown makes a second entry for the same case.
    passed = len(cases) - len(failures) - skipped
    if not passed and not failures:
        raise VerificationFailed(
            f"nothing was checked: no specification ran, {skipped} were skipped", f"see {log}"
        )
    return VerifyResult(passed, len(failures), skipped, tuple(failures), path)


def _failure(case: ET.Element) -> str:
    """Name and first line of the reason, empty for a case that did not fail."""
    for kind in ("failure", "error"):
        found = case.find(kind)
        if found is not None:
            name = "::".join(
                part for part in (case.get("classname", "").rpartition(".")[2], case.get("name", "")) if part
            )
            lines = (found.get("message") or "").strip().splitlines()
            return f"{name} ({lines[0]})" if lines else name
    return ""
