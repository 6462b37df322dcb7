"""Whom a commit waits for: the setting as it is written and read, and what an inventory may declare."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from inventories import quorum
from inventories.errors import BadInput
from inventories.inventory import HostEntry, read_inventory
from inventories.quorum import Quorum
from lab import spec

TWO, THREE = ("pg1", "pg2"), ("pg1", "pg2", "pg3")


def test_two_nodes_have_the_line_that_they_always_had() -> None:
    assert quorum.line(TWO, 1) == "synchronous_standby_names = 'FIRST 1 (\"pg1\", \"pg2\")'"


def test_more_than_one_standby_is_waited_for_by_quorum() -> None:
    assert quorum.setting(THREE, 1) == 'ANY 1 ("pg1", "pg2", "pg3")'
    assert quorum.setting(THREE, 2) == 'ANY 2 ("pg1", "pg2", "pg3")'
    assert quorum.setting(THREE, 4) == 'ANY 2 ("pg1", "pg2", "pg3")'


@pytest.mark.parametrize("names", [TWO, THREE])
@pytest.mark.parametrize("least", [1, 2])
def test_what_is_written_is_read_again(names: tuple[str, ...], least: int) -> None:
    assert quorum.parsed(quorum.setting(names, least)) == Quorum(quorum.fitting(names, least), names)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("", None), ("  ", None), ("*", None), ("ANY 1 (*)", None), ("pg2", Quorum(1, ("pg2",))),
        ("pg2, pg3", Quorum(1, ("pg2", "pg3"))), ("2 (pg2,pg3)", Quorum(2, ("pg2", "pg3"))),
        ('any 1 ("pg1","pg2")', Quorum(1, TWO)), ("(((", None),
    ],
)  # fmt: skip
def test_a_setting_that_somebody_wrote_by_hand_is_read_as_postgresql_reads_it(text: str, means: Quorum | None) -> None:
    assert quorum.parsed(text) == means


def test_the_primary_waits_for_the_others_only() -> None:
    assert Quorum(1, THREE).others("pg2") == ("pg1", "pg3")


def estate(tmp_path: Path, standbys: int, *, asynchronous: tuple[str, ...] = (), least: object = 1) -> str:
    def host(number: int) -> tuple[str, dict[str, object]]:
        name = f"pg{number}"
        own = {"synchronous": False} if name in asynchronous else {}
        return name, {"ssh_hostname": f"192.0.2.{number}", **own}

    path, shared = tmp_path / "estate.py", {"synchronous_standbys": least}
    path.write_text(
        f"pg_primary = ({[host(1)]!r}, {shared!r})\n"
        f"pg_standby = ({[host(number) for number in range(2, standbys + 2)]!r}, {shared!r})\n"
    )
    return str(path)


@pytest.mark.parametrize(("standbys", "least"), [(1, 1), (2, 1), (2, 2), (4, 1), (4, 3)])
def test_one_to_four_standbys_are_an_estate(tmp_path: Path, standbys: int, least: int) -> None:
    assert len(read_inventory(estate(tmp_path, standbys, least=least)).groups["pg_standby"]) == standbys


@pytest.mark.parametrize("standbys", [1, 2, 4])
def test_an_estate_is_asynchronous_by_one_word_alone(tmp_path: Path, standbys: int) -> None:
    """Its standbys can be promoted all the same, which one with `synchronous` False cannot."""
    declared = read_inventory(estate(tmp_path, standbys, least="none"))
    assert quorum.least_of(declared.data["synchronous_standbys"]) == 0
    assert all(host.synchronous for host in declared.hosts)


@pytest.mark.parametrize(
    ("standbys", "least", "asynchronous", "says"),
    [
        (1, "none", ("pg2",), "every standby .* is asynchronous"),
        (1, "None", (), "synchronous_standbys is 'None'"),
        (5, 1, (), r"pg_standby has 5 hosts \(pg2, pg3, pg4, pg5, pg6\)"),
        (2, 3, (), r"synchronous_standbys is 3, and commits can wait for 2 \(pg2, pg3\)"),
        (2, 2, ("pg3",), r"synchronous_standbys is 2, and commits can wait for 1 \(pg2\)"),
        (2, 0, (), "synchronous_standbys is 0"),
        (2, True, (), "synchronous_standbys is True"),
        (2, "some", (), "synchronous_standbys is 'some'"),
        (2, 1, ("pg2", "pg3"), "every standby .* is asynchronous"),
        (2, 1, ("pg1",), "pg1 is in pg_primary and asynchronous"),
    ],
)
def test_what_no_quorum_can_be_made_of_is_one_sentence_with_a_hint(
    tmp_path: Path, standbys: int, least: object, asynchronous: tuple[str, ...], says: str
) -> None:
    with pytest.raises(BadInput, match=says) as error:
        read_inventory(estate(tmp_path, standbys, asynchronous=asynchronous, least=least))
    assert error.value.hint


def test_the_labs_nodes_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TDENGINE_PACKAGE", raising=False)
    assert spec.hosts_of_this_lab() == spec.HOSTS
    monkeypatch.setenv("DR_LAB_POSTGRES", "3")
    assert [host.name for host in spec.hosts_of_this_lab() if host.name.startswith("pg")] == ["pg1", "pg2", "pg3"]
    for wrong in ("1", "6", "three"):
        monkeypatch.setenv("DR_LAB_POSTGRES", wrong)
        with pytest.raises(BadInput, match="DR_LAB_POSTGRES"):
            spec.hosts_of_this_lab()


@pytest.mark.parametrize("word", [0, "no", "false", 1])
def test_what_is_asynchronous_by_declaration_is_declared_by_false_alone(word: object) -> None:
    """A deploy reads the inventory's own value, and must not find another one there than the runbooks."""
    with pytest.raises(ValidationError):
        HostEntry.model_validate({"name": "pg3", "ssh_hostname": "192.0.2.3", "synchronous": word})
