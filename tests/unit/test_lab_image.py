"""What goes into the image, and when it is built anew."""

from pathlib import Path

import pytest

from inventories.errors import BadInput
from lab import image
from lab.image import Base
from lab.mirror import Mirror
from lab.status import size_in_bytes
from tests.unit.fake_engine import FakeEngine

SOURCE = Mirror("http://m/debian", "http://m/security")


def test_the_tag_changes_with_the_mirror_and_the_base() -> None:
    tags = {
        image.recipe_hash(Base.MMDEBSTRAP, SOURCE),
        image.recipe_hash(Base.MMDEBSTRAP, Mirror("http://other/debian")),
        image.recipe_hash(Base.IMAGE, None),
    }
    assert len(tags) == 3
    assert image.recipe_hash(Base.IMAGE, None) in tags


def test_an_image_that_is_there_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_LAB_BASE", "image")
    fake = FakeEngine(tmp_path)
    fake.answer("images --quiet", "4856a70810a2\n")
    said: list[str] = []
    assert image.ensure_image(fake.engine, said.append).startswith("mystocks-dr-lab:")
    assert said == []
    assert len(fake.calls) == 1


def test_a_public_base_is_built_from_the_same_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_LAB_BASE", "image")
    fake = FakeEngine(tmp_path)
    image.ensure_image(fake.engine, lambda _: None)
    assert "BASE=docker.io/library/debian:trixie-slim" in fake.calls[1]
    assert "postgresql-17-timescaledb" in fake.calls[1]


def test_an_unknown_base_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_LAB_BASE", "alpine")
    with pytest.raises(BadInput, match="'alpine'"):
        image.choose_base()


def test_mmdebstrap_gets_the_machines_mirror_and_keeps_lists_and_archives(tmp_path: Path) -> None:
    argv = image.mmdebstrap_argv(SOURCE, tmp_path / "x.tar")
    assert argv[-4:] == [str(tmp_path / "x.tar"), *SOURCE.lines()]
    assert "--skip=cleanup/apt/lists,cleanup/apt/cache" in argv
    assert any("postgresql-17" in word and word.startswith("--customize-hook=chroot") for word in argv)


def test_installed_packages_hold_no_database() -> None:
    assert not {name for name in image.PACKAGES if name.startswith(("postgresql", "pgbackrest", "restic"))}


@pytest.mark.parametrize(
    ("text", "size"), [("17.01MB", 17_010_000), ("1.5GiB", 1_610_612_736), ("90B", 90), ("?", 0)]
)
def test_sizes_of_both_engines_are_read(text: str, size: int) -> None:
    assert size_in_bytes(text) == size
