"""The package that pip installs: the very files of the repository, under a name that is nobody else's."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agents import client as library
from tests.unit.agent_fixtures import config_file
from tests.unit.client_kit import NODE, lines
from tests.unit.tracker_kit import settings as tracker_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the build makes of the folder, as pip would install it."""
    pytest.importorskip("setuptools")
    place = tmp_path_factory.mktemp("site")
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", place]
    subprocess.run(build, cwd=ROOT / "client", check=True, timeout=120, capture_output=True)
    return place


def ran(package: Path, folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False, input="",
        env={**os.environ, "PYTHONPATH": str(package)},
    )  # fmt: skip


def test_it_saves_where_nothing_else_of_ours_is(package: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from mystocks_dr import Client; from datetime import datetime\n"
        "with Client.open(sys.argv[1]) as client:\n"
        "    ack = client.save('system_config',"
        " [{'config_key': 'k', 'config_value': 'v', 'updated_at': datetime(2026, 11, 20)}])\n"
        "print(ack.by.value, ack.taken, 'agents' in sys.modules)\n"
    )
    done = ran(package, tmp_path, "-c", program, config_file(tmp_path, node=NODE))
    assert (done.stdout, done.returncode) == ("outbox (0,) False\n", 0), done.stderr
    assert lines(tmp_path)[0]["config_key"] == "k"


def test_the_trackers_writer_is_in_it_and_drops_nothing(package: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from types import SimpleNamespace as Alert; from mystocks_dr.tracker import BatchWriter\n"
        "writer = BatchWriter.open(sys.argv[1], limit=2)\n"
        "for number in range(5):\n"
        "    writer.enqueue_alert(Alert(symbol='VCB', alert_type='x', message=None, severity=None))\n"
        "writer.stop()\n"
        "print(writer.counts.outbox, 'agents' in sys.modules)\n"
    )
    done = ran(package, tmp_path, "-c", program, tracker_settings(tmp_path, None, writer={"deadline_s": 0.1}))
    assert (done.stdout, done.returncode) == ("5 False\n", 0), done.stderr


# What Python 3.10 has not: it runs on Ubuntu 22.04, and its sqlite3 neither names SQLite's numbers nor tells them.
OLD_PYTHON = """
import datetime, sqlite3, sys
for module, names in ((sqlite3, [name for name in dir(sqlite3) if name.startswith("SQLITE_") and not name.startswith(
    ("SQLITE_CREATE", "SQLITE_DROP", "SQLITE_LIMIT", "SQLITE_OK", "SQLITE_DENY", "SQLITE_IGNORE"))]),
    (datetime, ["UTC"])):
    for name in names:
        delattr(module, name)
"""


def test_it_saves_under_the_oldest_python_that_it_promises(package: Path, tmp_path: Path) -> None:
    program = (
        OLD_PYTHON + "from mystocks_dr import *\n"
        "with Client.open(sys.argv[1]) as client:\n"
        "    print(client.save('system_config', {'config_key': 'k', 'config_value': 'v',"
        " 'updated_at': datetime.datetime(2026, 11, 20)}).by.value)\n"
    )
    done = ran(package, tmp_path, "-c", program, config_file(tmp_path, node=NODE))
    assert (done.stdout, done.returncode) == ("outbox\n", 0), done.stderr


def test_a_session_with_tdengine_is_a_program_of_the_package(package: Path, tmp_path: Path) -> None:
    text = (package / "mystocks_dr/agents/tdengine/store.py").read_text()
    (program,) = re.findall(r'"-m", "([\w.]+)"', text)
    nodes = [{"name": "127.0.0.1", "port": 1}]
    (tmp_path / "pass").write_text("x")
    settings = {"nodes": nodes, "database": "d", "user": "u", "passfile": str(tmp_path / "pass"), "rest": True}
    (tmp_path / "tdengine.json").write_text(json.dumps(settings))
    done = ran(package, tmp_path, "-m", program, "--config", tmp_path / "tdengine.json")
    assert "error" in json.loads(done.stdout), done.stderr


def test_every_module_is_the_repository_s_but_for_the_name(package: Path) -> None:
    built = sorted((package / "mystocks_dr/agents").rglob("*.py"))
    assert len(built) > 25
    for path in built:
        text = path.read_text()
        ours = (ROOT / path.relative_to(package / "mystocks_dr")).read_text()
        assert text.replace("mystocks_dr.agents", "agents") == ours
        for node in ast.walk(ast.parse(text)):
            assert not (isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "agents"), path
    names = {path.relative_to(package / "mystocks_dr/agents").parts[0] for path in built}
    assert not names & {"feed", "jobs", "guard", "offsite"}


def test_it_offers_what_the_library_offers() -> None:
    facade = ast.parse((ROOT / "client/mystocks_dr/__init__.py").read_text())
    (offered,) = [node.value for node in facade.body if isinstance(node, ast.Assign)]
    assert ast.literal_eval(offered) == library.__all__
    assert (ROOT / "client/mystocks_dr/py.typed").exists()


def test_the_programs_of_its_page_run(package: Path, tmp_path: Path) -> None:
    """The first example, with a store that is away."""
    page = (ROOT / "client/README.md").read_text()
    first = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    settings = config_file(tmp_path, node=NODE)
    row = {
        "order_id": "O1", "order_time": "2026-11-20T02:30:00Z", "account_id": "A", "symbol": "S", "side": "BUYER",
        "order_type": "LIMIT", "quantity": 1, "status": "NEW",
    }  # fmt: skip
    program = f"rows = [{row!r}, {({**row, 'side': 'BUY'})!r}]\n{first.replace('open()', f'open({str(settings)!r})')}"
    done = ran(package, tmp_path, "-c", program)
    assert done.stdout == "By.OUTBOX (1,)\n0 side has 5 characters, 4 are the most\n", done.stderr
