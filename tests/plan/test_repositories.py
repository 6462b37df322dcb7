from __future__ import annotations

import pytest

from deploys.postgresql.repositories import SUPPORTED, Release, choose
from inventories.errors import BadInput

TRIXIE, BOOKWORM = Release("debian", 13, "trixie"), Release("debian", 12, "bookworm")
JAMMY, NOBLE = Release("ubuntu", 22, "jammy"), Release("ubuntu", 24, "noble")


def test_debian_13_has_it_all() -> None:
    chosen = choose("distribution", TRIXIE, 17)
    assert chosen.sources == ()
    assert chosen.timescaledb == "postgresql-17-timescaledb"


@pytest.mark.parametrize("release", [BOOKWORM, JAMMY, NOBLE], ids=str)
def test_older_releases_are_refused_with_the_setting_to_change(release: Release) -> None:
    with pytest.raises(BadInput, match=f"{release} does not carry PostgreSQL 17") as refused:
        choose("distribution", release, 17)
    assert 'package_source = "pgdg"' in refused.value.hint


def test_version_that_debian_13_lacks_is_refused() -> None:
    with pytest.raises(BadInput, match="PostgreSQL 16"):
        choose("distribution", TRIXIE, 16)


@pytest.mark.parametrize("release", [TRIXIE, BOOKWORM, JAMMY, NOBLE], ids=str)
def test_projects_own_repositories_serve_every_release(release: Release) -> None:
    chosen = choose("pgdg", release, 17)
    assert chosen.timescaledb == "timescaledb-2-postgresql-17"
    postgresql, timescaledb = chosen.sources
    assert f"Suites: {release.codename}-pgdg\n" in postgresql.text
    assert f"/{release.identity}/\nSuites: {release.codename}\n" in timescaledb.text
    for source in chosen.sources:
        assert f"Signed-By: /usr/share/keyrings/{source.name}.asc\n" in source.text
        assert source.key.startswith("https://")
        assert all("https://" in line for line in source.text.splitlines() if line.startswith("URIs"))


def test_other_distributions_are_refused_by_name() -> None:
    with pytest.raises(BadInput, match="fedora 42 is not supported") as refused:
        choose("pgdg", Release("fedora", 42, ""), 17)
    assert all(identity in refused.value.hint for identity, _ in SUPPORTED)


def test_misspelt_source_is_refused() -> None:
    with pytest.raises(BadInput, match="'pgdgg'"):
        choose("pgdgg", TRIXIE, 17)
