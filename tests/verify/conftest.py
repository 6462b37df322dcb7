"""Which hosts the specifications look at. They only read; a role is what a host is now, never what the inventory says.

A test asks for its hosts by the name of its argument: `machine` (every host), `database` (every PostgreSQL host that
should run), `primary`, `standby`, `repository`, `pgbackrest` (repository and databases), `application`, `offsite`,
`fenced`, `watcher` (the watch's host), `tsdb` (every TDengine host), `ticker` (the application host, where there is a
TDengine), `trader` and `keeper` (application and backup host, where SQLite databases are protected).
It then runs once for each, with the host's name in its id. DR_INVENTORY and DR_LAB choose the estate,
DR_VERIFY_LIMIT (host names, comma separated) a part of it, DR_VERIFY_EXPECT (runbooks/expect.py) a state that is not
whole. A role that nobody has, though somebody should, is a failure and not an empty list.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache

import pytest
import testinfra

from inventories.errors import DrError
from runbooks import hosts
from runbooks.expect import Expected, from_environment
from runbooks.probes.postgresql import server
from runbooks.probes.sqlite import databases
from runbooks.probes.tdengine import servers
from tests.verify.subject import Seen, Subject


@cache
def seen() -> Seen:
    estate = hosts.load()
    expected = from_environment()
    limit = frozenset(filter(None, os.environ.get("DR_VERIFY_LIMIT", "").split(",")))
    for name in sorted(expected.named | limit):
        estate.host(name)
    has_tdengine = any(one.installed and one.ssh for one in servers.survey(estate))
    return Seen(estate, expected, {node.name: node for node in server.survey(estate)}, limit, has_tdengine)


def _everyone(s: Seen) -> Sequence[hosts.Host]:
    return s.estate.hosts


def _group(name: str) -> Callable[[Seen], Sequence[hosts.Host]]:
    return lambda s: s.estate.group(name)


ROLES: dict[str, Callable[[Seen], Sequence[hosts.Host]]] = {
    "machine": _everyone,
    "database": lambda s: s.databases,
    "primary": lambda s: s.primaries,
    "standby": lambda s: s.standbys,
    "delayed": lambda s: s.delayed,
    "repository": _group("backup"),
    "pgbackrest": lambda s: [*s.estate.group("backup"), *s.databases],
    "application": _group("app"),
    "offsite": lambda s: [host for host in s.estate.hosts if host.name in s.estate.groups.get("offsite", ())],
    "watcher": lambda s: [host for host in s.estate.hosts if host.name in s.estate.groups.get("watch", ())],
    "tsdb": lambda s: servers.hosts(s.estate) if s.has_tdengine else (),
    "ticker": lambda s: s.estate.group("app") if s.has_tdengine else (),
    "trader": lambda s: s.estate.group("app") if databases.names(s.estate) else (),
    "keeper": lambda s: s.estate.group("backup") if databases.names(s.estate) else (),
    "fenced": lambda s: [s.estate.host(name) for name in s.expected.fenced],
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "left_out(why): a role that has no host here on purpose")
    config.addinivalue_line("markers", "operators: takes what the operator's machine has and a watch's has not")
    config.addinivalue_line("markers", "offsite_kind(kind): only where the off-site host offers this")
    try:
        seen()
    except DrError as error:
        raise pytest.UsageError(error.render()) from error


def pytest_report_header() -> list[str]:
    s = seen()
    lines = [f"estate {s.estate.name}: {', '.join(host.name for host in s.estate.hosts)}"]
    lines += [f"left out: {name}, which is expected to be off" for name in s.expected.off]
    lines += [f"{name} is expected to be fenced" for name in s.expected.fenced]
    if s.expected.degraded:
        lines.append("expected: no standby, commits wait for nobody")
    if s.limit:
        lines.append(f"only: {', '.join(sorted(s.limit))}")
    return lines


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for role, members in ROLES.items():
        if role in metafunc.fixturenames:
            metafunc.parametrize(role, _parameters(role, members(seen())), indirect=True, scope="module")


def _parameters(role: str, members: Sequence[hosts.Host]) -> list[object]:
    s = seen()
    off = set(s.expected.off) | (set() if role == "fenced" else set(s.expected.fenced))
    there = [host for host in members if host.name not in off]
    wanted = [host for host in there if not s.limit or host.name in s.limit]
    if wanted:
        return [pytest.param(host, id=host.name) for host in wanted]
    if there:
        why = "DR_VERIFY_LIMIT names none of them"
    elif role == "standby" and s.expected.degraded:
        why = "no standby is expected"
    elif role == "fenced":
        why = "no host is expected to be fenced"
    elif role == "offsite" and not members:
        why = "the estate has no off-site host"
    elif role == "delayed" and not members:
        why = "the estate has no delayed standby"
    elif role == "watcher" and not members:
        why = "the estate has no watch"
    elif role in ("tsdb", "ticker") and not members:
        why = "no TDengine is deployed"
    elif role in ("trader", "keeper") and not members:
        why = "no SQLite database is protected here"
    elif members:
        why = f"expected to be off: {', '.join(host.name for host in members)}"
    else:
        return [pytest.param(None, id=f"no-{role}")]
    return [pytest.param(None, id=f"no-{role}", marks=pytest.mark.left_out(why))]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left = [item for item in items if _left_out(item)]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not _left_out(item)]


def _left_out(item: pytest.Item) -> bool:
    """What an estate is not meant to have is not skipped: a skip says that something was not looked at."""
    of = item.get_closest_marker("offsite_kind")
    other = of is not None and seen().estate.data.get("offsite_kind") not in of.args
    operators = item.get_closest_marker("operators") is not None and bool(seen().estate.data.get("watch_key"))
    return other or operators or item.get_closest_marker("left_out") is not None


def _subject(request: pytest.FixtureRequest) -> Subject:
    host: hosts.Host | None = request.param
    if host is None:
        pytest.fail(f"the estate has no {request.fixturename}: ./dr status shows what each host is", pytrace=False)
    sudo = host.entry.ssh_user != "root"
    # A machine of its own for each module: testinfra keeps what it once learned of a host.
    machine = testinfra.get_host(f"ssh://{host.name}?timeout=5", ssh_config=str(host.ssh_config), sudo=sudo)
    return Subject(host, machine, seen().nodes.get(host.name))


for _role in ROLES:
    globals()[_role] = pytest.fixture(name=_role, scope="module")(_subject)


@pytest.fixture(scope="session")
def whole() -> Seen:
    """The estate, for what concerns more than one host."""
    return seen()


@pytest.fixture(scope="session")
def expected(whole: Seen) -> Expected:
    return whole.expected
