"""Packages of every form become one layout; what is no package, or not the one that was named, is a sentence."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
from pathlib import Path

import pytest

from deploys.tdengine import package as tdengine_package
from deploys.tdengine.package import fetch, named, without_executable_stack
from inventories.errors import BadInput

STACK = 0x6474E551


def elf(machine: int = 62, stack_flags: int = 7) -> bytes:
    """The least of an ELF file: header and one program header, which asks for a stack."""
    header = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + struct.pack("<HHIQQQIHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1)
    return header.ljust(64, b"\0") + struct.pack("<II", STACK, stack_flags) + b"\0" * 48


def tarball(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as out:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            out.addfile(entry, io.BytesIO(content))
    return path


PLAIN = {
    **dict.fromkeys(("bin/taosd", "bin/taos", "lib/libtaos.so", "lib/libtaosnative.so"), elf()),
    "cfg/taos.cfg": b"",
}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        return sorted(archive.getnames())


def test_relocatable_tarball_keeps_programs_and_libraries(tmp_path: Path) -> None:
    file = tarball(tmp_path / "td.tar.gz", PLAIN)
    package = fetch(str(file), digest(file), tmp_path / "cache")
    assert contents(package.archive) == ["bin/taos", "bin/taosd", "lib/libtaos.so", "lib/libtaosnative.so"]
    assert (package.machine, package.adapter) == ("x86_64", False)


def test_vendor_tarball_gives_what_lies_in_its_inner_archive(tmp_path: Path) -> None:
    inner = tarball(
        tmp_path / "package.tar.gz",
        {"bin/taosd": elf(), "bin/taosadapter": elf(), "driver/libtaos.so.3.3.6.0": elf(), "install.sh": b"rm -rf /"},
    )
    outer = tarball(
        tmp_path / "TDengine-server.tar.gz",
        {"TDengine-server/install.sh": b"", "TDengine-server/package.tar.gz": inner.read_bytes()},
    )
    package = fetch(str(outer), digest(outer), tmp_path / "cache")
    assert contents(package.archive) == [
        "bin/taosadapter", "bin/taosd", "lib/libtaos.so", "lib/libtaos.so.3.3.6.0",
    ]  # fmt: skip
    assert package.adapter


def test_vendor_tarball_may_keep_its_libraries_beside_the_inner_archive(tmp_path: Path) -> None:
    """As the vendor's own packaging makes it by now, an unfinished version included."""
    inner = tarball(tmp_path / "package.tar.gz", {"bin/taosd": elf(), "cfg/taos.cfg": b""})
    library = "TDengine/driver/libtaos.so.3.3.7.5.alpha"
    outer = tarball(
        tmp_path / "TDengine.tar.gz",
        {"TDengine/install.sh": b"", "TDengine/package.tar.gz": inner.read_bytes(), library: elf()},
    )
    package = fetch(str(outer), digest(outer), tmp_path / "cache")
    assert contents(package.archive) == ["bin/taosd", "lib/libtaos.so", "lib/libtaos.so.3.3.7.5.alpha"]


def test_debian_package_is_read_without_running_its_scripts(tmp_path: Path) -> None:
    data = tarball(tmp_path / "data.tar.gz", {f"./usr/local/taos/{name}": text for name, text in PLAIN.items()})
    body = b"!<arch>\n"
    for name, content in (("debian-binary", b"2.0\n"), ("data.tar.gz", data.read_bytes())):
        body += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
        body += b"\n" * (len(content) % 2)
    file = tmp_path / "tdengine.deb"
    file.write_bytes(body)
    assert "bin/taosd" in contents(fetch(str(file), digest(file), tmp_path / "cache").archive)


def test_sum_beside_the_package_will_do(tmp_path: Path) -> None:
    file = tarball(tmp_path / "td.tar.gz", PLAIN)
    (tmp_path / "td.tar.gz.sha256").write_text(f"{digest(file)}  td.tar.gz\n")
    assert fetch(str(file), "", tmp_path / "cache").digest == digest(file)


@pytest.mark.parametrize(
    ("files", "sum_of", "words"),
    [
        (PLAIN, "0" * 64, "has SHA-256"),
        (PLAIN, "", "nothing says which SHA-256"),
        ({"README": b"x"}, None, "has no bin/taosd"),
        ({**PLAIN, "bin/taosd": b"#!/bin/sh"}, None, "is no program for Linux"),
        ({**PLAIN, "bin/taosd": elf(machine=40)}, None, "unknown machine (40)"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    tmp_path: Path, files: dict[str, bytes], sum_of: str | None, words: str
) -> None:
    file = tarball(tmp_path / "td.tar.gz", files)
    with pytest.raises(BadInput) as error:
        fetch(str(file), digest(file) if sum_of is None else sum_of, tmp_path / "cache")
    assert words in str(error.value)
    assert error.value.hint


def test_torn_package_and_missing_one_are_sentences(tmp_path: Path) -> None:
    file = tarball(tmp_path / "td.tar.gz", PLAIN)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(BadInput, match="cannot be unpacked"):
        fetch(str(file), digest(file), tmp_path / "cache")
    with pytest.raises(BadInput, match="there is no TDengine package"):
        fetch(str(tmp_path / "nowhere"), "", tmp_path / "cache")


def test_no_library_asks_for_an_executable_stack_any_more() -> None:
    """A C library from 2.41 on refuses to load one that does."""
    changed = without_executable_stack(elf(stack_flags=7))
    assert struct.unpack_from("<II", changed, 64) == (STACK, 6)
    for other in (b"no program", b"\x7fELF\x02\x01", b"\x7fELF\x02\x01".ljust(64, b"\0"), elf()[:100]):
        assert without_executable_stack(other) == other


def test_environment_names_the_package_where_group_data_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tdengine_package.SETTING, "/somewhere.tar.gz")
    monkeypatch.setenv("TDENGINE_PACKAGE_SHA256", "AB")
    assert named({"tdengine_package": "", "tdengine_package_sha256": ""}) == ("/somewhere.tar.gz", "ab")
    assert named({"tdengine_package": "/other.deb", "tdengine_package_sha256": "cd"}) == ("/other.deb", "cd")
