"""The lab's image: a bare Debian host with systemd and sshd, named by the hash of its recipe."""

import hashlib
import os
import shlex
import subprocess
import tempfile
from enum import Enum
from pathlib import Path

from inventories.errors import BadInput, TargetFailed, TimedOut
from lab import machine, mirror
from lab.engine import Engine, Kind
from lab.machine import Say

REPOSITORY = "mystocks-dr-lab"
PUBLIC_BASE = "docker.io/library/debian:trixie-slim"
PACKAGES = (
    *(
        "systemd",
        "systemd-sysv",
        "dbus",
        "openssh-server",
        "sudo",
        "cron",
        "acl",
        "python3",
        "ca-certificates",
    ),
    *("iproute2", "iputils-ping", "procps", "less"),
)
# Fetched, not installed: a deploy really installs them, yet fast and without a network.
PREFETCH = (
    *("postgresql-17", "postgresql-17-timescaledb", "postgresql-common", "pgbackrest", "restic"),
    *("python3-psycopg2", "python3-numpy", "python3-cryptography", "chrony", "sqlite3", "zstd"),
)
_RECIPE = Path(__file__).parent / "recipe"
_BUILD_BUDGET_S = 1200.0


class Base(Enum):
    """Where the image's base comes from."""

    MMDEBSTRAP = "mmdebstrap"
    IMAGE = "image"


def ensure_image(engine: Engine, say: Say) -> str:
    """The tag of the image, which is built first unless it is there.

    Errors: BadInput, EngineFailed, TargetFailed.
    """
    base = choose_base()
    source = mirror.find_mirror() if base is Base.MMDEBSTRAP else None
    tag = f"{REPOSITORY}:{recipe_hash(base, source)}"
    if not engine.run("images", "--quiet", tag).strip():
        _build(engine, tag, source, say)
    return tag


def build_anew(engine: Engine, say: Say) -> None:
    """Build the image although it may be there, under a tag of its own that is removed again: for the benchmark."""
    tag = f"{REPOSITORY}:bench"
    _build(engine, tag, mirror.find_mirror() if choose_base() is Base.MMDEBSTRAP else None, say)
    engine.run("rmi", tag)


def _build(engine: Engine, tag: str, source: mirror.Mirror | None, say: Say) -> None:
    if source:
        _build_from_mirror(engine, tag, source, say)
    else:
        _build_from_public_base(engine, tag, say)


def choose_base() -> Base:
    """``DR_LAB_BASE``, else mmdebstrap on a Debian machine and a public image on any other."""
    wanted = os.environ.get("DR_LAB_BASE", "")
    if wanted:
        try:
            return Base(wanted)
        except ValueError:
            raise BadInput(
                f"DR_LAB_BASE is {wanted!r}.", "Set it to mmdebstrap or image, or leave it out."
            ) from None
    release = Path("/etc/os-release")
    debian = release.exists() and "ID=debian" in release.read_text(encoding="utf-8").splitlines()
    return Base.MMDEBSTRAP if debian else Base.IMAGE


def recipe_hash(base: Base, source: mirror.Mirror | None) -> str:
    """Twelve hex digits over all that decides what is in the image, its mirror included."""
    digest = hashlib.sha256(repr((base.value, source, PACKAGES, PREFETCH)).encode())
    for path in sorted(_RECIPE.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def mmdebstrap_argv(source: mirror.Mirror, tarball: Path) -> list[str]:
    """The command that makes the base from the machine's own mirror and customises it."""
    script = "/root/customise.sh"
    return [
        *("mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
        *("--skip=cleanup/apt/lists,cleanup/apt/cache", "--dpkgopt=force-unsafe-io"),
        *(f"--aptopt={option}" for option in ('Acquire::Languages "none"', *mirror.apt_options())),
        *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "info", "locale")),
        f"--customize-hook=copy-in {shlex.quote(str(_RECIPE / 'customise.sh'))} /root",
        f'--customize-hook=chroot "$1" sh {script} {shlex.join(PREFETCH)}',
        f'--customize-hook=rm "$1"{script}',
        *(mirror.SUITE, str(tarball), *source.lines()),
    ]


def _build_from_mirror(engine: Engine, tag: str, source: mirror.Mirror, say: Say) -> None:
    machine.ensure_programs({"mmdebstrap": "mmdebstrap"}, say)
    with tempfile.TemporaryDirectory(prefix="dr-image-", dir="/var/tmp") as scratch:
        tarball = Path(scratch) / "image.tar"
        say(f"Building the lab's image from {source.main} (once, about a minute)")
        _run([*engine.elevation, *mmdebstrap_argv(source, tarball)], scratch)
        say("Importing the lab's image")
        changes = ('CMD ["/sbin/init"]', "STOPSIGNAL SIGRTMIN+3")
        flags = [word for change in changes for word in ("--change", change)]
        engine.run("import", *flags, str(tarball), tag, timeout=_BUILD_BUDGET_S)


def _build_from_public_base(engine: Engine, tag: str, say: Say) -> None:
    say(f"Building the lab's image from {PUBLIC_BASE} (once, about two minutes)")
    values = {"BASE": PUBLIC_BASE, "PACKAGES": " ".join(PACKAGES), "PREFETCH": " ".join(PREFETCH)}
    arguments = [word for name, value in values.items() for word in ("--build-arg", f"{name}={value}")]
    # Only docker's own image format keeps a stop signal through podman's build.
    style = ("--format", "docker") if engine.kind is Kind.PODMAN else ()
    path = str(_RECIPE / "Containerfile")
    engine.run(
        "build", *style, *arguments, "--tag", tag, "--file", path, str(_RECIPE), timeout=_BUILD_BUDGET_S
    )


def _run(argv: list[str], cwd: str) -> None:
    try:
        done = subprocess.run(
            argv, cwd=cwd, capture_output=True, text=True, timeout=_BUILD_BUDGET_S, check=False
        )
    except subprocess.TimeoutExpired as late:
        raise TimedOut(
            f"mmdebstrap did not end within {_BUILD_BUDGET_S:g} s.", "Is the mirror slow?"
        ) from late
    if done.returncode != 0:
        lines = done.stderr.splitlines()
        said = next(
            (line for line in lines if line.startswith(("E:", "Err:"))), "\n".join(lines[-1:]) or "nothing"
        )
        raise TargetFailed(f"mmdebstrap failed: {said}", "Does apt-get update work on this machine?")
