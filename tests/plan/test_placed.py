"""What the deploy asks a host about its files, and what it does, tried on this machine's own."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from pathlib import Path

import pytest
from pyinfra.api import StringCommand

from deploys import tree
from deploys.placed import Place, Placed, _put, folder, rendered
from deploys.tree import Tree

USER = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture(autouse=True)
def _own_group() -> None:
    if USER not in {group.gr_name for group in grp.getgrall()}:
        pytest.skip(f"there is no group {USER}, as there is for the users of a host")


def shell(command: StringCommand, stdin: str = "") -> str:
    done = subprocess.run(["sh", "-c", str(command)], input=stdin, capture_output=True, text=True, check=True)
    return done.stdout


def seen(*places: Place) -> dict[str, tuple[str, ...]]:
    fact = Placed()
    return fact.process(shell(fact.command(tuple(place.path for place in places))).splitlines())


def put(place: Place) -> None:
    command = _put(place, there=Path(place.path).exists())
    shell(command, place.text or "")


def right(place: Place) -> bool:
    return seen(place).get(place.path, ())[: len(place.facts)] == place.facts


@pytest.mark.parametrize("text", [None, "", "a line\n", "two\nlines with 'quotes' and $dollars\n"])
def test_a_file_is_put_once_and_seen_to_be_right(tmp_path: Path, text: str | None) -> None:
    place = Place(f"{tmp_path}/a file", "0640", USER, text)
    assert not right(place)
    put(place)
    assert right(place)
    assert Path(place.path).read_text() == (text or "")
    assert [path.name for path in tmp_path.iterdir()] == ["a file"], "nothing is left beside it"


def test_a_file_of_any_content_keeps_its_own_and_gets_its_mode(tmp_path: Path) -> None:
    place = Place(f"{tmp_path}/records", "0644", USER)
    Path(place.path).write_text("grown\n")
    Path(place.path).chmod(0o600)
    assert not right(place)
    put(place)
    assert right(place)
    assert Path(place.path).read_text() == "grown\n"


@pytest.mark.parametrize("spoilt", ["content", "mode", "gone"])
def test_what_was_changed_behind_its_back_is_seen(tmp_path: Path, spoilt: str) -> None:
    place = Place(f"{tmp_path}/x", "0600", USER, "as declared\n")
    put(place)
    path = Path(place.path)
    if spoilt == "content":
        path.write_text("otherwise\n")
    elif spoilt == "mode":
        path.chmod(0o644)
    else:
        path.unlink()
    assert not right(place)


def test_a_folder_is_made_with_its_mode(tmp_path: Path) -> None:
    place = folder(f"{tmp_path}/a/b", "0750", USER)
    put(place)
    assert right(place)
    Path(place.path).chmod(0o700)
    assert not right(place)


def test_a_secret_is_not_in_what_is_printed_of_a_place() -> None:
    assert "hunter" not in repr(Place("/x", "0600", text="hunter two\n"))


def test_a_template_with_an_undefined_name_is_an_error() -> None:
    with pytest.raises(Exception, match="key"):
        rendered("offsite", "authorized_keys.j2", managed="x")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    for name, text in (("one.py", "1\n"), ("data/two.csv", "a,b\n"), ("__pycache__/one.pyc", "compiled")):
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return made


def looked(dest: Path) -> dict[str, str]:
    fact = Tree()
    return {
        name: known.replace(f"|{USER}", "|root")
        for name, known in fact.process(shell(fact.command(str(dest))).splitlines()).items()
    }


def bring(source: Path, dest: Path) -> None:
    script = f"umask 022; {tree._BRING}"
    subprocess.run(["sh", "-c", script, "sh", str(dest)], input=tree.packed(source), text=True, check=True)


def test_a_tree_arrives_whole_without_what_was_compiled(source: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    assert looked(dest) == {}
    bring(source, dest)
    assert looked(dest) == tree.wanted(source)
    assert (dest / "data/two.csv").read_text() == "a,b\n"
    assert not (dest / "__pycache__").exists()


def test_a_tree_that_differs_in_anything_is_seen_and_made_the_same(source: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    bring(source, dest)
    (dest / "stray.py").write_text("")
    (dest / "one.py").chmod(0o600)
    (dest / "data/two.csv").write_text("otherwise\n")
    (dest / "__pycache__").mkdir()  # what a run leaves is no difference
    found = looked(dest)
    assert {name for name in {*found, *tree.wanted(source)} if found.get(name) != tree.wanted(source).get(name)} == {
        "stray.py", "one.py", "data/two.csv",
    }  # fmt: skip
    bring(source, dest)
    assert looked(dest) == tree.wanted(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dest", "source"]
