"""What a deploy makes of a delayed standby: its delay, nobody who waits for it, a watch and jobs that know it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from deploys import estate, watch
from deploys.postgresql import settings

NAMES = ("pg1", "pg2", "pg3", "backup1")


class Hosts(list[Any]):
    """pyinfra's inventory: a list of hosts, with groups."""

    def __init__(self, delay: str) -> None:
        super().__init__(self._host(name, delay) for name in NAMES)
        self.groups = {"pg_primary": self[:1], "pg_standby": self[1:3], "backup": self[3:]}

    def _host(self, name: str, delay: str) -> Any:
        values: dict[str, Any] = {"ssh_hostname": f"192.0.2.{NAMES.index(name) + 21}", "max_connections": 100}
        values |= {"max_locks_per_transaction": 0, "stanza": "main", "shared_buffers_mb": 256}
        if name == "pg3" and delay:
            values["apply_delay"] = delay
        return SimpleNamespace(name=name, data=SimpleNamespace(get=values.get))

    def get_host(self, name: str) -> Any:
        return next(one for one in self if one.name == name)


@pytest.fixture(params=["", "1h"])
def hosts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    made = Hosts(request.param)
    for module in (estate, watch):
        monkeypatch.setattr(module, "inventory", made)
    return made


def of(hosts: Hosts, name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(settings, "host", hosts.get_host(name))
    return settings.settings(17)


def test_only_the_delayed_standby_is_behind_and_everything_else_is_as_on_every_node(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    delay = hosts.get_host("pg3").data.get("apply_delay")
    first, third = of(hosts, "pg2", monkeypatch), of(hosts, "pg3", monkeypatch)
    assert (first["recovery_min_apply_delay"], third["recovery_min_apply_delay"]) == ("0", delay or "0")
    own = {"recovery_min_apply_delay", "primary_conninfo", "primary_slot_name"}
    assert {name for name in first if first[name] != third[name]} <= own
    assert third["primary_slot_name"] == "pg3"


def test_nobody_waits_for_it_and_nobody_asks_what_would_delay_its_promotion(hosts: Hosts) -> None:
    behind = ["pg3"] if hosts.get_host("pg3").data.get("apply_delay") else []
    assert [node.name for node in estate.delayed()] == behind
    assert [node.name for node in estate.candidates()] == [name for name in NAMES[:3] if name not in behind]


def test_the_watch_knows_it_for_what_it_is(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    delay = hosts.get_host("pg3").data.get("apply_delay")
    node = next(one for one in estate.nodes("pg_standby") if one.name == "pg3")
    assert watch._entry(node).get("apply_delay") == delay
