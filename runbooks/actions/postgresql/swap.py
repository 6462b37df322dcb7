"""Change which data directory is the main cluster's on a host: put a side cluster's in its place, and back."""

from __future__ import annotations

from inventories.errors import Refused
from runbooks.actions.postgresql import server
from runbooks.hosts import Host
from runbooks.layout import FENCED, Layout

ALLOW_START = "/etc/mystocks-dr/allow-start"
# Renames on one file system: each is there or not, so that a run killed between them goes on where it was.
_SWAP = """
set -eu
cd %s
if ! test -e %s; then test -e %s/PG_VERSION; mv main %s; fi
if ! test -e main; then mv %s main; fi
sync .
"""
_PUT_BACK = """
set -eu
cd %s
test -e %s || exit 0
if test -e main; then mv main %s; fi
mv %s main
sync .
"""


def parent(layout: Layout) -> str:
    """The directory that holds the data directories of this major version."""
    return layout.data.rpartition("/")[0]


def replaced(stamp: str) -> str:
    """What the replaced data directory is called, beside the new one."""
    return f"main.replaced-{stamp}"


# A mount point cannot be renamed, and a rename from another file system is a copy.
_CAN_RENAME = """
cd %s || exit 1
mountpoint -q main && { echo "main is a mount point"; exit 1; }
test -h main && { echo "main is a symbolic link"; exit 1; }
test -h main/pg_wal && { echo "main/pg_wal is a symbolic link, the new one is none"; exit 1; }
test "$(stat -c %%d main)" = "$(stat -c %%d %s)" || { echo "main and %s are not on one file system"; exit 1; }
"""


def require_renames(host: Host, layout: Layout, side: str) -> None:
    """Raises Refused unless the side cluster's directory can take main's place by a rename."""
    name = f"side-{side}"
    ran = host.run(_CAN_RENAME, parent(layout), name, name, expect=None)
    if ran.rc:
        raise Refused(
            f"{host.name}: {parent(layout)}: {ran.text or 'a directory is missing'}, so no rename can swap them",
            "swap by hand, as docs/runbooks/restore-pitr.md says; the side cluster stays open",
        )


def clear_leftover(host: Host, layout: Layout, side: str) -> None:
    """Delete a side cluster's directory that a swap which was undone left behind; no agent knows it any more."""
    folder = f"{parent(layout)}/side-{side}"
    host.run("test -e %s.d || rm -rf %s", folder, folder, timeout=600)


def swap(host: Host, layout: Layout, side: str, stamp: str) -> None:
    """Rename main to main.replaced-STAMP and the directory `side` to main. Both servers must be down."""
    old = replaced(stamp)
    host.run(_SWAP, parent(layout), old, side, old, side, timeout=60)


def put_back(host: Host, layout: Layout, side: str, stamp: str) -> None:
    """Undo `swap` as far as it came; nothing is deleted. The server must be down."""
    old = replaced(stamp)
    host.run(_PUT_BACK, parent(layout), old, side, old, timeout=60)


def start_primary(host: Host, layout: Layout) -> None:
    """Start the main cluster as a primary that waits for nobody, although the start guard may know newer timelines.

    Only for a host whose cluster was chosen to be the primary, while every other server is down.
    """
    host.run(f"rm -f {layout.synchronous} {layout.data}/standby.signal {layout.data}/recovery.signal {FENCED}")
    host.run(
        f"touch {ALLOW_START}; systemctl unmask {layout.unit} 2>/dev/null; systemctl reset-failed {layout.unit}; true"
    )
    try:
        server.start(host, layout)
    finally:
        host.run(f"rm -f {ALLOW_START}")


def drop_replaced(host: Host, layout: Layout, stamp: str) -> None:
    """Delete the replaced data directory for good."""
    host.run("rm -rf %s/%s", parent(layout), replaced(stamp), timeout=600)
