"""Imports run one way, only the wait primitive sleeps, only the doors print (see inventories/__init__.py)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from drills.evidence.imports import imports

ROOT = Path(__file__).resolve().parents[2]

# Who may import what of ours, what is further down included; the longest name that fits decides.
_HOSTS = (
    "runbooks.hosts", "runbooks.begun", "runbooks.knock", "runbooks.layout", "runbooks.agent", "runbooks.table_copy",
    "runbooks.tdengine", "runbooks.long_work", "runbooks.engine", "inventories",
)  # fmt: skip
_TDENGINE, _POSTGRESQL, _SQLITE = "agents.tdengine", "agents.postgresql", "agents.sqlite"
_RULES: dict[str, tuple[str, ...]] = {
    # Rooms of the hosts' own programs: what a store's room needs of another store is nothing.
    "agents.base": ("agents.base",),
    "agents.guard": ("agents.base", "agents.guard"),
    "agents.watch": ("agents.base", "agents.watch"),
    "agents.alarms": ("agents.base", "agents.alarms"),
    # Each program of theirs asks one store's room; what keeps them asks none.
    "agents.marks": ("agents.base", "agents.marks", "agents.writing", _SQLITE, _TDENGINE),
    "agents.marks.keep": ("agents.base",),
    "agents.validation": ("agents.base", "agents.validation"),
    "agents.validation.asked": ("agents.base", _TDENGINE),
    "agents.validation.questions": ("agents.base", "agents.validation.asked", _TDENGINE),
    "agents.validation.agreement": ("agents.base", "agents.validation.asked"),
    "agents.reconcile": ("agents.base", "agents.reconcile", "agents.writing", _POSTGRESQL),
    "agents.monitor": ("agents.base", "agents.jobs.proofs", "agents.monitor", "agents.writing.room"),
    "agents.offsite": ("agents.base", "agents.jobs", "agents.offsite", _POSTGRESQL, _TDENGINE),
    "agents.jobs": ("agents.base", "agents.jobs"),
    # The hourly alarm asks each store what would hold a promotion up.
    "agents.jobs.runner": ("agents.base", "agents.jobs", "agents.postgresql.promotion"),
    "agents.writing": ("agents.base", "agents.writing", _POSTGRESQL, _TDENGINE),
    "agents.client": ("agents.base", "agents.client", "agents.writing"),
    "agents.feed": ("agents.base", "agents.feed", "agents.writing"),
    "agents.feed.yardstick": ("agents.base", "agents.feed", "agents.writing", "agents.postgresql"),
    "agents.feed.client_rates": ("agents.base", "agents.client", "agents.feed", "agents.writing", "agents.postgresql"),
    _POSTGRESQL: ("agents.base", "agents.jobs", "agents.writing", _POSTGRESQL),
    _SQLITE: ("agents.base", "agents.jobs", "agents.writing", _SQLITE),
    _TDENGINE: ("agents.base", "agents.jobs", "agents.writing", _TDENGINE),
    # Writes as the trading system does; its feed for drills tells what the other feed tells.
    "agents.tracker": ("agents.base", "agents.client", "agents.tracker", "agents.writing"),
    "agents.tracker.feed": ("agents.base", "agents.feed", "agents.tracker", "agents.writing"),
    "agents.tracker.history": ("agents.base", _POSTGRESQL, "agents.tracker"),
    "agents": (),
    "inventories": ("inventories",),
    "inventories.lab": ("inventories", "lab"),
    "deploys": ("deploys", "inventories"),
    "lab": ("lab", "inventories"),
    "runbooks.engine": ("runbooks.engine", "inventories.errors", "inventories.catalog"),
    "runbooks.hosts": _HOSTS,
    "runbooks.agent": ("runbooks.hosts", "runbooks.long_work", "inventories"),
    "runbooks.long_work": ("runbooks.long_work", "runbooks.hosts", "runbooks.engine", "inventories"),
    # What a table and its copy are, and the statements about them: no host is asked here.
    "runbooks.table_copy": ("runbooks.table_copy", "inventories"),
    "runbooks.tdengine": ("runbooks.tdengine", "inventories"),
    "runbooks.probes": ("runbooks.probes", *_HOSTS),
    "runbooks.actions": ("runbooks.actions", "runbooks.table_copy", *_HOSTS),
    "runbooks.actions.provision": ("runbooks.actions", "deploys.run", *_HOSTS),
    "runbooks.procedures": (
        "runbooks.procedures", "runbooks.actions", "runbooks.probes", "runbooks.record", *_HOSTS,
    ),
    # What a recovery ends with is what ./dr validate asks.
    "runbooks.procedures.postgresql.validating": (
        "runbooks.procedures", "runbooks.probes", "runbooks.validation", *_HOSTS,
    ),
    # What every procedure keeps; of the hosts it asks who is primary.
    "runbooks.record": ("runbooks.record", "runbooks.probes", *_HOSTS),
    # Sees and decides; what it runs is the same runbook.
    "runbooks.watch": (
        "runbooks.watch", "runbooks.record", "runbooks.executing", "runbooks.files", "runbooks.procedures",
        "runbooks.probes", *_HOSTS,
    ),
    # One spool for the estate's hosts and for the operator's machine: it knows nobody either.
    "runbooks.monitoring": ("runbooks", "inventories", "agents.base.errors", "agents.monitor"),
    "drills.telling": ("drills", "runbooks", "inventories", "agents.monitor"),
    "runbooks.layout": (),
    "runbooks.knock": ("inventories.errors",),
    "runbooks.begun": (),
    "runbooks": ("runbooks", "inventories"),  # run, look, judge, ...: what the doors open, used by nothing above
    "drills": ("drills", "lab", "deploys.run", "runbooks", "inventories"),
    "doors": ("doors", "drills", "lab", "deploys.run", "runbooks", "inventories"),
    "tasks": ("doors",),
}
_CATALOGUE_USER = "runbooks.engine.budgets"
_OURS = {name.partition(".")[0] for name in _RULES} | {"tests"}

_MAY_SLEEP = ("runbooks.engine.wait", "agents", "lab")
_MAY_PRINT = ("doors", "agents")


def modules(root: Path) -> dict[str, Path]:
    """Dotted name and path of every module of ours; no package may be empty."""
    found = {}
    for package in sorted({name.partition(".")[0] for name in _RULES}):
        paths = [*root.glob(f"{package}.py"), *root.glob(f"{package}/**/*.py")]
        assert paths or package in ("doors", "tasks"), f"no modules in {package}/: the rules would hold of nothing"
        for path in paths:
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def rule(name: str) -> tuple[str, ...]:
    fitting = [package for package in _RULES if within(name, package)]
    assert fitting, f"{name} has no rule"
    return _RULES[max(fitting, key=len)]


def import_violations(root: Path) -> list[str]:
    return [
        f"{name} imports {target}"
        for name, path in modules(root).items()
        for target in imports(name, path)
        if target.partition(".")[0] in _OURS and not any(within(target, allowed) for allowed in rule(name))
    ]


def calls(path: Path) -> Iterator[str]:
    """Names of what is called, attributes as written (`time.sleep`), and names imported from modules."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def call_violations(root: Path, forbidden: str, allowed: tuple[str, ...]) -> list[str]:
    return [
        f"{name} uses {forbidden}"
        for name, path in modules(root).items()
        if forbidden in calls(path) and not any(within(name, package) for package in allowed)
    ]


def test_imports_run_one_way() -> None:
    assert import_violations(ROOT) == []


def test_the_engine_uses_the_catalogue_for_budgets_only() -> None:
    users = [
        name
        for name, path in modules(ROOT).items()
        if within(name, "runbooks.engine")
        and any(within(to, "inventories.catalog") for to in imports(name, path))
    ]
    assert users == [_CATALOGUE_USER]


def test_only_the_wait_primitive_sleeps() -> None:
    assert call_violations(ROOT, "time.sleep", _MAY_SLEEP) == []


def test_nothing_below_the_doors_prints() -> None:
    assert call_violations(ROOT, "print", _MAY_PRINT) == []


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A clean tree with one module in every package."""
    for package in _RULES:
        folder = tmp_path / package.replace(".", "/")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("runbooks/hosts/x.py", "import lab.network"),
        ("deploys/x.py", "from drills import faults"),
        ("agents/writing/x.py", "def f():\n    from inventories.errors import DrError"),
        ("agents/tdengine/x.py", "from agents.postgresql import store"),
        ("agents/jobs/x.py", "from agents.writing import outbox"),
        ("runbooks/engine/x.py", "from ..probes import postgresql"),
        ("runbooks/engine/x.py", "from inventories import lab"),
        ("runbooks/probes/x.py", "from runbooks.actions.postgresql import promote"),
        ("inventories/x.py", "import lab"),
        ("drills/x.py", "import doors"),
        ("lab/x.py", "from runbooks.engine.wait import until"),
        ("runbooks/procedures/__init__.py", "from ...drills import faults"),
    ],
)
def test_an_import_against_the_direction_is_caught(toy: Path, path: str, source: str) -> None:
    assert import_violations(toy) == []
    (toy / path).write_text(source)
    assert len(import_violations(toy)) == 1


@pytest.mark.parametrize("source", ["import time\ntime.sleep(1)", "from time import sleep", "f(time.sleep)"])
def test_a_bare_sleep_is_caught(toy: Path, source: str) -> None:
    (toy / "drills/x.py").write_text(source)
    assert call_violations(toy, "time.sleep", _MAY_SLEEP) == ["drills.x uses time.sleep"]


def test_a_print_is_caught(toy: Path) -> None:
    (toy / "drills/x.py").write_text("print('x')")
    assert call_violations(toy, "print", _MAY_PRINT) == ["drills.x uses print"]


def test_an_empty_package_is_caught(toy: Path) -> None:
    (toy / "lab/__init__.py").unlink()
    with pytest.raises(AssertionError, match="no modules in lab/"):
        modules(toy)
