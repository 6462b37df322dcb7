"""The Debian mirror that this machine's own apt uses; the lab's image comes from there and keeps it."""

import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from inventories.errors import BadInput

SUITE = "trixie"
_APT = Path("/etc/apt")
_CODENAMES = (
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
)
_PASSED_ON = re.compile(r"Acquire::(https?::|Check-Valid-Until |Check-Date |Retries )")


@dataclass(frozen=True)
class Source:
    """One apt source: its base address, suites and components."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]


@dataclass(frozen=True)
class Mirror:
    """Where the archive proper and its security updates are; security is empty when the machine has none."""

    main: str
    security: str = ""

    def lines(self) -> tuple[str, ...]:
        """The one-line sources of the lab's suite."""
        lines = [f"deb {self.main} {SUITE} main", f"deb {self.main} {SUITE}-updates main"]
        if self.security:
            lines.append(f"deb {self.security} {SUITE}-security main")
        return tuple(lines)


def parse_one_line(text: str) -> Iterator[Source]:
    """Read sources.list(5)'s one-line style; options in brackets are skipped over."""
    for line in text.splitlines():
        words = re.sub(r"\[[^]]*\]", " ", line.partition("#")[0]).split()
        if len(words) >= 4 and words[0] == "deb":
            yield Source(words[1].rstrip("/"), (words[2],), tuple(words[3:]))


def parse_deb822(text: str) -> Iterator[Source]:
    """Read the deb822 style: stanzas, continuation lines, comments and ``Enabled: no``."""
    for stanza in re.split(
        r"\n\s*\n", "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    ):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() not in (
            "no",
            "false",
            "0",
        ):
            for uri in fields.get("uris", "").split():
                suites, components = fields.get("suites", "").split(), fields.get("components", "").split()
                yield Source(uri.rstrip("/"), tuple(suites), tuple(components))


def read_sources(apt: Path = _APT) -> tuple[Source, ...]:
    """All sources of this machine, in apt's own order."""
    found: list[Source] = []
    for path in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]:
        if path.suffix == ".list" and path.is_file():
            found += parse_one_line(path.read_text(encoding="utf-8"))
        elif path.suffix == ".sources" and path.is_file():
            found += parse_deb822(path.read_text(encoding="utf-8"))
    return tuple(found)


def choose(sources: Iterable[Source]) -> Mirror:
    """Pick Debian's own archive out of the sources.

    A third party's archive may call its suite ``stable`` too, but has no ``-updates`` or ``-security``
    beside it; so the source that has them wins. Raise BadInput when none is left.
    """
    mains: list[tuple[bool, str]] = []
    security = ""
    listed = [source for source in sources if "main" in source.components]
    updated = {source.uri for source in listed for suite in source.suites if suite.endswith("-updates")}
    for source in listed:
        for suite in source.suites:
            base, _, part = suite.replace("/updates", "-security").partition("-")
            if base not in _CODENAMES:
                continue
            if part == "security":
                security = security or source.uri
            elif not part:
                mains.append((source.uri not in updated, source.uri))
    if not mains:
        raise BadInput(
            "The apt configuration of this machine names no Debian mirror.",
            "DR_LAB_BASE=image takes a public base image instead.",
        )
    return Mirror(resolve(min(mains, key=lambda pair: pair[0])[1]), resolve(security) if security else "")


def resolve(uri: str) -> str:
    """Follow a ``mirror+file:`` address, as cloud images have, to the first mirror in that list."""
    if not uri.startswith(("mirror+file:", "mirror:file:")):
        return uri
    path = Path("/" + uri.partition("file:")[2].lstrip("/"))
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as missing:
        raise BadInput(
            f"The mirror list {path} cannot be read: {missing.strerror}.", "Check /etc/apt."
        ) from missing
    for line in lines:
        if words := line.partition("#")[0].split():
            return words[0].rstrip("/")
    raise BadInput(f"The mirror list {path} is empty.", "Check /etc/apt.")


def find_mirror() -> Mirror:
    """The mirror of this machine; BadInput when it has none."""
    return choose(read_sources())


def apt_options() -> tuple[str, ...]:
    """The machine's own proxy, TLS and date settings of apt, for the apt that builds the image."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
    return tuple(
        line for line in dump.stdout.splitlines() if _PASSED_ON.match(line) and not line.endswith('"";')
    )
