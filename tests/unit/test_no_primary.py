"""While nobody takes writes every refusal tells what each node is, and names what leads on from there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from inventories.errors import Refused
from runbooks.probes.postgresql import server
from runbooks.probes.postgresql.server import Node
from runbooks.procedures.postgresql import rejoin
from runbooks.procedures.postgresql.rejoin import Rejoin, RejoinOptions
from tests.unit.test_electing import context, estate, node

AWAY: dict[str, Any] = {"ssh": False, "why": "no answer at 192.0.2.1:22"}
DOWN: dict[str, Any] = {"ssh": True}
BLANK: dict[str, Any] = {"ssh": True, "installed": False}


def seen(name: str, *asynchronous: str, **what: Any) -> Node:
    return Node(estate(*asynchronous).host(name), **what)


CASES = {
    "a standby follows a primary that nobody sees": (
        [seen("pg1", **AWAY), node("pg2"), seen("pg3", **DOWN)],
        "pg1: no answer at 192.0.2.1:22, pg2: a standby that streams, pg3: PostgreSQL is down",
        "./dr failover --yes promotes the standby",
    ),
    "two standbys": (
        [seen("pg1", **DOWN), node("pg2"), node("pg3", receiving_from=None)],
        "pg1: PostgreSQL is down, pg2: a standby that streams, pg3: a standby that does not stream",
        "./dr failover --yes promotes the standby that has most",
    ),
    "only one that is never promoted": (
        [seen("pg1", **DOWN), seen("pg2", **DOWN), node("pg3", estate=estate("pg3"), receiving_from=None)],
        "pg1: PostgreSQL is down, pg2: PostgreSQL is down, pg3: a standby that does not stream",
        "./dr start-cluster finds the one that was last, starts it, then its standbys",
    ),
    "all down": (
        [seen("pg1", **DOWN), seen("pg2", fenced="failover", **DOWN), seen("pg3", **AWAY)],
        "pg1: PostgreSQL is down, pg2: fenced, pg3: no answer at 192.0.2.1:22",
        "./dr start-cluster finds the one that was last, starts it, then its standbys",
    ),
    "all blank": (
        [seen("pg1", **BLANK), seen("pg2", **BLANK), seen("pg3", **BLANK)],
        "pg1: PostgreSQL is not installed, pg2: PostgreSQL is not installed, pg3: PostgreSQL is not installed",
        "./dr restore-cluster restores it from the repository; on an estate that is new ./dr deploy begins one",
    ),
}


@pytest.mark.parametrize("host", ["", "pg2"])
@pytest.mark.parametrize(("nodes", "told", "hint"), CASES.values(), ids=CASES)
def test_a_rejoin_tells_what_each_node_is_and_what_comes_first(
    monkeypatch: pytest.MonkeyPatch, nodes: Sequence[Node], told: str, hint: str, host: str
) -> None:
    monkeypatch.setattr(server, "survey", lambda _: tuple(nodes))
    with pytest.raises(Refused) as refused:
        rejoin.assess(context(RejoinOptions(host=host)), Rejoin())
    assert (str(refused.value), refused.value.hint) == (f"no PostgreSQL node takes writes ({told})", hint)
