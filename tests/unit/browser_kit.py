"""A headless Chromium that is asked over its own pipe (DevTools protocol), for pages that change while one looks."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass
class Browser:
    """One tab. Every answer ends with a NUL byte."""

    to: int
    answers: Any
    numbers: Iterator[int]
    session: str = ""

    def ask(self, method: str, **params: object) -> Any:
        number = next(self.numbers)
        told = {"id": number, "method": method, "params": params}
        os.write(self.to, json.dumps(told | ({"sessionId": self.session} if self.session else {})).encode() + b"\0")
        while True:
            answer = json.loads(self._answer())
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def _answer(self) -> bytes:
        read = b""
        while not read.endswith(b"\0"):
            one = self.answers.read(1)
            assert one, "the browser has ended"
            read += one
        return read[:-1]

    def go(self, address: str) -> None:
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.ask("Page.enable")
        self.ask("Page.navigate", url=address)

    def js(self, expression: str) -> Any:
        ran = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in ran, ran
        return ran["result"].get("value")

    def text(self, name: str) -> str:
        """Of the element with this id, as it is seen: empty while it is hidden."""
        found = f"document.getElementById({name!r})"
        return str(self.js(f"{found} && {found}.checkVisibility() ? {found}.innerText : ''")).strip()

    def until(self, expression: str, seconds: float = 30.0) -> None:
        """Wait until it is true."""
        ends = time.monotonic() + seconds
        while not self.js(f"!!({expression})"):
            assert time.monotonic() < ends, f"{expression}: {self.js('document.body.innerText')}"
            time.sleep(0.1)

    def scheme(self, name: str) -> None:
        """light or dark."""
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self, path: Path, width: int = 1100, height: int = 900) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    theirs_in, to = os.pipe()
    ours, theirs_out = os.pipe()
    # The protocol is spoken on the descriptors 3 and 4.
    command = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={folder}"]
    process = subprocess.Popen(
        ["bash", "-c", command, str(CHROMIUM), *options], pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    with os.fdopen(ours, "rb") as answers:
        try:
            yield Browser(to, answers, count(1))
        finally:
            process.terminate()
            process.wait(30)
            os.close(to)
