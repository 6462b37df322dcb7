"""What the deploy asks of a data directory, run by a shell against real files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploys.facts import PgCluster
from tests.unit.directory_kit import Made, copied
from tests.unit.directory_kit import folder as folder
from tests.unit.directory_kit import made as made
from tests.unit.postgres_server import programs


def asked(data: Path) -> dict[str, bool]:
    version = int(programs().parent.name)
    text = PgCluster().command(version).get_raw_value()
    for was, here in ((f"/var/lib/postgresql/{version}/main", data), ("/etc/fstab", data.with_name("fstab"))):
        assert was in text
        text = text.replace(was, str(here))
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    return PgCluster().process(done.stdout.splitlines())


def true(data: Path) -> set[str]:
    """What is so, of that which the files tell; PostgreSQL of this machine may answer for the rest."""
    said = asked(data)
    return {name for name in ("exists", "blank", "halfway", "unmounted", "lost", "standby") if said[name]}


@pytest.fixture
def data(folder: Path) -> Path:
    return folder / "main"


def test_an_unused_cluster_is_blank_and_one_that_was_used_is_not_whatever_mark_lies_in_it(
    data: Path, made: Path
) -> None:
    assert true(data) == set()
    copied(made / "unused", data)
    assert true(data) == {"exists", "blank"}
    (data / "standby.signal").touch()
    assert true(data) == {"exists", "standby"}
    copied(made / "used", data.with_name("used"))
    (data.with_name("used") / "mystocks-blank").touch()
    assert true(data.with_name("used")) == {"exists"}


def test_a_started_cluster_is_not_blank_as_long_as_it_runs(data: Path, made: Path) -> None:
    copied(made / "unused", data)
    server = Made(data.parent)
    server.start()
    assert true(data) == {"exists"}
    server.stop()


@pytest.mark.parametrize(
    ("point", "is_said"),
    [("{}", True), ("{}/", True), ("{}/pg_wal", True), ("{}x", False), ("/", False), ("none", False)],
)
def test_a_file_system_that_is_declared_and_not_mounted_is_told(data: Path, point: str, is_said: bool) -> None:
    data.with_name("fstab").write_text(f"# {data} is none\nUUID=1 {point.format(data)} ext4 defaults 0 2\n")
    assert ("unmounted" in true(data)) is is_said


@pytest.mark.parametrize("link", ["main", "main/pg_wal"])
def test_a_file_system_that_a_link_leads_to_is_told_too(data: Path, link: str) -> None:
    """Or an empty cluster is made below the mount point of the disk that has the real one."""
    there = data.with_name("disk") / "there"
    there.mkdir(parents=True)
    (data.parent / link).parent.mkdir(exist_ok=True)
    data.with_name("fstab").write_text(f"UUID=1 {there.parent} ext4 defaults 0 2\n")
    assert "unmounted" not in true(data)
    (data.parent / link).symlink_to(there)
    assert "unmounted" in true(data)


def test_a_clone_that_was_cut_short_and_a_mount_point_with_nothing_are_told(data: Path, made: Path) -> None:
    (data / "lost+found").mkdir(parents=True)
    assert true(data) == {"lost"}
    (data / ".clone").mkdir()
    assert true(data) == {"halfway"}
    (data / "global").mkdir()
    (data / "global/pg_control").touch()
    assert "halfway" not in true(data)
