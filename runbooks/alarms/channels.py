"""Deliver one message on one channel: by apprise, a command, or this host's log. An error is a sentence."""

from __future__ import annotations

import inspect
import logging
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from inventories.catalog.alarms import Severity
from inventories.catalog.channels import Channel, Kind
from inventories.errors import BadInput

LOG = "/dev/log"
_PRIORITY = {Severity.INFO: 30, Severity.WARNING: 28, Severity.CRITICAL: 27}  # daemon's info, warning, err
_TYPES = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "failure"}
_REASON = re.compile(r"[Ee]xception|[Ee]rror")
_SHOWN = 300
_SLACK_S = 5.0


@dataclass(frozen=True)
class Text:
    """A message as it leaves. `over`: it says that something is so no more."""

    title: str
    body: str
    severity: Severity
    over: bool = False


def deliver(channel: Channel, text: Text, within_s: float) -> str:
    """Why it was not taken; empty where it was."""
    try:
        if channel.kind is Kind.COMMAND:
            return _command(channel, text, within_s)
        if channel.kind is Kind.LOG:
            return _log(text)
        return _apprise(channel, text, within_s)
    except Exception as error:  # of whatever kind: the others have to be told, too
        return _without_secret(channel, f"{type(error).__name__}: {error}")


def require_usable(channel: Channel, within_s: float = _SLACK_S) -> Any:
    """What apprise sends with; None for a channel that needs no apprise.

    Raises BadInput for a URL that apprise cannot make anything of; its secrets are not told.
    """
    if channel.kind in (Kind.COMMAND, Kind.LOG):
        return None
    import apprise

    way = apprise.Apprise.instantiate(_bounded(channel, within_s), suppress_exceptions=True)
    if way is None:
        scheme = channel.url.get_secret_value().partition("://")[0]
        raise BadInput(
            f"alarm_channels.{channel.name} is a URL {scheme}://... of which apprise can make nothing",
            "its pages say how each kind is written: https://github.com/caronc/apprise/wiki",
        )
    return way


def _apprise(channel: Channel, text: Text, within_s: float) -> str:
    import apprise

    sender = apprise.Apprise()
    sender.add(require_usable(channel, within_s))
    kind = "success" if text.over else _TYPES[text.severity]
    # Version 2 has threads of its own, and keeps what they say; the one of Debian 13 says it in this one.
    known = inspect.signature(sender.notify).parameters
    keeps: dict[str, Any] = {"log_level": logging.DEBUG} if "log_level" in known else {}
    with _overheard() as said:
        arrived = sender.notify(body=text.body, title=text.title, notify_type=kind, body_format="text", **keeps)
    if arrived:
        return ""
    logs = [(one.level, one.message) for one in arrived.logs()] if keeps else said
    told = dict.fromkeys(_plain(message) for level, message in logs if level != "DEBUG" or _REASON.search(message))
    return _without_secret(channel, "; ".join(told) or "it was not taken")


def _bounded(channel: Channel, within_s: float) -> str:
    """A connection has half of the time and each answer the other half; a mail is plain text unless said otherwise."""
    url = channel.url.get_secret_value()
    more = [f"{name}={within_s / 2:g}" for name in ("cto", "rto") if f"{name}=" not in url]
    if channel.kind is Kind.EMAIL and "format=" not in url:
        more.append("format=text")
    return f"{url}{'&' if '?' in url else '?'}{'&'.join(more)}" if more else url


class _Ear(logging.Handler):
    """What apprise logs in this thread, as (level, message): it returns no reason."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.thread, self.said = threading.get_ident(), list[tuple[str, str]]()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread and record.levelno >= logging.DEBUG:
            self.said.append((record.levelname, record.getMessage()))


def _plain(said: str) -> str:
    return " ".join(said.split()).rstrip(".")


@contextmanager
def _overheard() -> Iterator[list[tuple[str, str]]]:
    ear, logger = _Ear(), logging.getLogger("apprise")
    logger.addHandler(ear)
    logger.setLevel(logging.DEBUG)  # what a mail server answered is said there, and only there
    logger.propagate = False  # nothing of it on our own standard error
    try:
        yield ear.said
    finally:
        logger.removeHandler(ear)


def _without_secret(channel: Channel, said: str) -> str:
    url = channel.url.get_secret_value()
    secrets = [part for part in (url, url.partition("://")[2].partition("@")[0]) if len(part) > 3 and "@" in url]
    for part in secrets:
        said = said.replace(part, "***")
    return said[:_SHOWN]


def _command(channel: Channel, text: Text, within_s: float) -> str:
    """The message on its standard input, the title first; 0 is its word that it arrived."""
    said = f"{text.title}\n\n{text.body}\n"
    try:
        done = subprocess.run(
            channel.command, input=said, text=True, capture_output=True, timeout=within_s, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{channel.command[0]} did not end within {within_s:g} s"
    except OSError as error:
        return f"{channel.command[0]}: {error.strerror}"
    last = next(reversed(done.stderr.strip().splitlines()), "")
    return f"{channel.command[0]} ended with {done.returncode}: {last}"[:_SHOWN] if done.returncode else ""


def _log(text: Text) -> str:
    """To the log's own socket, because the C library says nothing when nobody listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.settimeout(_SLACK_S)
        try:
            log.connect(LOG)
            for line in (text.title, *text.body.splitlines()):
                log.send(f"<{_PRIORITY[text.severity]}>mystocks-dr: ALARM: {line}".encode())
        except OSError as error:
            return f"{LOG}: {error.strerror or error}"
    return ""
