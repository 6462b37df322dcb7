"""What must never be in the tree: keys, passwords, package indexes and paths of somebody's machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# The keys of public repositories, and where such a repository is, are named in one place.
_PUBLIC = {"deploys/postgresql/repositories.py"}
_FORBIDDEN = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a cloud's access key": r"\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b",
    "a package index": r"--(?:extra-)?index-url|--trusted-host|\bindex-url\s*=|/simple/?[\"'\s]|\bhttps?://[^/\s]*:[^/\s]*@",
    "a path of one machine": r"/var/tmp/\w+/|(?<![\w.])/work/",
}
# Values made up for a test are not secrets, and a test may say what it looks for.
_NOT_IN_TESTS = {
    "a password": r"(?i)\b(?:password|passwd|secret|token|cipher_pass)\w*\s*[:=]\s*[\"'][^\"'{}$<>%\s]{6,}[\"']",
    "somebody's home": r"/(?:home|Users)/[a-z]\w*/",
}


def texts() -> dict[str, str]:
    """Every file that git keeps or would keep, by its path in the tree; what is no text is left out."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("this copy of the tree is no git repository")
    found = {}
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and b"\0" not in (data := path.read_bytes()):
            found[name] = data.decode()
    assert len(found) > 100, "hardly any file was read"
    return found


def offences(name: str, text: str) -> list[str]:
    if name in _PUBLIC:
        return []
    patterns = _FORBIDDEN if name.startswith("tests/") else _FORBIDDEN | _NOT_IN_TESTS
    return [f"{name}: {what}: {hit[0]}" for what, pattern in patterns.items() if (hit := re.search(pattern, text))]


def test_no_file_holds_a_secret_or_a_trace_of_one_machine() -> None:
    this = Path(__file__).relative_to(ROOT).as_posix()
    assert [found for name, text in texts().items() if name != this for found in offences(name, text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN EC PRIVATE KEY-----",
        'password = "hunter22"',
        "--index-url http://index.example/",
        "pip config: index-url = x",
        "http://user:word@index.example/",
        "/home/somebody/mystocks",
    ],
)
def test_an_offence_is_caught(text: str) -> None:
    assert offences("deploys/x.py", text)
