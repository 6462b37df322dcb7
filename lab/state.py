"""A lab's state directory: what was made, the keys to it and how SSH finds it.

Nothing of it is in the repository.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from inventories.errors import BadInput, TargetFailed
from lab.spec import lab_name


@dataclass(frozen=True)
class LabHost:
    """A host that was made: its container and its fixed address."""

    name: str
    container: str
    address: str


@dataclass(frozen=True)
class LabState:
    """What ``lab.json`` holds: the network, its operator's address, the image, and the hosts by name."""

    name: str
    network: str
    subnet: str
    gateway: str
    image: str
    hosts: Mapping[str, LabHost]


@dataclass(frozen=True)
class LabFiles:
    """The paths inside one lab's state directory."""

    root: Path

    @property
    def lab_json(self) -> Path:
        return self.root / "lab.json"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets.yaml"

    @property
    def key(self) -> Path:
        return self.root / "id_ed25519"

    @property
    def public_key(self) -> Path:
        return self.root / "id_ed25519.pub"

    @property
    def known_hosts(self) -> Path:
        return self.root / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        return self.root / "ssh_config"


def state_root() -> Path:
    """``$DR_STATE``, else ``mystocks-dr`` under the user's XDG state directory."""
    chosen = os.environ.get("DR_STATE")
    if chosen:
        return Path(chosen).absolute()
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "mystocks-dr"


def files(lab: str) -> LabFiles:
    """The files of the lab of that (checked) name, whether or not they exist."""
    return LabFiles(state_root() / lab_name(lab))


def load(lab: str) -> LabState:
    """Read ``lab.json``; BadInput when the lab was never brought up or the file is damaged."""
    path = files(lab).lab_json
    hint = f"./dr lab.up --lab {lab} makes or completes it."
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        hosts = {name: LabHost(**host) for name, host in raw.pop("hosts").items()}
        return LabState(hosts=hosts, **raw)
    except FileNotFoundError:
        raise BadInput(f"There is no lab named {lab!r}.", hint) from None
    except (ValueError, TypeError, KeyError, AttributeError) as broken:
        raise BadInput(f"{path} is damaged: {broken}.", hint) from broken


def save(state: LabState) -> None:
    """Write ``lab.json`` by rename, so that a reader never sees half of it."""
    write_atomically(files(state.name).lab_json, json.dumps(asdict(state), indent=2) + "\n", 0o644)


@contextmanager
def making_or_removing(say: Callable[[str], None]) -> Iterator[None]:
    """Let one process at a time make or remove labs, as they choose subnets for themselves."""
    from filelock import FileLock, Timeout

    root = state_root()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(root / ".lock")
    try:
        lock.acquire(timeout=0.1)
    except Timeout:
        say("Waiting for another ./dr that makes or removes a lab")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_atomically(path: Path, text: str, mode: int) -> None:
    """Replace the file by one with this text and mode, in one step.

    Its directory is made private when missing.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(
        os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8"
    ) as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    temporary.chmod(mode)
    temporary.replace(path)


def ensure_secrets(lab: str) -> None:
    """Give every database role its random password.

    Those that are there stay, as the hosts already know them.
    """
    from inventories import secrets  # slow to import, and the fence imports this module

    secrets.complete(files(lab).secrets)


def ensure_key(lab: str) -> str:
    """The public key that lets the operator in; both halves are made anew when either is lost."""
    paths = files(lab)
    if not (paths.key.exists() and paths.public_key.exists()):
        paths.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        paths.key.unlink(missing_ok=True)
        paths.public_key.unlink(missing_ok=True)
        argv = [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            f"mystocks-dr {lab}",
            "-f",
            str(paths.key),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise TargetFailed(f"ssh-keygen could not make {paths.key}: {done.stderr.strip()}")
    return paths.public_key.read_text(encoding="utf-8")
