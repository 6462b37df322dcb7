from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from inventories import secrets
from inventories.errors import BadInput


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in secrets.NAMES:
        monkeypatch.delenv(f"DR_SECRET_{name.upper()}", raising=False)


def test_new_file_is_complete_and_closed(tmp_path: Path) -> None:
    made = secrets.make(tmp_path / "deep" / "secrets.yaml")
    assert made.stat().st_mode & 0o777 == 0o600
    loaded = secrets.load(made)
    assert set(loaded) == set(secrets.NAMES)
    assert len({value.get_secret_value() for value in loaded.values()}) == len(secrets.NAMES)


def test_printed_secrets_are_masked(tmp_path: Path) -> None:
    loaded = secrets.load(secrets.make(tmp_path / "secrets.yaml"))
    assert loaded["writer"].get_secret_value() not in f"{loaded} {loaded['writer']}"


def test_existing_file_is_never_replaced(tmp_path: Path) -> None:
    path = secrets.make(tmp_path / "secrets.yaml")
    before = path.read_text()
    with pytest.raises(BadInput, match="exists already"):
        secrets.make(path)
    assert path.read_text() == before


def test_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = secrets.make(tmp_path / "secrets.yaml")
    monkeypatch.setenv("DR_SECRET_WRITER", "from-the-environment")
    assert secrets.load(path)["writer"].get_secret_value() == "from-the-environment"


def test_completing_keeps_what_hosts_know_already(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yaml"
    path.write_text('writer: "known-to-the-hosts"\n')
    path.chmod(0o600)
    secrets.complete(path)
    assert secrets.load(path)["writer"].get_secret_value() == "known-to-the-hosts"
    before = path.read_text()
    assert secrets.complete(path).read_text() == before
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_completing_makes_what_is_not_there_and_fills_what_is_empty(tmp_path: Path) -> None:
    assert set(secrets.load(secrets.complete(tmp_path / "new.yaml"))) == set(secrets.NAMES)
    empty = tmp_path / "empty.yaml"
    empty.touch(mode=0o600)
    assert set(secrets.load(secrets.complete(empty))) == set(secrets.NAMES)


def test_missing_secret_is_named_with_both_places(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yaml"
    with pytest.raises(BadInput, match="DR_SECRET_REPLICATOR") as refused:
        secrets.load(path)
    assert "./dr secrets.make" in refused.value.hint


def test_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = secrets.make(tmp_path / "secrets.yaml")
    path.chmod(0o640)
    with pytest.raises(BadInput, match="mode 0640") as refused:
        secrets.load(path)
    assert refused.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize("text", ["- a\n- b\n", "writer: [\n", "just words\n"])
def test_file_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secrets.yaml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(BadInput, match=r"secrets\.yaml"):
        secrets.load(path)


@pytest.mark.parametrize(
    "value", ["tiny-1", "with space", "quo'te-quote", "back\\slash", "line\nbreak", "密码密码密码密码"]
)
def test_secret_that_a_password_file_cannot_hold_is_refused_unseen(tmp_path: Path, value: str) -> None:
    path = tmp_path / "secrets.yaml"
    path.write_text(yaml.safe_dump(dict.fromkeys(secrets.NAMES, value)))
    path.chmod(0o600)
    with pytest.raises(BadInput) as refused:
        secrets.load(path)
    assert value not in str(refused.value)
