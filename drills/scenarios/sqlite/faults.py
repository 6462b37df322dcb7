"""The trading database: a page is overwritten under load, its host is lost with its disk, its backups are deleted."""

from __future__ import annotations

import os
from typing import Any

from deploys.run import deploy
from drills.judging.result import Check
from drills.scenarios.common import RATE, check
from drills.scenarios.parts import Result, Scenario, Twin
from drills.scenarios.sqlite.trader import Trader
from drills.stage import Stage
from inventories.errors import VerificationFailed
from runbooks import hosts
from runbooks.engine.budgets import budget
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.probes.sqlite import databases
from runbooks.procedures.sqlite.restore import SQLITE_RESTORE, SqliteRestoreOptions
from runbooks.run import execute

OPTION, NAME = "DR_LAB_SQLITE", "trading"  # what the lab's inventory reads
TRADES = 40
PROTECTED = "every protected trade is there"
SAFETY, BEFORE = "what the wrong restore put aside", "snapshot before the trades"
_KEPT = "/var/lib/mystocks-dr/sqlite"


def _estate(stage: Stage) -> Estate:
    """As the inventory says now: its databases were turned on when the drill had begun."""
    return hosts.load(stage.estate.inventory)


def trader(stage: Stage) -> Trader:
    assert isinstance(stage.trader, Trader), "nobody trades"
    return stage.trader


def _trading(stage: Stage) -> None:
    """A protected database, and somebody who trades."""
    app, backup = stage.estate.app, stage.estate.backup
    before = os.environ.get(OPTION, "")
    if NAME not in before.split(","):
        stage.later("an estate without SQLite databases", lambda: _deployed(before, app, backup))
        _deployed(NAME, app, backup)
    stage.trader = Trader(app, stage.run_dir / "trades.txt")
    stage.later("nobody trades", trader(stage).stop)
    trader(stage).start()
    _snapshots(stage)
    trader(stage).more(TRADES)


def _deployed(names: str, *on: Host) -> None:
    os.environ[OPTION] = names
    deploy("lab", [host.name for host in on])


def _snapshots(stage: Stage) -> str:
    """The newest that was proven. Raises TimedOut."""
    kept = until(
        lambda: [one.label for one in databases.listed(stage.estate.app, NAME).snapshots if one.proven],
        budget("sqlite.protect"), what="a proven snapshot", every=1,
    )  # fmt: skip
    return kept[0]


def _path(stage: Stage) -> str:
    return databases.status(stage.estate.app, NAME).path


def _restored(stage: Stage, **said: object) -> Result:
    options = SqliteRestoreOptions.model_validate({"yes": True, "database": NAME, **said})
    result = stage.run(SQLITE_RESTORE, options, _estate(stage))
    stage.fact("restored", "; ".join(result.state.told[-1:]))
    return result


def _look(stage: Stage) -> None:
    """While somebody trades: in the end nobody does, and there may be no trading database any more."""
    trader(stage).more(1)
    found = databases.status(stage.estate.app, NAME)
    missing, told = trader(stage).missing(found.path)
    trader(stage).found = (
        check(PROTECTED, told > 0 and not missing, f"{missing:,} of {told:,} are missing"),
        check("the trading database is whole", found.whole, found.why or "every page and reference"),
    )


def _found(stage: Stage) -> tuple[Check, ...]:
    return trader(stage).found or (check(PROTECTED, False, "nobody looked: it was not restored"),)


# ---- sqlite-corruption


def _overwrite(stage: Stage) -> None:
    """A page that nobody has written since, so that no newer version of it is in the log."""
    app, path = stage.estate.app, _path(stage)
    page = int(app.run("sqlite3 -readonly %s %s", path, _ROOT, user="mystocks").text)
    app.run("dd if=/dev/urandom of=%s bs=4096 seek=%s count=1 conv=notrunc status=none", path, page - 1)
    stage.fact("overwritten", f"page {page} of {path}")


_ROOT = "SELECT rootpage FROM sqlite_master WHERE name = 'backup_metadata'"


def _seen(stage: Stage) -> str:
    """An operator who looks, or whoever opens the database. Raises TimedOut."""
    found = until(
        lambda: databases.status(stage.estate.app, NAME), budget("feed.start"), what="the damage to be seen",
        accept=lambda found: not found.whole,
    )  # fmt: skip
    return f"./dr sqlite-restore --status: {found.why}"


def _from_the_first(stage: Stage) -> Result:
    """The twin's: a snapshot of before the trades."""
    kept = databases.listed(stage.estate.app, NAME).snapshots
    return _restored(stage, backup=kept[-1].label)


# ---- sqlite-host-loss


def _lose(stage: Stage) -> None:
    app = stage.estate.app
    stage.later("an application host", lambda: _rescued(stage, app))
    stage.remove(app)


def _rescued(stage: Stage, app: Host) -> None:
    if not app.reachable():
        stage.replace_hosts()
        deploy("lab", [app.name])


def _silent(stage: Stage) -> str:
    """Raises TimedOut."""
    app = stage.estate.app
    until(lambda: not app.reachable(), budget("feed.start"), what=f"{app} to fall silent")
    return f"{app} does not answer"


def _replaced(stage: Stage) -> Result:
    """A blank host, as an operator would: deploy, then the runbook."""
    stage.replace_hosts()
    deploy("lab", [stage.estate.app.name])
    result = _restored(stage)
    trader(stage).go_on()
    stage.feed.go_on()
    return result


def _unasked(stage: Stage) -> None:
    """The twin's: somebody takes a commit for protected, while the backup host takes nothing."""
    _trading(stage)
    trader(stage).start(believes=True)
    backup = stage.estate.backup
    stage.later("the receiver", lambda: backup.run("systemctl start %s", databases.RECEIVER))
    backup.run("systemctl stop %s", databases.RECEIVER)
    trader(stage).more(TRADES)


def _replaced_late(stage: Stage) -> Result:
    stage.estate.backup.run("systemctl start %s", databases.RECEIVER)
    return _replaced(stage)


# ---- backup-deleted


def _delete(stage: Stage) -> None:
    """Trading stops, the first snapshot is restored in place of the newest, then every backup is deleted."""
    trader(stage).stand_still()
    first = databases.listed(stage.estate.app, NAME).snapshots[-1].label
    options = SqliteRestoreOptions(yes=True, database=NAME, backup=first)
    wrong = execute(SQLITE_RESTORE, _estate(stage), options, stage.say, runs=stage.run_dir / "mistake")
    if not wrong.state.safety:
        raise VerificationFailed(f"nothing was put aside by the wrong restore: {wrong.error}")
    stage.fact(SAFETY, wrong.state.safety)
    backup, folder = stage.estate.backup, f"{_KEPT}/{stage.estate.app}-{NAME}"
    backup.run("systemctl stop %s; rm -rf %s; systemctl start %s", databases.RECEIVER, folder, databases.RECEIVER)


def _gone(stage: Stage) -> str:
    """An operator who looks for trades that were there. Raises VerificationFailed."""
    missing, told = trader(stage).missing(_path(stage))
    if not missing:
        raise VerificationFailed(f"all of {told:,} trades are there, although an old snapshot was restored")
    return f"{missing:,} of {told:,} trades are gone, and so is every backup"


def _from_aside(stage: Stage) -> Result:
    return _and_trading(stage, f"{stage.told(SAFETY)}/{NAME}.db")


def _and_trading(stage: Stage, file: str) -> Result:
    result = _restored(stage, file=file)
    trader(stage).start()
    return result


def _from_a_copy_of_the_wrong_one(stage: Stage) -> Result:
    """The twin's: what is there now, restored over itself."""
    app, path = stage.estate.app, _path(stage)
    copy = f"{path}.copy"
    stage.later("the copy", lambda: app.run("rm -f %s", copy))
    app.run("sqlite3 %s %s", path, f".backup {copy}", user="mystocks")
    return _and_trading(stage, copy)


def _scenario(name: str, summary: str, **parts: Any) -> Scenario:
    return Scenario(
        name=name, summary=summary, prepare=_trading, rate=RATE, restore=_look, check=_found, new_timeline=False,
        **parts,
    )


SCENARIOS = (
    _scenario(
        "sqlite-corruption", "A page of the trading database is overwritten while somebody trades.",
        fault=_overwrite, detect=_seen, recover=_restored,
    ),
    _scenario(
        "sqlite-host-loss", "The application host is lost with its disk, and with it the trading database.",
        fault=_lose, detect=_silent, recover=_replaced, darkens=True,
    ),
    _scenario(
        "backup-deleted", "An old snapshot is restored by mistake, then every backup is deleted.",
        fault=_delete, detect=_gone, recover=_from_aside,
    ),
)  # fmt: skip

_MISSED = rf"1 check of the verification failed: {PROTECTED}\."


def _twin(name: str, says: str, scenario: str, **parts: Any) -> Twin:
    return Twin(name=name, says=says, reason=_MISSED, scenario=scenario, runbook_passes=True, **parts)


TWINS = (
    _twin(
        "old-snapshot", "The first snapshot is restored in place of the newest: the trades since must be missed.",
        "sqlite-corruption", recover=_from_the_first,
    ),
    _twin(
        "believed-commit", "A commit is taken for protected while nobody receives: the trades since must be missed.",
        "sqlite-host-loss", prepare=_unasked, recover=_replaced_late,
    ),
    _twin(
        "copied-mistake", "What the mistake left is copied and restored: the trades that it took must be missed.",
        "backup-deleted", recover=_from_a_copy_of_the_wrong_one,
    ),
)  # fmt: skip
