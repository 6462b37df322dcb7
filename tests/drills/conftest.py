"""One deployed lab for everything that needs the whole estate.

DR_TEST_LAB names it: a lab of that name that runs already is used as it is; DR_TEST_KEEP=1 leaves it running for the
next time. Without a name it is t-main, made from nothing: what a killed run left of it may be damaged. A test that
damages it repairs it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from drills.prepare import provision
from lab.down import down
from lab.up import up
from runbooks import hosts
from runbooks.backups.offsite import REST
from runbooks.hosts import Estate


def _quiet(_: str) -> None:
    """Nobody watches."""


MAKING_S = 600  # of which a busy machine took 300 to deploy a lab


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test of the lab has the time that its making takes besides its own."""
    first = next((item for item in items if "estate_lab" in getattr(item, "fixturenames", ())), None)
    own = first.get_closest_marker("timeout") if first else None
    if first is not None and own is not None:
        first.add_marker(pytest.mark.timeout(own.args[0] + MAKING_S), append=False)


@pytest.fixture(scope="session")
def estate_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    """The estate of a lab that is up and deployed; DR_LAB and DR_INVENTORY point to it for what a test starts."""
    given = os.environ.get("DR_TEST_LAB")
    name = given or "t-main"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DR_LAB", name)
        patch.setenv("DR_INVENTORY", "lab")
        if "DR_RUNS" not in os.environ:
            patch.setenv("DR_RUNS", str(tmp_path_factory.mktemp("runs")))
        try:
            if not given and os.environ.get("DR_TEST_KEEP") != "1":
                down(name, _quiet)
            up(name, _quiet)
            provision(hosts.load("lab"), _quiet)
            yield hosts.load("lab")
        finally:
            if os.environ.get("DR_TEST_KEEP") != "1":
                down(name, _quiet)


@pytest.fixture
def append_only(estate_lab: Estate) -> Iterator[Estate]:
    """The off-site host runs restic's server; afterwards it is as it was."""
    before = str(estate_lab.data["offsite_kind"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DR_OFFSITE_KIND", REST)
        try:
            provision(hosts.load("lab"), _quiet)
            yield hosts.load("lab")
        finally:
            patch.setenv("DR_OFFSITE_KIND", before)
            provision(hosts.load("lab"), _quiet)
