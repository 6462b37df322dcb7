"""A lab without root: what podman needs of the machine for it, and the way into the network of its hosts.

The hosts of a rootless podman have addresses that only its own network namespace can reach. So the whole of ``./dr``
goes there, once, before it starts: podman opens the namespace and nsenter takes our place in it, with our process id,
so that signals, exit code, input, output and folder stay what they were. Podman's own ``unshare`` would stand between
us and the terminal: on Ctrl-C it ends at once, and leaves behind a drill that is still mending what it broke.
"""

import os
import platform
import select
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NoReturn

from inventories.errors import BadInput
from inventories.whoami import ROOTLESS
from lab.programs import version

_OPENS_WITHIN_S = 60.0
# Names itself and stays until nobody holds its input any more. It starts no other program: one that is just being
# started shows no environment, and without podman's variables the next podman takes itself for root's.
_HOLDER = ("sh", "-c", "echo $$; read -r end")
_CONFIGURED = ("/etc/containers/storage.conf", "/usr/share/containers/storage.conf")
_OVERLAY_SINCE = (5, 13)  # the kernel that lets anybody mount one


def enter(command: Sequence[str]) -> NoReturn:
    """Run `command` in place of this process in the namespace. Raises BadInput with podman's own words."""
    prepare()
    podman = shutil.which("podman") or "podman"
    with tempfile.TemporaryFile() as said:
        # A session of its own: Ctrl-C is for us alone. What it still says when it ends goes to a file, not to a pipe
        # whose reader is gone.
        holder = subprocess.Popen(
            [podman, "unshare", "--rootless-netns", *_HOLDER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, start_new_session=True,
        )  # fmt: skip
        assert holder.stdin is not None
        assert holder.stdout is not None
        pid = _first_line(holder.stdout)
        if not pid:
            holder.kill()
            said.seek(0)
            raise _not_opened(said.read().decode(errors="replace"))
    os.set_inheritable(holder.stdin.fileno(), True)  # the namespace lives as long as the command does
    namespaces = ("--preserve-credentials", "--user", "--mount", "--net", "--target", pid)
    home = ("env", f"--chdir={Path.cwd()}")  # a new mount namespace begins at its root
    os.environ.update(_podmans_own(pid), **{ROOTLESS: str(os.getuid())})
    os.execvp("nsenter", ["nsenter", *namespaces, *home, *command])  # noqa: S606


def prepare() -> None:
    """Name the folders and the storage that podman is to use, where login or configuration did not."""
    sockets = runtime_dir()
    if sockets.is_dir():
        os.environ["XDG_RUNTIME_DIR"] = str(sockets)
    else:
        os.environ.pop("XDG_RUNTIME_DIR", None)
    configured = [_config_home() / "containers/storage.conf", *map(Path, _CONFIGURED)]
    store = Path.home() / ".local/share/containers/storage"
    if (
        not any(path.exists() for path in configured)
        and not (store / "vfs-images").exists()
        and version(platform.release()) >= _OVERLAY_SINCE
    ):
        os.environ.setdefault("STORAGE_DRIVER", "overlay")  # Debian's default copies the whole image for each host


def runtime_dir() -> Path:
    """Where this user's sockets are: su leaves the variable out, or leaves that of somebody else."""
    named = os.environ.get("XDG_RUNTIME_DIR")
    if named and Path(named).is_dir() and Path(named).stat().st_uid == os.getuid():
        return Path(named)
    return Path(f"/run/user/{os.getuid()}")


def _config_home() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _first_line(pipe: IO[bytes]) -> str:
    ready, _, _ = select.select([pipe], [], [], _OPENS_WITHIN_S)
    return pipe.readline().decode().strip() if ready else ""


def _not_opened(said: str) -> BadInput:
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
    return BadInput(
        f"Podman cannot open the network of a lab without root: {last.removeprefix('Error: ')}.",
        "podman system migrate clears what an earlier try left; podman unshare --rootless-netns true must work.",
    )


def _podmans_own(pid: str) -> dict[str, str]:
    """The variables by which a podman in the namespace knows where it is."""
    pairs = Path("/proc", pid, "environ").read_bytes().decode(errors="surrogateescape").split("\0")
    named = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    return {name: value for name, value in named.items() if name.lstrip("_").startswith("CONTAINERS_")}
