from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploys.text import as_file, cidr, hosts_file, network
from inventories.errors import BadInput

NODES = (("192.0.2.21", "pg1"), ("192.0.2.22", "pg2"))


def test_missing_names_are_added_at_the_end() -> None:
    assert hosts_file(["127.0.0.1 localhost"], NODES) == [
        "127.0.0.1 localhost", "192.0.2.21 pg1", "192.0.2.22 pg2",
    ]  # fmt: skip


def test_file_that_is_right_stays_as_it_is() -> None:
    lines = ["127.0.0.1\tlocalhost  # ours", "192.0.2.21\tpg1 pg1.example.org", "", "# end", "192.0.2.22 pg2"]
    assert hosts_file(lines, NODES) == lines


def test_debians_own_entry_for_the_host_gives_way() -> None:
    assert hosts_file(["127.0.1.1 pg1", "192.0.2.22 pg2"], NODES) == ["192.0.2.22 pg2", "192.0.2.21 pg1"]


def test_other_names_of_a_line_stay() -> None:
    lines = ["127.0.0.1 localhost pg1", "192.0.2.21 pg1", "192.0.2.22 pg2"]
    assert hosts_file(lines, NODES) == ["127.0.0.1 localhost", "192.0.2.21 pg1", "192.0.2.22 pg2"]


def test_host_that_moved_is_moved() -> None:
    assert hosts_file(["192.0.2.99 pg1", "192.0.2.22 pg2"], NODES) == ["192.0.2.22 pg2", "192.0.2.21 pg1"]


_LINE = st.lists(st.sampled_from(["192.0.2.21", "127.0.0.1", "pg1", "pg2", "localhost", "# x", "#pg1"]), max_size=4)


@given(st.lists(_LINE.map(" ".join), max_size=6))
def test_second_run_changes_nothing_and_every_name_is_there(lines: list[str]) -> None:
    once = hosts_file(lines, NODES)
    assert hosts_file(once, NODES) == once
    pairs = {(line.split("#")[0].split()[0], name) for line in once for name in line.split("#")[0].split()[1:]}
    assert set(NODES) <= pairs
    assert {name: address for address, name in pairs if name in ("pg1", "pg2")} == {
        "pg1": "192.0.2.21",
        "pg2": "192.0.2.22",
    }


def test_address_becomes_a_network_of_one() -> None:
    assert cidr("192.0.2.21") == "192.0.2.21/32"
    assert cidr("2001:db8::1") == "2001:db8::1/128"


def test_name_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostbyname", {"pg1.example.org": "192.0.2.21"}.__getitem__)
    assert cidr("pg1.example.org") == "192.0.2.21/32"


def test_name_that_nobody_knows_is_bad_input() -> None:
    with pytest.raises(BadInput, match=r"pg1\.invalid"):
        cidr("pg1.invalid")


@pytest.mark.parametrize("text", ["192.0.2.1/24", "anywhere", "192.0.2.0/33", ""])
def test_what_is_no_network_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput, match="client_networks"):
        network(text)


def test_same_data_is_the_same_file() -> None:
    assert as_file({"b": 1, "a": "行情"}).getvalue() == as_file({"a": "行情", "b": 1}).getvalue()
