"""The outboxes of the application hosts: rows that wait for a store, and rows that a store refused."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.tasks import task
from rich.table import Table

from doors.support import INVENTORY_HELP, LAB_HELP, caller_path, door, screen, utc
from inventories.errors import BadInput

if TYPE_CHECKING:
    from runbooks.hosts import Estate
    from runbooks.probes.app import Outbox
    from runbooks.probes.outbox import Box

STORE_HELP = "postgresql, tdengine or tracker (default: postgresql, for a status every one)"
MOST = 50


@task(help={"json": "print JSON", "store": STORE_HELP, "inventory": INVENTORY_HELP, "lab": LAB_HELP})
@door
def status(c: Context, json: bool = False, store: str = "", inventory: str = "", lab: str = "") -> None:
    """Show what waits in every outbox and how fast it leaves."""
    from runbooks import hosts
    from runbooks.probes import outbox

    found = [(box, outbox.status(box)) for box in _boxes(hosts.load(inventory or None), store)]
    if json:
        print(jsonlib.dumps([{"host": box.host.name, "store": box.store, **seen.__dict__} for box, seen in found]))
        return
    screen().print(_table(found))
    for box, seen in found:
        for table, why in seen.held.items():
            print(f"{box}: {table} takes nothing, its rows wait: {why}")
        if seen.told_rows_per_s:
            print(f"{box}: the replayer was told to keep to {seen.told_rows_per_s:,.0f} rows/s until nothing waits")


def _table(found: Sequence[tuple[Box, Outbox]]) -> Table:
    from runbooks.judge.objectives import duration, size

    table = Table("outbox", "rows wait", "by lane", "oldest", "dead", "room taken", "rows/s", "empty in", "replayer")
    for box, seen in found:
        table.add_row(
            f"{box.host} {box.store}", f"{seen.pending_rows:,}",
            " ".join(f"{lane}:{rows:,}" for lane, rows in seen.lanes.items()),
            "" if seen.oldest_age_s is None else duration(seen.oldest_age_s),
            str(seen.dead_rows), f"{seen.fill * 100:.0f}% of {size(seen.max_bytes)}",
            "" if seen.rows_per_s is None else f"{seen.rows_per_s:,.0f}",
            "" if seen.empty_in_s is None else duration(seen.empty_in_s),
            "runs" if seen.replayer_running else "does not run",
        )  # fmt: skip
    return table


@task(
    iterable=["set", "null"],
    help={
        "show": "the rows of this letter, and what was done to it",
        "export": "write every row of every letter into this file, one JSON object a line",
        "edit": "give a row of this letter other values: --set, --null",
        "set": "COLUMN=VALUE, may be repeated",
        "null": "a column that is to be NULL, may be repeated",
        "event": "the row's event id, where the letter has several",
        "retry": "numbers, comma separated, or all: put them back into the queue",
        "as_": "own or newest, against the rule (own time; what was edited is the newest of its key)",
        "discard": "numbers, comma separated, or all: give them up; the journal keeps them",
        "bury": "a table that takes nothing: what waits for it becomes dead letters",
        "table": "only letters with rows of this table",
        "reason": "why; kept in the journal",
        "host": "which application host, where there are several",
        "store": STORE_HELP,
        "json": "print JSON",
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    },
)
@door
def dead(
    c: Context, show: int = 0, export: str = "", edit: int = 0, set: Sequence[str] | None = None,
    null: Sequence[str] | None = None, event: int = 0, retry: str = "", as_: str = "", discard: str = "",
    bury: str = "", table: str = "", reason: str = "", host: str = "", store: str = "", json: bool = False,
    inventory: str = "", lab: str = "",
) -> None:  # fmt: skip
    """Show, edit, retry or discard rows that a store refused."""
    from runbooks import hosts
    from runbooks.actions import outbox as act
    from runbooks.probes import outbox

    deeds = [name for name, said in (
        ("--show", show), ("--export", export), ("--edit", edit), ("--retry", retry), ("--discard", discard),
        ("--bury", bury),
    ) if said]  # fmt: skip
    if len(deeds) > 1:
        raise BadInput(f"{' and '.join(deeds)}: one deed at a time")
    if (edit or discard or bury) and not reason:
        raise BadInput(f"{deeds[0]} needs a reason", "--reason 'why'")
    if (set or null or event) and not edit:
        raise BadInput("--set, --null and --event say how a letter is edited", "--edit NUMBER")
    box = _one(_boxes(hosts.load(inventory or None), store or "postgresql"), host)
    if show:
        print(jsonlib.dumps(outbox.letter(box, show, act.ASK_S), ensure_ascii=False, indent=2))
    elif export:
        text = outbox.export(box, table, 600)
        caller_path(export).write_text(text, encoding="utf-8")
        print(f"{len(text.splitlines())} rows are in {export}")
    elif edit:
        now = act.edit(box, edit, _values(set or (), null or ()), event or None, reason)
        print(jsonlib.dumps(now, ensure_ascii=False, indent=2))
    elif retry:
        done, damaged = act.retry(box, _numbers(retry), table, as_, reason)
        print(f"{done} letters are in the queue again" + (f"; damaged, not tried: {damaged}" if damaged else ""))
    elif discard:
        print(f"{act.discard(box, _listed(box, discard, table), reason)} letters are given up")
    elif bury:
        print(f"{act.bury(box, bury, reason)} records are dead letters now")
    else:
        _list(box, outbox.dead(box, table, MOST, act.ASK_S), json)


@task(
    help={
        "host": "which application host, where there are several", "store": STORE_HELP, "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    }
)  # fmt: skip
@door
def adopt(c: Context, host: str = "", store: str = "", inventory: str = "", lab: str = "") -> None:
    """Take over the second copies that a lost outbox left."""
    from runbooks import hosts
    from runbooks.actions import outbox as act

    box = _one(_boxes(hosts.load(inventory or None), store or "postgresql"), host)
    print(f"{act.adopt(box, 3600):,} records of a lost outbox are in {box}")


def _list(box: Box, letters: Sequence[object], json: bool) -> None:
    if json:
        print(jsonlib.dumps(letters, ensure_ascii=False))
        return
    if not letters:
        print(f"{box} holds no dead letter.")
        return
    table = Table("letter", "since (UTC)", "rows", "what the store said")
    for letter in letters:
        assert isinstance(letter, dict)
        rows = ", ".join(
            f"{name} {first}" if n == 1 else f"{name} {n} rows" for name, (first, _, n) in letter["tables"].items()
        )
        table.add_row(str(letter["id"]), utc(letter["created_at"]), rows, str(letter["last_error"])[:120])
    screen().print(table)
    if len(letters) == MOST:
        print(f"The {MOST} oldest; --export FILE writes all of them.")


def _boxes(estate: Estate, store: str) -> tuple[Box, ...]:
    from runbooks.probes import outbox

    if store not in ("", *outbox.SETTINGS):
        raise BadInput(f"there is no store {store!r}", f"the stores are {', '.join(outbox.SETTINGS)}")
    found = outbox.boxes(estate, store)
    if not found:
        raise BadInput(f"inventory {estate.inventory} has no {store}")
    return found


def _one(boxes: Sequence[Box], host: str) -> Box:
    chosen = [box for box in boxes if host in ("", box.host.name)]
    if len(chosen) != 1:
        raise BadInput(
            f"{len(chosen)} outboxes fit", f"--host names one of {', '.join(box.host.name for box in boxes)}"
        )
    return chosen[0]


def _values(pairs: Sequence[str], null: Sequence[str]) -> dict[str, str | None]:
    if any("=" not in pair for pair in pairs):
        raise BadInput("--set takes COLUMN=VALUE")
    values: dict[str, str | None] = {pair.partition("=")[0]: pair.partition("=")[2] for pair in pairs}
    values.update(dict.fromkeys(null))
    if not values:
        raise BadInput("nothing says what the row is to be", "--set COLUMN=VALUE, or --null COLUMN")
    return values


def _numbers(text: str) -> list[int]:
    """Numbers of letters; none for all of them."""
    try:
        return [] if text == "all" else [int(one) for one in text.split(",")]
    except ValueError as error:
        raise BadInput(f"{text!r} is no list of numbers", "12,15 or all") from error


def _listed(box: Box, text: str, table: str) -> list[int]:
    """All are named one by one, so that none that came meanwhile is given up unseen."""
    from runbooks.probes import outbox

    numbers = _numbers(text)
    if numbers:
        return numbers
    found = [int(str(letter["id"])) for letter in outbox.dead(box, table, 100_000, 60)]
    if not found:
        raise BadInput(f"{box} holds no such letter")
    return found
