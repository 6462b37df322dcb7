"""A pair of eyes each in a thread of its own: a host that hangs, or is slow to say no, delays nobody else."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from inventories.errors import DrError, Unreachable
from runbooks.hosts import Estate, Host
from runbooks.knock import Door, knock
from runbooks.watch.channel import Channel
from runbooks.watch.settings import Settings
from runbooks.watch.sights import Kind, Look, Sight

OWN = "the watch"
PORT = 5432
_EYE = "cd /opt/mystocks-dr && exec python3 -m agents.watch.eye"
_OF_APPLICATION = f"{_EYE} --config /etc/mystocks-dr/agent.json"
OWED_S = 0.5  # beside the time that a look has: for the line between, and for a busy host's Python


@dataclass(frozen=True)
class Glass:
    """Where one pair of eyes is, and the session with the program there."""

    host: Host
    application: bool
    channel: Channel

    def kind(self, primary: str) -> Kind:
        """The session with the primary's own host is the watch's own line to it."""
        if self.application:
            return Kind.APPLICATION
        return Kind.OWN if self.host.name == primary else Kind.STANDBY


def glasses(estate: Estate) -> tuple[Glass, ...]:
    """One on every application host and every database host."""
    apps = estate.group("app")
    return tuple(
        Glass(host, host in apps, Channel(partial(_begin, host, host in apps))) for host in (*apps, *estate.postgres)
    )


def _begin(host: Host, application: bool) -> subprocess.Popen[bytes]:
    return host.start(_OF_APPLICATION if application else _EYE, user="mystocks" if application else "postgres")


class Eyes:
    """All of them, looking at whoever `primary` says until `over`; each look is handed to `tell`."""

    def __init__(
        self, estate: Estate, settings: Settings, primary: Callable[[], Host | None], tell: Callable[[str, Look], None]
    ) -> None:
        self._settings, self._primary, self._tell = settings, primary, tell
        self._over = threading.Event()
        self.glasses = glasses(estate)
        self._threads = [
            threading.Thread(target=self._go, args=(glass,), name=f"eye-{glass.host}", daemon=True)
            for glass in self.glasses
        ]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(self._settings.look_s + OWED_S)
        for glass in self.glasses:
            glass.channel.close()

    def _go(self, glass: Glass) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            primary = self._primary()
            if primary is not None:
                self._tell(glass.host.name, self._look(glass, primary))
            self._over.wait(max(0.0, began + self._settings.every_s - time.monotonic()))

    def _look(self, glass: Glass, primary: Host) -> Look:
        """Whatever happens to one look (no more threads, no more open files), the next one is tried."""
        asked = time.monotonic()
        try:
            return look(glass, primary, self._settings.look_s)
        except Exception as error:
            kind = glass.kind(primary.name)
            eye = OWN if kind is Kind.OWN else glass.host.name
            return Look(eye, kind, Sight.BLIND, asked, time.monotonic(), f"{type(error).__name__}: {error}")


def look(glass: Glass, primary: Host, within: float) -> Look:
    """One look, which takes little longer than `within` seconds."""
    kind, asked = glass.kind(primary.name), time.monotonic()
    if kind is Kind.OWN:
        sight, why = _own(glass, primary, within)
        return Look(OWN, kind, sight, asked, time.monotonic(), why)
    try:
        said = glass.channel.ask(_question(primary, within), within + OWED_S)
        sight, why = (Sight(said["seen"]), str(said["why"])) if said else (Sight.BLIND, "it does not answer")
    except (DrError, KeyError, ValueError) as error:
        sight, why = Sight.BLIND, str(error)
    return Look(glass.host.name, kind, sight, asked, time.monotonic(), why)


def _question(primary: Host, within: float) -> dict[str, object]:
    return {"host": primary.name, "address": primary.address, "port": PORT, "ssh": _ssh(primary), "within": within}


def _ssh(primary: Host) -> int:
    """The port of the host itself that others of the estate can knock at; behind a bastion nobody says which it is."""
    return primary.entry.ssh_port if not primary.entry.ssh_proxy_jump else 22


def _own(glass: Glass, primary: Host, within: float) -> tuple[Sight, str]:
    """By the open session with the primary's host; where it stays silent, by knocking at its doors from here."""
    first = within / 3
    try:
        said = glass.channel.ask(_question(primary, within), first)
    except DrError:
        said = None
    if said is None:
        sight, why = _knocked(primary, within - first)
        if sight is not Sight.SILENT:
            return sight, why
        try:
            said = glass.channel.late()
        except DrError:
            said = None
    if said is None:
        return Sight.SILENT, ""
    try:
        return Sight(said["seen"]), str(said["why"])
    except (KeyError, ValueError) as error:
        return Sight.BLIND, str(error)


def _knocked(primary: Host, seconds: float) -> tuple[Sight, str]:
    with ThreadPoolExecutor(2) as pool:
        ssh = pool.submit(primary.knock, seconds)
        server = pool.submit(_at_server, primary, seconds)
        doors = ssh.result(), server.result()
    if doors[0] in (Door.OPEN, Door.REFUSED):
        return (Sight.DOWN, "its port is closed") if doors[1] is Door.REFUSED else (Sight.ALIVE, "its host answers SSH")
    if doors[1] in (Door.OPEN, Door.REFUSED):
        return Sight.ALIVE, "its host answers"
    return (Sight.SILENT, "") if doors[0] is Door.SILENT else (Sight.BLIND, "its name cannot be resolved")


def _at_server(primary: Host, seconds: float) -> Door:
    try:
        return knock(primary.address, PORT, seconds)
    except Unreachable:
        return Door.UNKNOWN
