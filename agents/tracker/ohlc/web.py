"""Ask a REST source for JSON: with patience for one that is busy or away, and with none for one that never ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3

from agents.base.errors import AgentError, BadConfig

TRIES, PAUSE_S, LONGEST_S = 5, 0.5, 30.0
TIMEOUT = urllib3.Timeout(connect=5.0, read=30.0)
MOST_BYTES = 16 << 20  # of one page
BUSY = (429, 500, 502, 503, 504)
_HERE = ("127.0.0.1", "::1", "localhost")


class SourceAway(AgentError):  # noqa: N818 - named after what it is
    """The source did not answer, however often it was asked."""


class SourceRefuses(AgentError):  # noqa: N818
    """The source answered, and not with what was asked for."""


class Web:
    """One source. `pause`: how waiting is done, for a test."""

    def __init__(self, url: str, token_file: Path | None = None, stop: threading.Event | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise BadConfig(f"{url} is no address of a source.", "It is https://HOST/PATH, without account and query.")
        self.url = url
        self._headers = {"Accept": "application/json"}
        if token_file is not None:
            if parts.scheme != "https" and parts.hostname not in _HERE:
                raise BadConfig(f"The token would go to {url} for everybody to read.", "Use https.")
            self._headers["Authorization"] = f"Bearer {_token(token_file)}"
        self._pool = urllib3.PoolManager(num_pools=2)
        self._stop = stop or threading.Event()

    def ask(self, words: Mapping[str, object]) -> Any:
        """The JSON of one page. Raises SourceAway, SourceRefuses."""
        why, pause = "", PAUSE_S
        for number in range(1, TRIES + 1):
            asked_to_wait = 0.0
            try:
                answer = self._pool.request(
                    "GET", self.url, fields={name: str(value) for name, value in words.items()}, headers=self._headers,
                    timeout=TIMEOUT, retries=False, redirect=False, preload_content=False,
                )  # fmt: skip
                try:
                    if answer.status not in BUSY:
                        return self._json(answer)
                    why, asked_to_wait = f"it answers {answer.status}", _seconds(answer.headers.get("Retry-After", ""))
                finally:
                    answer.close()  # one that was read whole has given its connection back; another is of no more use
            except urllib3.exceptions.HTTPError as error:
                why = _first_line(error)
            if number < TRIES and self._stop.wait(min(max(pause, asked_to_wait), LONGEST_S)):
                raise SourceAway(f"{self.url} was being asked when this was stopped.", "Repeat; it goes on from there.")
            pause *= 2
        hint = "Repeat when it answers: what was imported is not asked for again."
        raise SourceAway(f"{self.url} was asked {TRIES} times in vain: {why}.", hint)

    def _json(self, answer: urllib3.BaseHTTPResponse) -> Any:
        if answer.status in (401, 403):
            raise SourceRefuses(f"{self.url} answers {answer.status}: the token is not taken.", "Get a new one.")
        if answer.status != 200:
            raise SourceRefuses(f"{self.url} answers {answer.status}.", "Look at the address and at its documentation.")
        text = answer.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise SourceRefuses(f"{self.url} gives a page of more than {MOST_BYTES >> 20} MiB.", "Lower --page-size.")
        try:
            return json.loads(text, parse_float=str)  # a float would round a price
        except (ValueError, RecursionError) as error:
            raise SourceRefuses(f"{self.url} gives no JSON: {error}.", "Look at what answers there.") from error


def _token(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise BadConfig(f"{path} may be read by others.", f"chmod 600 {path}")
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} cannot be read.", "It holds the source's token, nothing else.") from error
    if not token or not token.isascii() or len(token.split()) != 1:
        raise BadConfig(f"{path} holds no token.", "It holds the source's token, nothing else.")
    return token


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
