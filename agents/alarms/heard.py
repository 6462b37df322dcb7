"""On an application host: whether the host that raises the alarms still gives a sign of life. A timer runs it.

    python3 -m agents.alarms.heard [--config /etc/mystocks-dr/heard.json]

    {"estate": "mystocks", "who": "backup1", "silent_s": 300, "folder": "/var/lib/mystocks-dr/heard",
     "channels": {"hook": "jsons://...", "pager": ["/usr/local/bin/page"], "journal": "log"}}

The sign is the file `beat`, which that host touches here, so that one clock alone counts. What was told to whom is in
`told.json`: each channel hears of it once, is tried again at every run until it took it, and hears when it is over.
Exit codes: 0; 1 a channel took nothing; 2 bad settings.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import syslog
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.base import files
from agents.base.errors import BadConfig, run

PATH = Path("/etc/mystocks-dr/heard.json")
_TRY_S = 20.0
_HINT = "./dr deploy writes it."


@dataclass(frozen=True)
class Settings:
    estate: str
    who: str
    silent_s: float
    folder: Path
    channels: Mapping[str, str | Sequence[str]]


def load(path: Path) -> Settings:
    """Raises BadConfig."""
    try:
        raw = json.loads(path.read_text())
        return Settings(
            str(raw["estate"]), str(raw["who"]), float(raw["silent_s"]), Path(raw["folder"]), dict(raw["channels"])
        )
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error.strerror}.", _HINT) from error
    except (KeyError, TypeError, ValueError) as error:
        raise BadConfig(f"{path} is not what it should be: {error!r}.", _HINT) from error


def look(settings: Settings, now: float) -> list[str]:
    """Tell whoever is to be told. Returns a sentence for each channel that took nothing."""
    told = _read(settings.folder / "told.json")
    heard = _heard(settings.folder / "beat") or float(told.get("since", now))
    told = {"since": told.get("since", now), "told": list(told.get("told", []))}
    silent = now - heard > settings.silent_s
    waiting = [name for name in settings.channels if (name in told["told"]) is not silent]
    failed = []
    for name in waiting:
        why = _deliver(settings.channels[name], *_message(settings, silent, now - heard))
        if why:
            failed.append(f"{name}: {why}")
        elif silent:
            told["told"].append(name)
        else:
            told["told"].remove(name)
    files.replace(settings.folder / "told.json", json.dumps(told) + "\n")
    return failed


def _heard(beat: Path) -> float | None:
    try:
        return beat.stat().st_mtime
    except OSError:
        return None


def _read(path: Path) -> dict[str, Any]:
    """What was told is forgotten with the file: told twice is better than never."""
    try:
        known = json.loads(path.read_text())
        return known if isinstance(known, dict) else {}
    except (OSError, ValueError):
        return {}


def _message(settings: Settings, silent: bool, seconds: float) -> tuple[str, str, str]:
    """(title, body, kind)."""
    if not silent:
        over = f"{settings.who} alarms again"
        return f"[RESOLVED] {settings.estate}: {over}", f"It is over: {over}.\n", "success"
    what = f"{settings.who} raises no alarms any more"
    body = f"{what}: it has given no sign of life for {seconds / 60:.0f} min. Nothing else would be told.\n"
    hint = f"What to run: ./dr status; systemctl status mystocks-alarms on {settings.who}\n"
    return f"[CRITICAL] {settings.estate}: {what}", body + hint, "failure"


def _deliver(target: str | Sequence[str], title: str, body: str, kind: str) -> str:
    """Why it was not taken; empty where it was."""
    try:
        if target == "log":
            syslog.openlog("mystocks-dr", facility=syslog.LOG_DAEMON)
            syslog.syslog(syslog.LOG_ERR, f"ALARM: {title}: {body}")
            return ""
        if not isinstance(target, str):
            done = subprocess.run(target, input=f"{title}\n\n{body}", text=True, timeout=_TRY_S, check=False)
            return f"ended with {done.returncode}" if done.returncode else ""
        import apprise  # of the host's own release, and not there where no channel needs it

        sender = apprise.Apprise()
        bounds = f"cto={_TRY_S / 2:g}&rto={_TRY_S / 2:g}"
        if not sender.add(f"{target}{'&' if '?' in target else '?'}{bounds}"):
            return "apprise can make nothing of it"
        taken = sender.notify(body=body, title=title, notify_type=kind, body_format="text")
        return "" if taken else "it was not taken"
    except Exception as error:  # of whatever kind: the others have to be told, too
        return type(error).__name__


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.alarms.heard", description="Hear whether somebody still alarms.")
    parser.add_argument("--config", type=Path, default=PATH)
    failed = look(load(parser.parse_args(arguments).config), time.time())
    for sentence in failed:
        print(sentence, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run(main))
