"""What the last step of a procedure expects of the hosts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runbooks.engine.context import Context, Options
from runbooks.hosts import Host
from runbooks.procedures.postgresql import verifying
from runbooks.procedures.postgresql.roles import Roles
from tests.unit.record_kit import ESTATE


def test_an_estate_of_one_node_has_nobody_who_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Host, "reachable", lambda *_: True)
    hosts = tuple(host for host in ESTATE.hosts if host.name != "pg2")
    one = replace(ESTATE, hosts=hosts, groups={"pg_primary": ("pg1",), "backup": ("backup1",)})
    run: Any = Context(one, Options(), Path("/r"))
    assert verifying._expected(run, Roles(primary="pg1"), "", False) == {"primary": "pg1", "off": []}
