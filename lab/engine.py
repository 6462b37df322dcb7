"""The container engine: podman or docker.

The only module that starts one of them; the fence imports it, so it is light.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from enum import Enum
from typing import Any

from inventories.errors import BadInput, TargetFailed, TimedOut
from lab.programs import podmans_firewall

# Both engines' words for a container without a process; whatever else they say is not certainly off.
OFF = ("", "configured", "created", "initialized", "stopped", "exited", "dead", "removing")
_PACKAGES = ("podman", "runc", "netavark", "aardvark-dns")


def engine_programs() -> dict[str, str]:
    """The programs of a podman that runs labs, and the packages that bring them."""
    program, package = podmans_firewall()
    return {**{name: name for name in _PACKAGES}, program: package}


class Kind(Enum):
    """The engines we know how to talk to."""

    PODMAN = "podman"
    DOCKER = "docker"


class EngineFailed(TargetFailed):
    """The engine said no. Carries what was tried and the engine's last line."""

    def __init__(self, what: str, code: int, stderr: str) -> None:
        said = next((line.strip() for line in reversed(stderr.splitlines()) if line.strip()), "nothing")
        super().__init__(f"{what} ended with code {code}: {said}", "./dr lab.status shows what is there.")
        self.code = code
        self.stderr = stderr


class EngineMissing(BadInput):
    """Neither podman nor docker can be used here."""

    def __init__(self, why: str) -> None:
        super().__init__(why, f"sudo apt-get install -y --no-install-recommends {' '.join(engine_programs().values())}")


@dataclass(frozen=True)
class Engine:
    """A way to call the engine: its kind and the argv that every call starts with (``sudo -n`` included)."""

    kind: Kind
    prefix: tuple[str, ...]

    @property
    def elevation(self) -> tuple[str, ...]:
        """What makes the engine root: ``sudo -n`` or nothing."""
        return self.prefix[:-1]

    def run(self, *args: str, stdin: str | None = None, timeout: float = 60.0) -> str:
        """Run one engine command and return its standard output; EngineFailed unless it ends with 0."""
        what = f"{self.kind.value} {' '.join(args[:2])}"
        try:
            done = subprocess.run(
                [*self.prefix, *args],
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                # Ctrl-C is for us alone: an engine that is stopped half-way leaves addresses taken for ever.
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as late:
            raise TimedOut(
                f"{what} did not end within {timeout:g} s.", "The engine itself may hang."
            ) from late
        except OSError as missing:
            raise EngineMissing(f"{self.prefix[0]} cannot be started: {missing.strerror}.") from missing
        if done.returncode != 0:
            raise EngineFailed(what, done.returncode, done.stderr)
        return done.stdout

    def json(self, *args: str, timeout: float = 60.0) -> list[dict[str, Any]]:
        """Run a command that prints JSON: one list, or (docker) one object a line.

        Always a list of objects.
        """
        text = self.run(*args, timeout=timeout).strip()
        if text.startswith("["):
            return list(json.loads(text))
        return [json.loads(line) for line in text.splitlines() if line]

    def execute(self, container: str, *argv: str, stdin: str | None = None, timeout: float = 60.0) -> str:
        """Run a command inside a running container, past its network, and return its standard output."""
        flags = ("--interactive",) if stdin is not None else ()
        return self.run("exec", *flags, container, *argv, stdin=stdin, timeout=timeout)

    def describe(self) -> str:
        """The engine and its version in words, for a drill's fingerprint."""
        words = self.run("--version").split()
        return " ".join(word for word in words[:3] if word != "version").rstrip(",")

    def is_running(self, container: str) -> bool:
        """Whether anything of it may live: one that is frozen, or still being stopped, is not off."""
        return self.status(container) not in OFF

    def status(self, container: str) -> str:
        """The engine's own word (``running``, ``exited``); empty when there is no such container."""
        try:
            return self.run("inspect", "--type", "container", "--format", "{{.State.Status}}", container).strip()
        except EngineFailed as failed:
            if "no such container" in failed.stderr.lower():
                return ""
            raise


def find_engine() -> Engine:
    """The engine of this machine; ``DR_ENGINE`` (podman or docker) overrules.

    EngineMissing when there is none.
    """
    wanted = os.environ.get("DR_ENGINE", "")
    if wanted and wanted not in {kind.value for kind in Kind}:
        raise BadInput(
            f"DR_ENGINE is {wanted!r}, which is no container engine.", "Set it to podman or docker."
        )
    for kind in Kind:
        program = shutil.which(kind.value)
        if (
            program
            and wanted in ("", kind.value)
            and (wanted or kind is Kind.PODMAN or _docker_answers(program))
        ):
            return Engine(kind, (*_elevation(kind), program))
    raise EngineMissing(f"{wanted or 'Neither podman nor docker'} is not installed or does not answer here.")


def _elevation(kind: Kind) -> tuple[str, ...]:
    """``sudo -n`` when allowed: only rootful containers have addresses that the machine can reach."""
    if os.geteuid() == 0 or kind is Kind.DOCKER or not may_sudo():
        return ()
    return ("sudo", "-n")


def may_sudo() -> bool:
    """Whether sudo works here without asking for a password."""
    sudo = shutil.which("sudo")
    return (
        bool(sudo)
        and subprocess.run([str(sudo), "-n", "true"], capture_output=True, check=False).returncode == 0
    )


def _docker_answers(program: str) -> bool:
    try:
        return subprocess.run([program, "info"], capture_output=True, timeout=10, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False
