"""What a proof rests on: the code and the catalogue that it ran with. What has changed since is told by its name.

Of the code: the runbooks that ran with all that they import, what runs on the hosts, and how those are provisioned.
What breaks, measures and draws is no part of it: production is recovered without.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from drills.evidence.imports import ROOT, closure, imports
from drills.evidence.statements import digest, does
from inventories.catalog.load import load_recovery, load_tables

_PACKAGES = frozenset({"runbooks", "inventories"})
_ON_HOSTS = ("agents", "deploys", "templates", "inventories/group_data")
_KINDS = (".py", ".j2")
RUN = "runbooks/run.py"
# The application's library, the load of drills, the watch (which runs the same runbook) and the pages.
_BESIDES = ("agents/client/*", "agents/feed/*", "agents/watch/*", "templates/watch/*", "deploys/watch.py",
            "templates/report/*")  # fmt: skip
# A store is a folder of its name in every layer; its templates have its programs' names.
_OF_STORE: Mapping[str, tuple[str, ...]] = {
    "postgresql": ("postgresql", "postgres", "pgbackrest"),
    "tdengine": ("tdengine",),
    "sqlite": ("sqlite",),
    "tracker": ("tracker",),
}
CHANGED_MEANWHILE = ""  # the digest of statements where the file was altered while the drill ran


class Basis(BaseModel):
    """`files`: path -> digests of its bytes and of its statements; `catalogue`: dotted name -> value or digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: Mapping[str, tuple[str, str]]
    catalogue: Mapping[str, str]

    @property
    def name(self) -> str:
        """The digest under which it is kept."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:32]


class Here:
    """What the files of this repository are now; each is read once, and parsed only where its bytes have changed."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self._bytes: dict[str, str | None] = {}
        self._statements: dict[str, str] = {}
        self._catalogue: Mapping[str, str] | None = None

    def bytes_of(self, name: str) -> str | None:
        """None where there is no such file."""
        if name not in self._bytes:
            path = self.root / name
            self._bytes[name] = digest(path.read_bytes()) if path.is_file() else None
        return self._bytes[name]

    def statements_of(self, name: str) -> str:
        if name not in self._statements:
            self._statements[name] = digest(does(self.root / name))
        return self._statements[name]

    @property
    def catalogue(self) -> Mapping[str, str]:
        if self._catalogue is None:
            self._catalogue = dict(_catalogue())
        return self._catalogue


def before(root: Path = ROOT) -> Mapping[str, str]:
    """Path -> digest of all code as it lies now: a drill asks before it begins, since files may change meanwhile."""
    there = (path for layer in ("agents", "deploys", "inventories", "runbooks", "templates")
             for path in (root / layer).rglob("*") if path.suffix in _KINDS)  # fmt: skip
    return {path.relative_to(root).as_posix(): digest(path.read_bytes()) for path in there}


def take(procedures: Collection[str], promise: str, stores: Collection[str], began: Mapping[str, str]) -> Basis:
    """Of a drill that ran these runbooks on these stores; `began` is what `before` told."""
    here = Here()
    ran = _modules(procedures)
    read = closure((*ran, *_runner(here.root)), _PACKAGES, here.root)
    paths = {path.relative_to(here.root).as_posix() for path in read}
    names = sorted(_of_stores({RUN, *paths, *_on_hosts(here.root)}, {*stores, *_restored_by(ran)}))
    return Basis(
        files={name: _digests(name, began, here) for name in names},
        catalogue={name: value for name, value in here.catalogue.items() if _concerns(name, promise, stores)},
    )


def load(path: Path, name: str) -> Basis | None:
    """The one that is kept under that name; None where it is gone, or is another."""
    try:
        found = Basis.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if found.name == name else None


def changes(basis: Basis, here: Here) -> tuple[str, ...]:
    """What is not as it was, by name: `runbooks/.../failover.py changed`, `recovery.yaml budgets.fence was 3, is 6`."""
    return (*_changed_files(basis, here), *_changed_catalogue(basis, here.catalogue))


def _changed_files(basis: Basis, here: Here) -> Iterator[str]:
    for name, (content, statements) in basis.files.items():
        now = here.bytes_of(name)
        if now is None:
            yield f"{name} is gone"
        elif now != content and (statements == CHANGED_MEANWHILE or here.statements_of(name) != statements):
            yield f"{name} changed"


def _changed_catalogue(basis: Basis, now: Mapping[str, str]) -> Iterator[str]:
    for name, value in basis.catalogue.items():
        if name not in now:
            yield f"{name} is gone"
        elif now[name] != value:
            yield f"{name} changed" if name.startswith("tables.yaml") else f"{name} was {value}, is {now[name]}"


def _digests(name: str, began: Mapping[str, str], here: Here) -> tuple[str, str]:
    now, then = here.bytes_of(name) or "", began.get(name, "")
    return then, here.statements_of(name) if now == then else CHANGED_MEANWHILE


def _modules(procedures: Collection[str]) -> list[str]:
    """Where these are written. Asked here alone: whoever judges a proof needs none of the runbooks."""
    from runbooks.run import PROCEDURES

    known = (PROCEDURES[name].procedure for name in procedures if name in PROCEDURES)
    return sorted({str(procedure.initial.__module__) for procedure in known})


def _runner(root: Path) -> list[str]:
    """What runs any of them, which knows them all: without those that it knows."""
    module = RUN.removesuffix(".py").replace("/", ".")
    return [name for name in imports(module, root / RUN) if not name.startswith("runbooks.procedures.")]


def _on_hosts(root: Path) -> Iterator[str]:
    for layer in _ON_HOSTS:
        for path in (root / layer).rglob("*"):
            name = path.relative_to(root).as_posix()
            if path.suffix in _KINDS and not any(fnmatch(name, pattern) for pattern in _BESIDES):
                yield name


def _restored_by(modules: Collection[str]) -> Iterator[str]:
    """Stores in whose rooms these runbooks lie: no feed writes to SQLite, so no drill names it as its store."""
    rooms = {room for name in modules for room in name.split(".")}
    return (store for store, words in _OF_STORE.items() if rooms.intersection(words))


def _of_stores(names: Collection[str], stores: Collection[str]) -> Iterator[str]:
    """Without the rooms of stores that were not drilled."""
    others = {word for store, words in _OF_STORE.items() if store not in stores for word in words}
    return (name for name in names if not others.intersection(name.split("/")))


def _concerns(name: str, promise: str, stores: Collection[str]) -> bool:
    file, dotted = name.split(" ", 1)
    if file == "tables.yaml":
        return dotted.partition(".")[0] in stores
    wanted = (f"scenarios.{promise}", "budgets", "limits", *(f"stores.{store}" for store in stores))
    return any(dotted == one or dotted.startswith(one + ".") for one in wanted)


def _catalogue() -> Iterator[tuple[str, str]]:
    """Every scalar of recovery.yaml by its dotted name, and a digest of each table."""
    for name, value in _flat("", load_recovery().model_dump(mode="json")):
        yield f"recovery.yaml {name}", value
    for table in load_tables().tables.values():
        yield f"tables.yaml {table.store.value}.{table.name}", digest(table.model_dump_json())


def _flat(at: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{at}.{name}" if at else name, inner)
    elif value is not None:
        yield at, str(value)
