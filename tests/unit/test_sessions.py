"""Sessions of ours on a server that production uses are not subject to its event triggers."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys.postgresql import roles
from inventories.catalog.postgresql.sessions import unwatched
from inventories.inventory import HostEntry
from runbooks import begun
from runbooks.hosts import Host


class Done:
    returncode, stdout, stderr = 0, "[]", ""


OFF = "-c event_triggers=off"


@pytest.mark.parametrize(("version", "options"), [(17, OFF), (18, OFF), (16, "")])
def test_a_version_that_knows_no_such_setting_is_not_asked_for_it(version: int, options: str) -> None:
    assert unwatched(version) == options


def test_what_asks_a_server_as_its_superuser_says_so_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[list[str]] = []
    monkeypatch.setattr(begun, "run", lambda argv, *_: said.append(argv) or Done())
    monkeypatch.setattr(begun, "begin", said.append)
    entry = HostEntry(name="pg1", ssh_hostname="192.0.2.1")
    host = Host("pg1", entry, Path("config"), session=unwatched(17))
    host.query("select 1")
    host.execute("select 1;")
    host.begin_session()
    host.execute("drop table a_hypertable;", "quant_research")
    assert "event_triggers" not in said.pop()[-1], "TimescaleDB has to hear of it"
    assert len(said) == 3
    assert all("event_triggers=off" in argv[-1] for argv in said)
    assert said[0] == said[1] == said[2], "what was begun ahead is what is run"


def test_every_role_of_ours_is_without_them_and_a_deploy_sees_one_that_is_not() -> None:
    stated = roles.grants(17)
    assert {f"ALTER ROLE {name} SET event_triggers = off" for name in roles.ROLES} <= set(stated)
    assert f"< {len(roles.ROLES)}" in roles.not_granted(17)
    assert not any("event_triggers" in line for line in roles.grants(16))
    assert roles.not_granted(16).endswith("< 0")
