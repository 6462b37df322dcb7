"""Where PostgreSQL and TimescaleDB come from: the distribution, or the projects' own repositories."""

from __future__ import annotations

import io
from dataclasses import dataclass

from pyinfra import host
from pyinfra.facts.server import LinuxDistribution
from pyinfra.operations import apt, files

from deploys.postgresql.operations import packages
from inventories.errors import BadInput

KEYRINGS = "/usr/share/keyrings"
PGDG = "https://apt.postgresql.org/pub/repos/apt"
PGDG_KEY = "https://www.postgresql.org/media/keys/ACCC4CF8.asc"
TIMESCALEDB = "https://packagecloud.io/timescale/timescaledb"
# Debian 13 is the first release whose own archive carries PostgreSQL 17 and TimescaleDB.
DISTRIBUTION_HAS = {("debian", 13): 17}
# What the two projects' own repositories serve, and we have a reason to believe in.
SUPPORTED = (("debian", 12), ("debian", 13), ("ubuntu", 22), ("ubuntu", 24))


@dataclass(frozen=True)
class Release:
    """One host's distribution: its ID, major version and code name of os-release."""

    identity: str
    major: int
    codename: str

    def __str__(self) -> str:
        return f"{self.identity} {self.major}"


@dataclass(frozen=True)
class Source:
    """One apt source beside the distribution's own: where its key lies and the text of its file."""

    name: str
    key: str
    text: str


@dataclass(frozen=True)
class Packages:
    """What one host installs from: its sources, none where the distribution has it all, and TimescaleDB's package."""

    sources: tuple[Source, ...]
    timescaledb: str


def choose(source: str, release: Release, version: int) -> Packages:
    """Decide where packages come from. Raises BadInput when nobody serves that version for that release."""
    if source == "distribution":
        if DISTRIBUTION_HAS.get((release.identity, release.major)) != version:
            raise BadInput(
                f"{release} does not carry PostgreSQL {version} with TimescaleDB",
                'set package_source = "pgdg" in its group data',
            )
        return Packages((), f"postgresql-{version}-timescaledb")
    if source != "pgdg":
        raise BadInput(f"package_source is {source!r}", 'it is "distribution" or "pgdg"')
    if (release.identity, release.major) not in SUPPORTED:
        known = ", ".join(f"{identity} {major}" for identity, major in SUPPORTED)
        raise BadInput(f"{release} is not supported", f"use one of {known}")
    sources = (
        _source("postgresql", PGDG_KEY, PGDG, f"{release.codename}-pgdg"),
        _source("timescaledb", f"{TIMESCALEDB}/gpgkey", f"{TIMESCALEDB}/{release.identity}/", release.codename),
    )
    # The Community edition has its own package name; which edition runs is probed, not assumed.
    return Packages(sources, f"timescaledb-2-postgresql-{version}")


def _source(name: str, key: str, uri: str, suite: str) -> Source:
    signed = f"Signed-By: {KEYRINGS}/{name}.asc"
    return Source(name, key, f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n{signed}\n")


def deploy() -> str:
    """Add the sources that this host needs; return the name of the TimescaleDB package.

    Database and backup hosts call it alike: pgBackRest refuses to talk to another version of itself.
    """
    found = host.get_fact(LinuxDistribution)
    meta = found["release_meta"]
    release = Release(str(meta.get("ID")), int(found["major"] or 0), str(meta.get("VERSION_CODENAME")))
    try:
        chosen = choose(host.data.get("package_source"), release, host.data.get("postgres_version"))
    except BadInput as error:
        raise BadInput(f"{host.name}: {error}", error.hint) from error
    if chosen.sources:
        packages(name="repository tools", names=["ca-certificates", "curl"])
    for source in chosen.sources:
        _add(source)
    return chosen.timescaledb


def _add(source: Source) -> None:
    files.download(name=f"{source.name} key", src=source.key, dest=f"{KEYRINGS}/{source.name}.asc", mode="0644")
    written = files.put(
        name=f"{source.name} repository",
        src=io.StringIO(source.text),
        dest=f"/etc/apt/sources.list.d/{source.name}.sources",
        mode="0644",
    )
    # Without it the distribution's older package of the same name would be found first.
    apt.update(name=f"{source.name} package index", _if=written.did_change)
