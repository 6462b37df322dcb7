"""The lab's fencing hook: take a host's power away for good, as a hypervisor or a cloud would.

usage: python -m lab.fence [--lab NAME] HOST

Ends with 0 only when the engine says that the host is off, also when it was off already; with 2 for a host
or lab that does not exist; with 1 when the host could not be shown to be off. Nothing but ``lab.up`` or an
operator turns the host on again. It imports little and asks the engine no more than it must, because its time
is part of every recovery that needs it.
"""

import argparse
import os
import sys

from inventories.errors import DrError
from lab import power
from lab.spec import DEFAULT_LAB


def main(argv: list[str] | None = None) -> int:
    """Fence the host that the command line names and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.fence", description="Take a lab host's power away for good."
    )
    parser.add_argument("--lab", default=os.environ.get("DR_LAB", DEFAULT_LAB), metavar="NAME")
    parser.add_argument("host", metavar="HOST")
    wanted = parser.parse_args(argv)
    try:
        power.fence(wanted.lab, wanted.host)
    except DrError as error:
        sys.stderr.write(f"{error}\n" + (f"HINT: {error.hint}\n" if error.hint else ""))
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
