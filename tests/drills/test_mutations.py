"""Damage to an estate beside its rows, one kind after another on one lab: the command that must tell each does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from inventories.catalog.load import load_tables
from inventories.errors import TimedOut
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from tests.drills import estate as seen
from tests.drills.doors import Ended, dr
from tests.mutations.estate_kinds import KINDS, EstateKind

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.long, pytest.mark.timeout(900)]
DATABASE = "quant_research"
KEPT = "/root/mutations.kept"
# Two other labs that were deployed on the same two cores kept every login out for more than a minute.
CALM_S = 240


@dataclass(frozen=True)
class Ground:
    """The lab, a baseline of it, and one that claims to be of another."""

    estate: Estate
    kept: Path
    forged: Path

    def host(self, role: str) -> Host:
        if role == "backup":
            return self.estate.backup
        return self.estate.host(seen.roles(self.estate)[0 if role == "primary" else 1])

    def keep(self) -> None:
        """A baseline of what is there now."""
        ended = dr("validate", "--store", "postgresql", "--save-baseline", "--baseline", str(self.kept))
        assert ended.code == 0, said(ended)

    def tells(self, kind: EstateKind) -> Ended:
        command = kind.command.replace("@KEPT@", str(self.kept)).replace("@FORGED@", str(self.forged))
        return dr(*command.split())


@pytest.fixture(scope="module")
def ground(estate_lab: Estate, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """An estate whose tables hold rows of a feed and nothing else, and that has a full backup."""
    made, folder = seen.make_whole(estate_lab), tmp_path_factory.mktemp("mutations")
    primary = made.host(seen.roles(made)[0])
    primary.execute(f"TRUNCATE {', '.join(t for t in _tables())} CASCADE", DATABASE)
    with seen.load(made, folder, 1000):
        time.sleep(5)
    ground = Ground(made, folder / "kept.json", folder / "forged.json")
    ground.keep()
    said = json.loads(ground.kept.read_text(encoding="utf-8"))
    said["moment"]["system"] = "1"
    ground.forged.write_text(json.dumps(said), encoding="utf-8")
    assert dr("backup.run", "--type", "incr").code == 0
    return ground


def said(ended: Ended) -> str:
    return f"{ended.out}\n{ended.err}"


def _tables() -> list[str]:
    return [table.name for table in load_tables().tables.values() if table.store.value == "postgresql"]


@contextmanager
def damaged(host: Host, kind: EstateKind) -> Iterator[None]:
    found = " ".join(host.run("sh -c %s", kind.find).text.split()) if kind.find else ""
    if found:
        host.run("sh -c %s", f"rm -rf {KEPT} && mkdir {KEPT} && cp -a --parents {found} {KEPT}")
    try:
        if kind.sql:
            host.execute(kind.sql, DATABASE)
        if kind.shell:
            host.run("sh -c %s", kind.shell.replace("@FOUND@", found))
        yield
    finally:
        if found:
            host.run("cp -a %s/. /", KEPT)
        if kind.undo_sql:
            host.execute(kind.undo_sql, DATABASE)


def until_said(ground: Ground, kind: EstateKind, what: str, accept: Callable[[Ended], bool]) -> Ended:
    """Where the machine is busy a look may not know about every host; it says so, and the next one does."""
    seen: list[Ended] = []

    def look() -> Ended:
        seen.append(ground.tells(kind))
        return seen[-1]

    try:
        return until(look, CALM_S, what=what, accept=accept, every=5)
    except TimedOut:
        pytest.fail(f"{kind.command}, {len(seen)} times, and no {what}; the last one said:\n{said(seen[-1])}")


class TestDamage:
    """Each is told, with exit code and words, and the command is content again afterwards."""

    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
    def test_the_command_tells_it(self, ground: Ground, kind: EstateKind) -> None:
        with damaged(ground.host(kind.host), kind):
            ended = until_said(ground, kind, kind.words, lambda now: kind.words in said(now))
        assert "Traceback" not in said(ended)
        assert ended.code == kind.code, said(ended)
        if "@KEPT@" in kind.command:
            ground.keep()  # rows that came back are later ones to it
        if "@FORGED@" not in kind.command:
            until_said(ground, kind, "sound estate again", lambda now: now.code == 0)

    def test_the_estate_is_whole_afterwards(self, ground: Ground) -> None:
        seen.assert_whole(ground.estate)
