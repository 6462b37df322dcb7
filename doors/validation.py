"""What holds a store against what it should be, as a task."""

from __future__ import annotations

import json as jsonlib
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from doors.support import INVENTORY_HELP, LAB_HELP, caller_path, door, progress
from doors.tdengine.restores import SELECTION_HELP, names
from inventories.errors import BadInput, ExitCode

if TYPE_CHECKING:
    from runbooks.hosts import Estate
    from runbooks.validation import scheduled

    class Found(scheduled.Found, Protocol):
        """What a validation of either store found."""

        def as_json(self) -> dict[str, Any]: ...
        def render(self) -> str: ...

STORES = ("tdengine", "postgresql")
# Words that are no mark's name, and mean nothing to a store.
_OTHERS = {"tdengine": ("standby", "restored", "baseline", "backup"), "postgresql": ("backup",)}
_OF_TDENGINE = ("label", "into", "symbols", "from", "to")


Say = Callable[[str], object]


_Look = Callable[["Estate", Say], "Found"]


@task(
    auto_shortflags=False,  # there are more options than letters
    help={
        "store": "tdengine (the default) or postgresql",
        "tables": SELECTION_HELP["tables"],
        "level": "PostgreSQL: quick (structure, completeness, freshness), full (also what the rules say of rows) or "
        "deep (full, and against standby or restored every row, whatever hashes say)",
        "against": "PostgreSQL: standby, restored (a side cluster) or baseline, row by row where hashes differ; or, of "
        "both stores, a mark's name: what was acknowledged by then is there",
        "since": "only what is of that moment's day or later, with its zone; of a mark, acknowledged since",
        "file": "PostgreSQL: hold tables against rows of this SQLite database or Parquet file (of one of --tables)",
        "side": "PostgreSQL: which side cluster or, against standby, which standby, if there are several",
        "baseline": "the file of the baseline (default: the estate's own)",
        "save-baseline": "keep what sample queries take, of PostgreSQL also the hashes for --against baseline",
        **{name: f"TDengine: {SELECTION_HELP[name]}" for name in _OF_TDENGINE},
        "scheduled": "for cron: of the whole store, PostgreSQL at level full; what it came to is kept on the backup "
        "host, for ./dr status and its alarms, also where it could not look",
        "json": "print JSON", "inventory": INVENTORY_HELP, "lab": LAB_HELP,
    },
)  # fmt: skip
@door
def validate(
    c: Context, store: str = "tdengine", tables: str = "", level: str = "", label: str = "", into: str = "",
    symbols: str = "", from_: str = "", to: str = "", against: str = "", side: str = "", baseline: str = "",
    save_baseline: bool = False, since: str = "", scheduled: bool = False, json: bool = False, inventory: str = "",
    lab: str = "", file: str = "",
) -> None:  # fmt: skip
    """Hold a store against the catalogue, or a backup.

    TDengine against its newest backup: rows by hour, where hours differ row by row; events that are there twice, values
    that must not be missing; what the trading system's queries take. PostgreSQL against the catalogue. Reads only; ends
    with 1 when something is not as it should be, or when a check went over nothing.
    """
    of_postgresql = {"level": level, "side": side, "file": file}
    of_tdengine = dict(zip(_OF_TDENGINE, (label, into, symbols, from_, to), strict=True))
    if against in _OTHERS.get(store, ()):
        raise BadInput(f"nothing of {store} is compared with {against!r}", "./dr help validate tells what is")
    of_both = {"tables": tables, "against": against, "since": since, "baseline": baseline}
    if scheduled:
        _refuse("the whole store", of_tdengine | of_both | {"against": "", "baseline": "", "side": side, "file": file})
    if store == "tdengine":
        _refuse(store, of_postgresql, "--store postgresql takes it; ./dr help validate tells which do")
        look: _Look = _tdengine(of_both | of_tdengine, save_baseline)
    elif store == "postgresql":
        _refuse(store, of_tdengine, "--store tdengine takes it; ./dr help validate tells which do")
        of_postgresql["level"] = level or ("full" if scheduled else "")
        look = _postgresql(of_both | of_postgresql, save_baseline)
    else:
        raise BadInput(f"there is no store {store!r} that is validated", f"--store {' or '.join(STORES)}")
    what = {"store": store, "level": of_postgresql["level"], "against": against}
    found = _looked(look, store, what if scheduled else None, inventory)
    print(jsonlib.dumps(found.as_json()) if json else found.render())
    if not found.sound:
        raise Exit(code=int(ExitCode.FAILED))


def _refuse(store: str, given: Mapping[str, str], hint: str = "./dr help validate tells which do") -> None:
    for name, value in given.items():
        if value:
            raise BadInput(f"--{name} means nothing to a validation of {store}", hint)


def _looked(look: _Look, store: str, scheduled: Mapping[str, str] | None, inventory: str) -> Found:
    from runbooks import hosts
    from runbooks.monitoring import quality, shipping
    from runbooks.validation.scheduled import kept

    estate = hosts.load(inventory or None)
    began = time.monotonic()
    with progress() as say:
        found = kept(estate.backup, scheduled, partial(look, estate, say)) if scheduled else look(estate, say)
        shipping.noted(estate, quality.lines(found, store, estate.name, time.monotonic() - began), say)
    return found


def _tdengine(given: Mapping[str, str], save: bool) -> _Look:
    from runbooks.backups import tdengine_validation
    from runbooks.tdengine.selection import TdSelection

    if given["since"] and given["from"]:
        raise BadInput("--since and --from were given, and mean the same", "leave one of them out")
    if given["against"] and given["label"]:
        raise BadInput("--against and --label were given: a mark names a backup itself", "leave one of them out")
    selection = TdSelection(
        label=given["label"], into=given["into"], tables=names(given["tables"]), symbols=names(given["symbols"]),
        since=given["from"] or given["since"], until=given["to"],
    )  # fmt: skip

    kept = _file(given, save)

    def look(estate: Estate, say: Say) -> Found:
        say("Holding TDengine's tables against the backup")
        if given["against"]:
            return tdengine_validation.against_mark(estate, selection, given["against"], kept, save)
        return tdengine_validation.validate(estate, selection, kept, save)

    return look


def _postgresql(given: Mapping[str, str], save: bool) -> _Look:
    from runbooks.procedures.postgresql import targets
    from runbooks.validation import run

    against = given["against"]
    level = given["level"] or ("full" if against in list(run.Against) else "quick")
    if level not in list(run.Level):
        raise BadInput(f"there is no level {level!r}", f"--level {', '.join(run.Level)}")
    _refuse_idle(given, level, save)
    options = run.Options(
        run.Level(level), names(given["tables"]), run.Against(against) if against in list(run.Against) else None,
        given["side"], _file(given, save), save,
        "" if against in list(run.Against) else against,
        targets.moment(given["since"]) if given["since"] else None,
        caller_path(given["file"]) if given["file"] else None,
    )  # fmt: skip
    return lambda estate, say: run.validate(estate, options, say)


def _refuse_idle(given: Mapping[str, str], level: str, save: bool) -> None:
    """What was asked for and would not be done is no good news."""
    from runbooks.validation import run

    against, copies = given["against"], (run.Against.STANDBY, run.Against.RESTORED)
    if against and given["file"]:
        raise BadInput("--against and --file were given, and content is held against one thing", "leave one out")
    if given["since"] and not against:
        what = "a file is compared whole" if given["file"] else "nothing is compared"
        raise BadInput(f"--since narrows a comparison, and {what}", f"--against {', '.join(run.Against)}")
    if given["side"] and against not in copies:
        raise BadInput("--side chooses a copy, and none is compared", f"--against {' or '.join(copies)}")
    if level == run.Level.DEEP and against not in copies:
        raise BadInput(
            "level deep compares every row with a copy, and none is compared",
            f"--against {' or '.join(copies)}; --level full looks at everything else",
        )
    if save and given["tables"] and not given["baseline"]:
        raise BadInput(
            "a baseline of some tables would take the place of the estate's own, which is of all",
            "--baseline FILE keeps it elsewhere",
        )


def _file(given: Mapping[str, str], save: bool) -> Path | None:
    """The baseline's, if one was named. Raises BadInput for a folder, and for one to read that is not there."""
    if not given["baseline"]:
        return None
    path = caller_path(given["baseline"])
    if path.is_dir() or not (save or path.exists()):
        raise BadInput(f"there is no baseline at {path}", "--save-baseline keeps one there")
    return path


TOP_LEVEL = (validate,)
