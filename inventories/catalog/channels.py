"""The ways on which alarms leave, and who is told on which: `alarm_channels` and `alarm_people` of an inventory.

    alarm_channels = {
        "mail": "mailtos://dr:{secret}@mail.example.org?from=dr@example.org&to=ops@example.org",
        "hook": "jsons://hooks.example.org/dr",            # a webhook; whatever apprise knows is a chat
        "pager": ["/usr/local/bin/page", "--loud"],        # a command: the message is on its standard input
        "journal": "log",
    }
    alarm_people = {"operators": ["mail", "hook"], "lead": ["pager"]}

`{secret}` is DR_SECRET_ALARM_MAIL, or alarm_mail of the secrets file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from inventories import secrets
from inventories.errors import BadInput

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://.+")
_PLACE = "{secret}"
_WHERE = "alarm_channels and alarm_people of the inventory; inventories/catalog/channels.py has one of each kind"


class Kind(StrEnum):
    EMAIL = "email"
    WEBHOOK = "webhook"
    CHAT = "chat"
    COMMAND = "command"
    LOG = "log"


_KINDS = {
    Kind.EMAIL: ("mailto", "mailtos"),
    Kind.WEBHOOK: ("json", "jsons", "xml", "xmls", "form", "forms"),
}


@dataclass(frozen=True)
class Channel:
    """One way. `url` is apprise's, with its secret in it; `command` is run without a shell."""

    name: str
    kind: Kind
    url: SecretStr = field(default_factory=lambda: SecretStr(""))
    command: tuple[str, ...] = ()

    @property
    def target(self) -> str | list[str]:
        """As an inventory writes it, its secret in its place."""
        if self.kind is Kind.LOG:
            return Kind.LOG.value
        return list(self.command) or self.url.get_secret_value()

    @property
    def proves(self) -> bool:
        """Whether what the other end answers says that the message arrived: a mail server only says it will try."""
        return self.kind is not Kind.EMAIL


@dataclass(frozen=True)
class Routes:
    """Channels by name, and the names of those on which each recipient is told."""

    channels: Mapping[str, Channel]
    people: Mapping[str, tuple[str, ...]]

    def of(self, recipients: Sequence[str]) -> tuple[str, ...]:
        """Names of channels, each once, however many of the recipients share it."""
        return tuple(dict.fromkeys(name for one in recipients for name in self.people[one]))


def routes(data: Mapping[str, Any], recipients: Sequence[str]) -> Routes:
    """Of an inventory's data, for everybody whom the rules tell. Raises BadInput."""
    declared = data.get("alarm_channels") or {}
    if not isinstance(declared, Mapping) or not declared:
        raise BadInput("the inventory has no alarm_channels, so that nobody could be told", f"give it {_WHERE}")
    channels = {str(name): _channel(str(name), value, data) for name, value in declared.items()}
    people = _people(data.get("alarm_people") or {}, channels)
    for one in recipients:
        if one not in people:
            there = ", ".join(people) or "nobody"
            raise BadInput(
                f"a rule of alarms.yaml tells {one!r}, and alarm_people of the inventory knows {there}",
                f'alarm_people = {{"{one}": ["{next(iter(channels))}"]}} says on which channels',
            )
    return Routes(channels, people)


def _people(declared: Any, channels: Mapping[str, Channel]) -> dict[str, tuple[str, ...]]:
    if not isinstance(declared, Mapping):
        raise BadInput(f"alarm_people is {declared!r}, not names and their channels", f"see {_WHERE}")
    found: dict[str, tuple[str, ...]] = {}
    for one, names in declared.items():
        if isinstance(names, str) or not isinstance(names, Sequence) or not names:
            raise BadInput(f"alarm_people.{one} is {names!r}, which is no list of channels", f"see {_WHERE}")
        for name in names:
            if name not in channels:
                raise BadInput(
                    f"alarm_people.{one} names the channel {name!r}, and there is none of that name",
                    f"there are {', '.join(channels)}",
                )
        found[str(one)] = tuple(map(str, names))
    return found


def _channel(name: str, value: Any, data: Mapping[str, Any]) -> Channel:
    if not _NAME.fullmatch(name):
        raise BadInput(f"alarm_channels names one {name!r}", "small letters, digits and -, beginning with a letter")
    if value == "log":
        return Channel(name, Kind.LOG)
    if isinstance(value, list | tuple) and value and all(isinstance(word, str) and word for word in value):
        return Channel(name, Kind.COMMAND, command=tuple(value))
    scheme = _SCHEME.fullmatch(value) if isinstance(value, str) else None
    if scheme is None:
        told = f"a {type(value).__name__}" if not isinstance(value, str) else "a text that is no URL"
        raise BadInput(
            f"alarm_channels.{name} is {told}, and can be a URL of apprise, a command as a list of words, or log",
            f"see {_WHERE}",
        )
    kind = next((kind for kind, schemes in _KINDS.items() if scheme[1] in schemes), Kind.CHAT)
    return Channel(name, kind, SecretStr(_with_secret(name, str(value), data)))


def secrets_of(data: Mapping[str, Any]) -> dict[str, SecretStr]:
    """Name -> secret of every channel that has one. Raises BadInput."""
    urls = {name: url for name, url in (data.get("alarm_channels") or {}).items() if isinstance(url, str)}
    return {_secret_name(name): _secret(name, data) for name, url in urls.items() if _PLACE in url}


def _with_secret(name: str, url: str, data: Mapping[str, Any]) -> str:
    if _PLACE not in url:
        return url
    return url.replace(_PLACE, quote(_secret(name, data).get_secret_value(), safe=""))


def _secret(name: str, data: Mapping[str, Any]) -> SecretStr:
    key, file = _secret_name(name), str(data.get("secrets_file") or "")
    value = os.environ.get(f"DR_SECRET_{key.upper()}") or (secrets.stored(Path(file)).get(key) if file else None)
    if not value:
        raise BadInput(
            f"the channel {name} needs the secret {key}, which is neither in the environment "
            f"(DR_SECRET_{key.upper()}) nor in {file or 'a secrets file'}",
            f"add a line `{key}: PASSWORD` to that file",
        )
    return SecretStr(str(value))


def _secret_name(channel: str) -> str:
    return f"alarm_{channel.replace('-', '_')}"
