"""A delayed standby as the inventory declares it: read, refused where it could not be one, never a candidate."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventories import delay
from inventories.errors import BadInput
from inventories.inventory import Inventory, read_inventory

_FILE = """
pg_primary = [("pg1", {{"ssh_hostname": "192.0.2.21"{primary}}})]
pg_standby = [
    ("pg2", {{"ssh_hostname": "192.0.2.22"{second}}}),
    ("pg3", {{"ssh_hostname": "192.0.2.23"{third}}}),
]
backup = [("backup1", {{"ssh_hostname": "192.0.2.31"{backup}}})]
app = [("app1", {{"ssh_hostname": "192.0.2.11"}})]
"""
BEHIND = ', "apply_delay": "1h"'


def read(tmp_path: Path, **words: str) -> Inventory:
    path = tmp_path / "estate.py"
    path.write_text(_FILE.format(**{"primary": "", "second": "", "third": "", "backup": "", **words}))
    return read_inventory(str(path))


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30min", 1800), ("1h", 3600), ("2 d", 172_800)])
def test_a_delay_is_read_in_its_unit(tmp_path: Path, text: str, seconds: int) -> None:
    found = read(tmp_path, third=f', "apply_delay": "{text}"')
    assert [(entry.name, entry.delay_s, entry.synchronous) for entry in found.hosts if entry.delay_s] == [
        ("pg3", seconds, False)
    ]
    assert delay.seconds("") == 0


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('"0s"', "apply_delay of pg3 is '0s'"),
        ('"60"', "a whole number with its unit"),
        ("3600", "a whole number with its unit"),
        ('"1.5h"', "a whole number with its unit"),
        ('"-1h"', "a whole number with its unit"),
        ('"25d"', "1 s to 24 d"),
        ('""', "a whole number with its unit"),
        ("True", "a whole number with its unit"),
    ],
)
def test_what_is_no_delay_is_refused_in_one_sentence(tmp_path: Path, said: str, why: str) -> None:
    with pytest.raises(BadInput, match="pg3") as refused:
        read(tmp_path, third=f', "apply_delay": {said}')
    assert why in str(refused.value) and refused.value.hint and "\n" not in str(refused.value)


def test_a_delayed_standby_that_is_declared_synchronous_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="pg3 is synchronous and has an apply_delay"):
        read(tmp_path, third=f'{BEHIND}, "synchronous": True')
    assert read(tmp_path, third=f'{BEHIND}, "synchronous": False')


def test_where_every_standby_is_delayed_none_is_left_to_wait_for(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"every standby \(pg2, pg3\) is delayed"):
        read(tmp_path, second=BEHIND, third=BEHIND)


def test_more_is_waited_for_than_the_delayed_one_leaves(tmp_path: Path) -> None:
    path = tmp_path / "estate.py"
    path.write_text(_FILE.format(primary=', "synchronous_standbys": 2', second="", third=BEHIND, backup=""))
    path.write_text(path.read_text().replace("pg_primary = [", "pg_primary = ([").replace(
        '"synchronous_standbys": 2})]', '})], {"synchronous_standbys": 2})'
    ))  # fmt: skip
    with pytest.raises(BadInput, match=r"commits can wait for 1 \(pg2\)"):
        read_inventory(str(path))


@pytest.mark.parametrize("where", ["primary", "backup"])
def test_only_a_standby_can_be_delayed(tmp_path: Path, where: str) -> None:
    name = {"primary": "pg1", "backup": "backup1"}[where]
    with pytest.raises(BadInput, match=f"{name} has an apply_delay, 1h, and is in no group pg_standby"):
        read(tmp_path, **{where: BEHIND})
