"""Where PostgreSQL and TimescaleDB come from: the distribution, or the projects' own repositories."""

from __future__ import annotations

import io

from pyinfra import host
from pyinfra.api import DeployError
from pyinfra.facts.files import File
from pyinfra.facts.server import LinuxDistribution
from pyinfra.operations import files, server

from deploys.operations import packages

SOURCES = ("distribution", "pgdg")
TIMESCALEDB = "https://packagecloud.io/timescale/timescaledb"
KEY = "/usr/share/keyrings/timescaledb.asc"
# Debian 13 is the first release whose own archive carries PostgreSQL 17 and TimescaleDB.
DISTRIBUTION_HAS = {("debian", 13): 17}


def deploy() -> None:
    """Add the PostgreSQL and TimescaleDB projects' repositories where `package_source` is "pgdg"."""
    source = host.data.get("package_source")
    if source not in SOURCES:
        raise DeployError(f"package_source is {source!r}; it must be one of {', '.join(SOURCES)}")
    release = host.get_fact(LinuxDistribution)
    identity, major = str(release["release_meta"].get("ID")), int(release["major"] or 0)
    version = host.data.get("postgres_version")
    if source == "distribution":
        if DISTRIBUTION_HAS.get((identity, major)) != version:
            raise DeployError(
                f"{host.name}: {identity} {major} does not carry PostgreSQL {version} with TimescaleDB; "
                'set package_source = "pgdg" in its group data'
            )
        return
    codename = str(release["release_meta"].get("VERSION_CODENAME"))
    packages(name="repository tools", names=["ca-certificates", "curl", "postgresql-common"])
    server.shell(
        name="PostgreSQL repository",
        # The distribution's own postgresql-common carries the project's key and this script.
        commands=["test -e /etc/apt/sources.list.d/pgdg.sources || /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y"],
        _if=lambda: not host.get_fact(File, path="/etc/apt/sources.list.d/pgdg.sources"),
    )
    files.download(name="TimescaleDB key", src=f"{TIMESCALEDB}/gpgkey", dest=KEY, mode="0644")
    files.put(
        name="TimescaleDB repository",
        src=io.StringIO(f"Types: deb\nURIs: {TIMESCALEDB}/{identity}/\nSuites: {codename}\nComponents: main\nSigned-By: {KEY}\n"),
        dest="/etc/apt/sources.list.d/timescaledb.sources",
        mode="0644",
    )


def timescaledb_package(version: int) -> str:
    """The Community edition has its own package name; which edition runs is probed, not assumed."""
    if host.data.get("package_source") == "distribution":
        return f"postgresql-{version}-timescaledb"
    return f"timescaledb-2-postgresql-{version}"
