"""promtool and Prometheus themselves, of Debian's package: installed, or unpacked beside the virtual environment.

Installing it would start a server; unpacked it is a program and nothing else.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

_PLACE = Path(__file__).resolve().parents[2] / ".venv" / "prometheus"
_LINE = re.compile(r"(\w+)\{(.*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def program(name: str) -> str:
    """The path of `promtool` or `prometheus`; skips the test where the package is not to be had."""
    if found := shutil.which(name):
        return found
    if why := _unpack():
        pytest.skip(f"{name} is not here, and Debian's package prometheus neither: {why}")
    return str(_PLACE / "usr" / "bin" / name)


@cache
def _unpack() -> str:
    """Why it cannot be; empty where it is there."""
    with FileLock(_PLACE.with_suffix(".lock")), tempfile.TemporaryDirectory() as scratch:
        if _PLACE.is_dir():
            return ""
        if not shutil.which("apt-get"):
            return "there is no apt-get"
        got = _run("apt-get", "download", "-q", "prometheus", cwd=scratch)
        packages = list(Path(scratch).glob("*.deb"))
        if got.returncode or not packages:
            return (got.stderr.strip().splitlines() or ["nothing came"])[-1]
        draft = Path(scratch) / "root"
        unpacked = _run("dpkg-deb", "-x", str(packages[0]), str(draft))
        if unpacked.returncode:
            return unpacked.stderr.strip()
        shutil.copytree(draft, _PLACE)
    return ""


def _run(*command: str, cwd: str | None = None, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, input=given, capture_output=True, text=True, timeout=300, check=False)


def check_metrics(exposition: str) -> str:
    """What promtool has against an exposition: its form, and the conventions."""
    ran = _run(program("promtool"), "check", "metrics", given=exposition)
    return f"{ran.stdout}{ran.stderr}" if ran.returncode else ran.stderr


def check_rules(path: Path) -> str:
    ran = _run(program("promtool"), "check", "rules", str(path))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_rules(folder: Path, rules: str, tests: list[Mapping[str, object]]) -> None:
    """Play series against the rules; every 30 s they are evaluated."""
    (folder / "mystocks.rules.yml").write_text(rules)
    path = folder / "tests.yml"
    path.write_text(yaml.safe_dump(
        {"rule_files": ["mystocks.rules.yml"], "evaluation_interval": "30s", "tests": tests}, width=10_000,
    ))  # fmt: skip
    ran = _run(program("promtool"), "test", "rules", str(path))
    assert ran.returncode == 0, ran.stdout + ran.stderr


test_rules.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for one where it is imported


def series(exposition: str) -> dict[str, tuple[str, dict[str, str], float]]:
    """Each line as written, with its name, labels and value."""
    found = {}
    for line in exposition.splitlines():
        if not line.startswith("#"):
            told = _LINE.fullmatch(line)
            assert told, line
            found[line.rpartition(" ")[0]] = (told[1], dict(_LABEL.findall(told[2])), float(told[3]))
    return found
