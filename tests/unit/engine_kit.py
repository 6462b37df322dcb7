"""A tiny estate for the engine's tests: a file is the world, and a step's action adds its name to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from inventories.errors import Refused, VerificationFailed
from runbooks.engine.context import Context, Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Gate, Step

BUDGETS = {"quick": 5.0, "none": 0.0}
NAMES = ("assess", "fence", "promote")


@dataclass(frozen=True)
class World:
    """What the steps change; outlives a killed process."""

    path: Path
    name: str = "toy"
    closed: bool = False

    def add(self, word: str) -> None:
        with self.path.open("a") as file:
            file.write(word + "\n")

    @property
    def words(self) -> list[str]:
        return self.path.read_text().split() if self.path.exists() else []


class Trail(BaseModel):
    """The state: the steps passed so far."""

    model_config = ConfigDict(frozen=True)

    done: tuple[str, ...] = ()


@dataclass
class Bench:
    """One test's world, folders and ears."""

    world: World
    runs: Path
    heard: list[str] = field(default_factory=list)

    def context(self, run_dir: Path, options: Options | None = None, **more: Any) -> Context[World, Options]:
        return Context(self.world, options or Options(yes=True), run_dir, say=self.heard.append, **more)


def acts(name: str) -> Callable[[Context[Any, Any], Trail], Trail]:
    """An action that leaves its name in the world and in the state."""

    def action(context: Context[Any, Any], state: Trail) -> Trail:
        context.estate.add(name)
        return Trail(done=(*state.done, name))

    return action


def happened(name: str) -> Evidence[Trail]:
    """Evidence that the world holds the name."""

    def holds(context: Context[Any, Any], _state: Trail) -> None:
        if name not in context.estate.words:
            raise VerificationFailed(f"{name} did not happen")

    return Evidence(f"the world says {name}", holds)


def step(name: str, **changes: Any) -> Step[Trail]:
    """A step that works, with the given changes."""
    usual: dict[str, Any] = {
        "name": name,
        "role": "pg_primary",
        "says": f"Do {name}.",
        "action": acts(name),
        "evidence": happened(name),
        "budget": "quick",
        "commands": (f"do-it {name}",),
    }
    return Step(**{**usual, **changes})


def _check(context: Context[Any, Any]) -> None:
    if context.estate.closed:
        raise Refused("the world is closed", "open it")


def procedure(*steps: Step[Trail], **changes: Any) -> Procedure[Trail]:
    """Three steps behind one gate, or the given steps."""
    usual: dict[str, Any] = {
        "name": "toy-failover",
        "summary": "Move the toy",
        "purpose": "To test the engine. Refuses a closed world.",
        "gate": (Gate("open-world", "The world is open.", _check),),
        "steps": steps or tuple(step(name) for name in NAMES),
        "initial": lambda _context: Trail(),
    }
    return Procedure(**{**usual, **changes})
