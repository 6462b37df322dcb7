"""The application host's timer that lets go of what TDengine's backups cover."""

from __future__ import annotations

from pyinfra.operations import systemd

from deploys.placed import Place, placed, rendered
from deploys.text import MANAGED

NAME = "mystocks-shadow"
_UNITS = "/etc/systemd/system"


def deploy(config: str) -> None:
    """`config` is the writer's settings. With three nodes there is no shadow, and it does nothing."""
    units = [
        Place(
            f"{_UNITS}/{NAME}.{kind}", "0644",
            text=rendered("app", f"shadow.{kind}.j2", managed=MANAGED, config=config),
        )
        for kind in ("service", "timer")
    ]  # fmt: skip
    put = placed(name="shadow's units", places=units)
    systemd.daemon_reload(name="systemd reads the shadow's units", _if=put.did_change)
    systemd.service(name="shadow's timer runs", service=f"{NAME}.timer", running=True, enabled=True)
