"""The lab: containers with systemd and sshd, as hosts."""

import json as jsonlib
import os
from dataclasses import asdict

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from doors.support import LAB_HELP, door, progress, screen
from inventories.errors import BadInput, ExitCode


@task(help={"lab": LAB_HELP, "hosts": "only these hosts, such as pg1,pg2 (default: all)"})
@door
def up(c: Context, lab: str = "", hosts: str = "") -> None:
    """Start the lab, or complete one that is half there."""
    from lab import spec
    from lab.up import up as bring_up

    with progress() as say:
        made = bring_up(spec.lab_name(lab), say, spec.host_specs(hosts))
    where = ", ".join(f"{host.name} {host.address}" for host in made.hosts.values())
    print(f"Lab {lab} is up: {where}")


@task(help={"lab": LAB_HELP})
@door
def down(c: Context, lab: str = "") -> None:
    """Remove the lab: hosts, disks, network, keys."""
    from lab.down import down as take_down

    with progress() as say:
        removed = take_down(lab, say)
    print(f"Lab {lab} is gone." if removed.anything else f"There was no lab {lab}; nothing to remove.")


@task(help={"lab": LAB_HELP, "json": "print JSON instead of a table"})
@door
def status(c: Context, lab: str = "", json: bool = False) -> None:
    """Show hosts, addresses, states and memory.

    Ends with 1 when a host is not running.
    """
    from rich.table import Table

    from lab.status import look

    hosts = look(lab)
    if json:
        print(jsonlib.dumps([asdict(host) for host in hosts], indent=2))
    else:
        table = Table("host", "address", "state", "uptime", "memory", title=f"lab {lab}")
        for host in hosts:
            memory = "" if host.memory_bytes is None else f"{host.memory_bytes / 2**20:.0f} MiB"
            table.add_row(host.host, host.address, host.state, host.status, memory)
        screen().print(table)
    if not all(host.state == "running" for host in hosts):
        raise Exit(code=int(ExitCode.FAILED))


@task(help={"host": "host name, such as pg1", "lab": LAB_HELP})
@door
def ssh(c: Context, host: str, lab: str = "") -> None:
    """Log in to a host, or run what follows -- there."""
    from lab import ssh as to_host
    from lab import state

    hosts = state.load(lab).hosts
    if host not in hosts:
        raise BadInput(f"Lab {lab} has no host named {host!r}.", f"Its hosts are {', '.join(hosts)}.")
    command = [c.remainder] if c.remainder else []
    os.execvp("ssh", [*to_host.argv(lab, host, *(() if command else ("-t",))), *command])  # noqa: S606
