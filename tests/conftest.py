"""How the tests are shared by the processes of pytest-xdist."""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


class OneLab(LoadScopeScheduling):
    """What needs the lab stays in one process, in order; anything else goes file by file to whoever is free."""

    def _split_scope(self, nodeid: str) -> str:
        return "the lab" if nodeid.startswith("tests/drills/") else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneLab:
    return OneLab(config, log)
