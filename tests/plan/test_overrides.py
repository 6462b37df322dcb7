"""ALTER SYSTEM is undone by a deploy, except where the server would not start any more."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.postgresql import operations


@pytest.mark.parametrize(("slots", "undone"), [([], ["wal_level", "work_mem"]), ([{"slot_name": "cdc"}], ["work_mem"])])
def test_a_logical_slot_keeps_the_wal_level_that_its_server_needs_to_start(
    monkeypatch: pytest.MonkeyPatch, slots: list[dict[str, Any]], undone: list[str]
) -> None:
    overridden = [{"name": "wal_level"}, {"name": "work_mem"}, {"name": "none_of_ours"}]
    monkeypatch.setattr(operations, "_rows", lambda sql: slots if "slot_type" in sql else overridden)
    monkeypatch.setattr(operations, "_psql", lambda sql: sql)
    said = list(operations.pg_reset_overrides._inner(17, ["work_mem", "wal_level"]))
    assert said == [*(f'ALTER SYSTEM RESET "{name}";' for name in undone), "SELECT pg_reload_conf();"]
