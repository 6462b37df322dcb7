"""An append-only copy is let go by the operator, who asks the backup host whether it may be."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from inventories.errors import BadInput, Refused
from runbooks import agent
from runbooks.backups import offsite

RULES = ["--group-by=", "--tag", "mystocks-dr", "--keep-last=4", "--keep-daily=14", "--keep-weekly=8"]
SAID = f"""{json.dumps([{"keep": [{"id": "a" * 64}], "remove": [{"id": "b" * 64}, {"id": "c" * 64}]}])}
loading indexes...
[0:00] 100.00%  1 / 1 snapshots
"""


class Away:
    """The off-site host; notes what it was asked."""

    name = "offsite1"

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[object, ...], dict[str, Any]]] = []

    def run(self, command: str, *words: object, **further: Any) -> SimpleNamespace:
        self.asked.append((command, words, further))
        return SimpleNamespace(stdout=SAID)


@pytest.fixture
def host() -> Away:
    return Away()


def estate(host: Away, kind: str = "rest-server") -> Any:
    return SimpleNamespace(
        name="e", data={"offsite_kind": kind}, groups={"offsite": ["offsite1"]}, group=lambda name: (host,), backup="b"
    )


def holds(monkeypatch: pytest.MonkeyPatch, *why: str) -> None:
    monkeypatch.setattr(agent, "ask", lambda *_, **__: {"holds": why, "rules": RULES})


def test_the_off_site_host_is_handed_the_rules_and_for_a_moment_the_password(
    host: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds(monkeypatch)
    found = offsite.expire(estate(host), SecretStr("the secret"), only_look=False)
    assert (found.stays, found.goes) == (("a" * 8,), ("b" * 8, "c" * 8))
    ((command, words, further),) = host.asked
    assert words == (offsite.FOLDER, *RULES)
    assert command.count("%s") == len(words)
    assert "dry-run" not in command
    assert (further["user"], further["stdin"]) == ("offsite", "the secret\n")
    assert "the secret" not in command


def test_to_look_changes_nothing_and_says_what_holds(host: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(monkeypatch, "the verification is late")
    found = offsite.expire(estate(host), SecretStr("x"), only_look=True)
    assert "--dry-run" in host.asked[0][0]
    assert found.sentence == (
        "Nothing expires on offsite1: the verification is late. 2 of its 3 copies would go otherwise."
    )


def test_nothing_goes_that_is_held(host: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(monkeypatch, "F1 is damaged here, and an older snapshot may have it whole")
    with pytest.raises(Refused, match="F1 is damaged here"):
        offsite.expire(estate(host), SecretStr("x"), only_look=False)
    assert host.asked == []


def test_where_the_backup_host_may_delete_it_does_so_itself(host: Away) -> None:
    with pytest.raises(BadInput, match="lets snapshots go by itself"):
        offsite.expire(estate(host, "sftp"), SecretStr("x"), only_look=False)
