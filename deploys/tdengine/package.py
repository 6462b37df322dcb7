"""The TDengine package that the operator names: checked, and laid out in one way whatever its form.

Vendor server tarball (`install.sh` inside), `.deb`, or a plain relocatable tarball (`bin/ lib/`): each becomes a tar
archive with `bin/` and `lib/`, which needs no installer and can lie beside another version. Nobody's installation
script is run.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import struct
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from inventories.errors import BadInput

LAYOUT = 2  # of the archive; another one is made anew
SETTING = "TDENGINE_PACKAGE"
SERVER, CLIENT = "bin/taosd", "lib/libtaos.so"
_PROGRAMS = ("taosd", "taos", "taosdump", "taosudf", "udfd", "taosadapter", "taosBackup", "taosBenchmark")
_GNU_STACK = 0x6474E551
_MACHINES = {62: "x86_64", 183: "aarch64"}


@dataclass(frozen=True)
class Package:
    """A checked package. `archive` holds bin/ and lib/; `digest` is the SHA-256 of what the operator named."""

    archive: Path
    digest: str
    machine: str
    adapter: bool

    @property
    def key(self) -> str:
        """The folder that it is unpacked to: another package never lands in the same one."""
        return f"{self.digest[:12]}-{LAYOUT}"


def named(data: Mapping[str, object]) -> tuple[str, str]:
    """Path or URL and SHA-256, from group data or the environment; both empty when no package is named."""
    where = str(data.get("tdengine_package") or os.environ.get(SETTING) or "")
    digest = str(data.get("tdengine_package_sha256") or os.environ.get(f"{SETTING}_SHA256") or "")
    return where, digest.lower()


def cache(pki_dir: str) -> Path:
    """Where packages lie on the operator's machine, beside the estate's certificates."""
    return Path(pki_dir).expanduser().parent / "tdengine"


def fetch(where: str, digest: str, cache: Path) -> Package:
    """The package, laid out under `cache`. Raises BadInput naming file and value: not there, wrong sum, no package."""
    file = _download(where, cache) if "://" in where else Path(where).expanduser()
    if not file.is_file():
        raise BadInput(f"there is no TDengine package {where}", f"{SETTING} or tdengine_package names a path or a URL")
    wanted = digest or _beside(file)
    found = _sha256(file)
    if found != wanted:
        raise BadInput(
            f"{where} has SHA-256 {found}, not {wanted}", "fetch it again, or correct tdengine_package_sha256"
        )
    archive = cache / f"tdengine-{found[:12]}-{LAYOUT}.tar"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = archive.with_suffix(f".{os.getpid()}")
        _lay_out(file, partial)
        partial.replace(archive)
    with tarfile.open(archive) as laid_out:
        names = set(laid_out.getnames())
        head = laid_out.extractfile(SERVER)
        assert head is not None
        machine = _machine(where, head.read(20))
    return Package(archive, found, machine, "bin/taosadapter" in names)


def _beside(file: Path) -> str:
    """The sum in FILE.sha256, as sha256sum writes it."""
    sums = file.with_name(f"{file.name}.sha256")
    found = re.match(r"[0-9a-fA-F]{64}\b", sums.read_text()) if sums.is_file() else None
    if found is None:
        raise BadInput(
            f"nothing says which SHA-256 {file} should have",
            f"set tdengine_package_sha256 or {SETTING}_SHA256, or put the sum into {sums.name} beside it",
        )
    return found[0].lower()


def _sha256(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _download(url: str, cache: Path) -> Path:
    if not url.startswith(("https://", "http://", "file://")):
        raise BadInput(f"{url} is no URL of a package", "https:// or a path")
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = cache / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{url.rsplit('/', 1)[-1]}"
    if not target.exists():
        partial = target.with_suffix(".partial")
        try:
            with urllib.request.urlopen(url, timeout=30) as answer, partial.open("wb") as out:  # noqa: S310 - checked above
                while block := answer.read(1 << 20):
                    out.write(block)
        except (urllib.error.URLError, OSError) as error:
            raise BadInput(f"{url} cannot be fetched: {error}", "give a path to the package instead") from error
        partial.replace(target)
    return target


def _lay_out(file: Path, target: Path) -> None:
    """Programs to bin/, libraries to lib/, links kept; nothing else."""
    with tarfile.open(target, "w") as out:
        seen = set(_copied(file, out))
    for needed in (SERVER, CLIENT):
        if needed not in seen:
            target.unlink()
            raise BadInput(
                f"{file} has no {needed}: it is no server package of TDengine",
                "the vendor's server tarball, its .deb, or a tarball with bin/ and lib/",
            )


def _copied(file: Path, out: tarfile.TarFile) -> Iterator[str]:
    try:
        for source in _archives(file):
            with source:
                for member in source:
                    name = _place(member.name)
                    if name and (member.isreg() or member.issym()) and name not in out.getnames():
                        yield from _added(source, member, name, out)
    except (tarfile.TarError, OSError, EOFError, subprocess.CalledProcessError) as error:
        raise BadInput(f"{file} cannot be unpacked: {error}", "fetch it again and compare its sum") from error


def _added(source: tarfile.TarFile, member: tarfile.TarInfo, name: str, out: tarfile.TarFile) -> Iterator[str]:
    """One of its files, and the link by which programs find a library, which the vendor's installer makes."""
    if member.issym() and "/" in member.linkname:
        member.linkname = member.linkname.rsplit("/", 1)[-1]
    member.name, member.uid, member.gid, member.uname, member.gname = name, 0, 0, "root", "root"
    content = source.extractfile(member) if member.isreg() else None
    out.addfile(member, io.BytesIO(without_executable_stack(content.read())) if content else None)
    yield name
    base, _, version = name.partition(".so.")
    if version and f"{base}.so" not in out.getnames():
        link = tarfile.TarInfo(f"{base}.so")
        link.type, link.linkname = tarfile.SYMTYPE, name.rsplit("/", 1)[-1]
        out.addfile(link)
        yield f"{base}.so"


def without_executable_stack(program: bytes) -> bytes:
    """The same ELF file without the wish for an executable stack, which one assembler file gives the whole library.

    No code of it needs that, and a C library from 2.41 on refuses to load such a library into a running program.
    """
    if program[:6] != b"\x7fELF\x02\x01" or len(program) < 64:
        return program
    changed = bytearray(program)
    offset, size, count = *struct.unpack_from("<Q", program, 32), *struct.unpack_from("<HH", program, 54)
    if size < 8 or offset + size * count > len(program):
        return program  # no table that could be read; whether it is a program is asked elsewhere
    for at in range(offset, offset + size * count, size):
        kind, flags = struct.unpack_from("<II", program, at)
        if kind == _GNU_STACK:
            struct.pack_into("<I", changed, at + 4, flags & ~1)
    return bytes(changed)


def _place(name: str) -> str | None:
    base = name.rsplit("/", 1)[-1]
    if base in _PROGRAMS:
        return f"bin/{base}"
    if re.fullmatch(r"lib(taos|taosnative|taosws)\.so(\.[0-9][0-9a-z.]*)?", base):
        return f"lib/{base}"
    return None


def _archives(file: Path) -> Iterator[tarfile.TarFile]:
    """Those that hold the programs: the file itself, or a .deb's data; of a vendor's tarball the inner one, and the
    outer one too, in which newer ones keep the libraries.
    """
    if file.name.endswith(".deb"):
        yield _deb(file)
        return
    outer = tarfile.open(file)  # noqa: SIM115 - the caller closes it
    if any(name.endswith("install.sh") for name in outer.getnames()):
        inner = next((name for name in outer.getnames() if name.endswith("package.tar.gz")), None)
        content = outer.extractfile(inner) if inner else None
        if content is None:
            raise tarfile.ReadError("it has an install.sh, but no package.tar.gz beside it")
        yield tarfile.open(fileobj=content)  # noqa: SIM115
    yield outer


def _deb(file: Path) -> tarfile.TarFile:
    """The data archive of a Debian package, which is an `ar` archive."""
    with file.open("rb") as source:
        if source.read(8) != b"!<arch>\n":
            raise tarfile.ReadError("it is no Debian package")
        while header := source.read(60):
            name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
            if name.startswith("data.tar"):
                return tarfile.open(fileobj=_unpacked(name, source, size))
            source.seek(size + size % 2, 1)
    raise tarfile.ReadError("it has no data archive")


def _unpacked(name: str, source: IO[bytes], size: int) -> IO[bytes]:
    content = source.read(size)
    if name.endswith(".zst"):  # tarfile reads it from Python 3.14 on
        content = subprocess.run(["zstd", "-dc"], input=content, capture_output=True, check=True).stdout
    return io.BytesIO(content)


def _machine(where: str, head: bytes) -> str:
    if head[:4] != b"\x7fELF":
        raise BadInput(f"{where}: {SERVER} is no program for Linux", "take the Linux server package")
    number = struct.unpack("<H", head[18:20])[0]
    if number not in _MACHINES:
        raise BadInput(f"{where} is for an unknown machine ({number})", "take the x64 or arm64 package")
    return _MACHINES[number]
