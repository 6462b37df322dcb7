"""What a deploy starts outlives it: the next one waits for that, and nobody begins a second beside it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploys.outliving import FOLDER, outliving
from inventories.errors import Refused
from runbooks.engine.wait import until
from runbooks.hosts import Ran
from runbooks.long_work import scripts
from runbooks.long_work.work import Asker, Work, run_long
from tests.unit.systemd_kit import Machine, machine

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = machine(tmp_path, monkeypatch)
    yield made
    for unit in (tmp_path / "units").iterdir():
        made.stop(unit.name)


def deploy(there: Machine, *words: str) -> Ran:
    return there.run(outliving("data", "clone", *words).get_raw_value(), expect=None)


def test_it_is_done_and_its_end_is_the_commands(there: Machine) -> None:
    assert deploy(there, "sh", "-c", "exit 0").rc == 0
    failed = deploy(there, "sh", "-c", "echo 'ERROR: no slot' >&2; exit 4")
    assert (failed.rc, failed.stderr) == (4, "ERROR: no slot\n")
    assert there.begun == ["mystocks-data-clone.service"] * 2


def test_a_deploy_that_was_cut_off_is_waited_for_by_the_next_and_nothing_is_done_twice(there: Machine) -> None:
    done = there.folder / "standby.signal"
    words = ("sh", "-c", f"sleep 1; touch {shlex.quote(str(done))}")
    text = outliving("data", "clone", *words).get_raw_value()
    first = subprocess.Popen(["sh", "-c", there.here(text)], env=there.environment())
    while not there.begun:
        pass
    first.kill()
    first.wait()
    assert deploy(there, *words).rc == 0
    assert done.exists()
    assert there.begun == ["mystocks-data-clone.service"]


def test_what_an_earlier_deploy_did_not_finish_is_done_by_the_next(there: Machine) -> None:
    done = there.folder / "first backup"
    text = outliving("data", "clone", "sh", "-c", "sleep 0.5; exit 1").get_raw_value()
    first = subprocess.Popen(["sh", "-c", there.here(text)], env=there.environment())
    while not there.begun:
        pass
    first.kill()
    first.wait()
    assert deploy(there, "touch", str(done)).rc == 0
    assert done.exists()
    assert len(there.begun) == 2


def test_a_runbooks_work_keeps_a_deploy_out_and_a_deploys_a_runbook(there: Machine) -> None:
    def dies(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_long(there.host, Work("data", "reclone", ("sleep", "60")), Asker("a run", "", say=dies))
    refused = deploy(there, "true")
    assert refused.rc == 1
    assert "mystocks-data-reclone.service works here" in refused.stderr
    there.stop("mystocks-data-reclone.service")

    first = subprocess.Popen(
        ["sh", "-c", there.here(outliving("data", "clone", "sleep", "60").get_raw_value())], env=there.environment()
    )
    while "mystocks-data-clone.service" not in there.begun:
        pass
    with pytest.raises(Refused, match=r"mystocks-data-clone.service works on pg1; a second one"):
        run_long(there.host, Work("data", "reclone", ("true",)), Asker("a run", ""))
    first.kill()
    first.wait()


def test_work_on_what_has_a_longer_name_keeps_no_deploy_out(there: Machine) -> None:
    """data-b is not data: the units of one were found by a name that the other's begins with."""

    def dies(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_long(there.host, Work("data-b", "reclone", ("sleep", "60")), Asker("a run", "", say=dies))
    assert deploy(there, "true").rc == 0


def test_a_deploy_begins_nothing_where_systemd_does_not_say_what_works(there: Machine) -> None:
    there.hang()
    assert deploy(there, "true").rc == 1
    assert there.begun == []


def test_both_keep_what_they_leave_in_one_place() -> None:
    assert FOLDER == scripts.FOLDER


def test_pyinfra_itself_ends_with_the_run_that_was_killed(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys; from deploys import run; "
        "child = subprocess.Popen([*run._ends_with_us(), sys.executable, '-c', 'import time; time.sleep(60)']); "
        "print(child.pid, flush=True); child.wait()"
    )
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert run.stdout is not None
    child = Path(f"/proc/{int(run.stdout.readline())}/cmdline")
    until(lambda: b"time.sleep" in child.read_bytes() and b"setpriv" not in child.read_bytes(), 10, what="pyinfra")
    run.kill()
    run.wait()
    until(lambda: not child.exists() or not child.read_bytes(), 10, what="its end")
