"""Cut a host off from outside: the fencing hook, a command in the inventory for power, hypervisor or cloud."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence

from inventories.errors import TargetFailed, TimedOut
from runbooks.hosts import Host


def power_off(host: Host, timeout: float) -> None:
    """Run the host's `fence_command`. Raises TargetFailed unless it says that the host is certainly off."""
    command = host.entry.fence_command
    assert command, "ask probes.fencing.has_hook first"
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"the fencing hook of {host.name} did not answer within {timeout:g} s", _HINT) from error
    except OSError as error:
        raise TargetFailed(
            f"the fencing hook of {host.name} cannot be run: {command[0]}: {error.strerror}", _HINT
        ) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise TargetFailed(
            f"the fencing hook of {host.name} ended with {done.returncode}: {said[-1] if said else 'silent'}", _HINT
        )


def unfit(hosts: Sequence[Host]) -> Iterator[str]:
    """A sentence without its end for each that could not be cut off from this machine."""
    for host in hosts:
        command = host.entry.fence_command
        if not command:
            yield f"{host.name} has no fence_command"
        elif shutil.which(command[0]) is None:
            yield f"{command[0]}, which fences {host.name}, cannot be run on this machine"


_HINT = "cut its power by hand, or leave the primary as it is; promoting beside a living primary loses rows"
