"""Look into the outbox and its shadow, and decide about dead letters. Prints JSON.

    python3 -m agents.writing.outbox_cli --config FILE status | accounts | requeue --since T
    ... dead [--table T] [--most N] | show ID | export [--table T]          an export is one JSON object a row
    ... edit ID --set COLUMN=VALUE --null COLUMN [--event E] --reason WHY
    ... retry-dead [ID ...] [--table T] [--as own|newest] --reason WHY
    ... discard [ID ...] [--table T] --reason WHY | bury --table T --reason WHY
    ... pace [--rows-per-s N] [--gentle]      how fast the replayer goes until nothing waits; 0: no limit
    ... adopt                                 take over what a lost outbox of this host left as second copies
    ... prove --after NO              what was applied after this application number is in the store, by event id

Exit 0; 1 where `prove` misses a row; 2 for what is not there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from agents.base.config import DEFAULT, Config, load_config, load_tables
from agents.base.errors import BadConfig, BadRow, run
from agents.writing.clock import CLOCK, Clock
from agents.writing.copies import adopt
from agents.writing.counts import Status
from agents.writing.lease import Lease
from agents.writing.letters import NEWEST, OWN, Letters
from agents.writing.outbox import Outbox
from agents.writing.pace import tell
from agents.writing.proving import prove
from agents.writing.shadow import look, requeue
from agents.writing.shadow_rate import Rate, rate

# An outbox that nobody has used yet is empty; looking at it does not create it.
UNUSED = Status(0, 0, 0, 0, 0, None, None, 0, 0, held={}, lanes={})
MOST = 1000  # letters of one list


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    config = load_config(options.config)
    if not config.outbox.path.exists() and options.command not in ("requeue", "adopt"):
        answer: object = _unused(config, options.command)
    else:
        answer = _COMMANDS[options.command](config, options)
    if options.command != "export":
        print(json.dumps(answer, ensure_ascii=False), flush=True)
    return 1 if options.command == "prove" and isinstance(answer, dict) and answer.get("missing") else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agents.writing.outbox_cli", description="Look into the outbox.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="counts, age, size, lanes, what waits for which table")
    commands.add_parser("accounts", help="enqueued = applied + dead + pending + discarded, by table and lane")
    dead = commands.add_parser("dead", help="list the dead letters")
    dead.add_argument("--most", type=int, default=MOST, help="so many at most")
    dead.add_argument("--after", type=int, default=0, metavar="ID", help="those behind this one")
    show = commands.add_parser("show", help="one dead letter with its rows and what was done to it")
    show.add_argument("id", type=int)
    export = commands.add_parser("export", help="every row of every dead letter, one JSON object a line")
    edit = commands.add_parser("edit", help="give a row other values")
    edit.add_argument("id", type=int)
    edit.add_argument("--set", action="append", default=[], metavar="COLUMN=VALUE")
    edit.add_argument("--null", action="append", default=[], metavar="COLUMN")
    edit.add_argument("--event", type=int, help="which row, where the letter has several")
    retry = commands.add_parser("retry-dead", help="put dead letters back into the queue")
    retry.add_argument("ids", nargs="*", type=int, metavar="ID", help="all when none is given")
    retry.add_argument("--as", dest="as_", choices=(OWN, NEWEST), default="", help="against the rule")
    discard = commands.add_parser("discard", help="give dead letters up; the journal keeps them")
    discard.add_argument("ids", nargs="*", type=int, metavar="ID")
    bury = commands.add_parser("bury", help="what waits for a table becomes dead letters")
    for one in (dead, export, retry, discard, bury):
        one.add_argument("--table", default="", required=one is bury, help="only of this table")
    for one in (edit, retry, discard, bury):
        one.add_argument("--reason", required=one is not retry, default="", help="kept in the journal")
    commands.add_parser("adopt", help="take over what a lost outbox of this host left on another host")
    pace = commands.add_parser("pace", help="how fast the replayer goes until nothing waits")
    pace.add_argument("--rows-per-s", type=float, help="0: no limit; without it, what the settings say")
    pace.add_argument("--gentle", action="store_true", help="only with what others leave it")
    proven = commands.add_parser("prove", help="that rows which were applied are in the store")
    proven.add_argument("--after", type=int, required=True, metavar="NO", help="application number")
    requeued = commands.add_parser("requeue", help="put acknowledged rows back into the queue")
    requeued.add_argument("--since", type=float, required=True, metavar="UNIX_SECONDS")
    requeued.add_argument("--tables", default="", help="only these, comma separated")
    return parser


def _unused(config: Config, command: str) -> object:
    empty = {**asdict(UNUSED), "max_bytes": config.outbox.max_bytes, "replayer_running": False, **_shadow(config)}
    known: dict[str, object] = {
        "status": empty, "dead": [], "export": [], "accounts": {"accounts": [], "missing": 0, "last_applied_no": 0},
        "retry-dead": {"retried": 0, "damaged": []}, "discard": {"discarded": 0}, "bury": {"buried": 0},
        "pace": {}, "prove": {"proven": 0, "missing": 0, "unknown": 0, "examples": []},
    }  # fmt: skip
    if command not in known:
        raise BadConfig("There is no such letter: nobody has used this outbox yet.", "./dr outbox.status")
    return known[command]


def _status(config: Config, options: argparse.Namespace) -> object:
    outbox = _outbox(config)
    try:
        running = Lease(config.outbox.path).taken
        return {**asdict(outbox.status()), "replayer_running": running, **_shadow(config)}
    finally:
        outbox.close()


def _accounts(config: Config, options: argparse.Namespace) -> object:
    outbox = _outbox(config)
    try:
        found = outbox.accounts()
        return {
            "accounts": [{**asdict(one), "missing": one.missing} for one in found],
            "missing": sum(abs(one.missing) for one in found),
            "last_applied_no": outbox.last_applied_no(),
        }
    finally:
        outbox.close()


def _with_letters(deed: Callable[[Letters, Config, argparse.Namespace], object]) -> Callable[..., object]:
    def done(config: Config, options: argparse.Namespace) -> object:
        letters = Letters(config.outbox.path, config.outbox.max_bytes)
        try:
            return deed(letters, config, options)
        finally:
            letters.close()

    return done


def _dead(letters: Letters, config: Config, options: argparse.Namespace) -> object:
    found: list[object] = []
    for letter in letters.every(options.table, options.after):
        if len(found) >= options.most:
            break
        found.append(asdict(letter))
    return found


def _show(letters: Letters, config: Config, options: argparse.Namespace) -> object:
    rows = [{"table": table, "values": row} for table, row in letters.rows(options.id)]
    return {"id": options.id, "rows": rows, "history": letters.history(options.id)}


def _export(letters: Letters, config: Config, options: argparse.Namespace) -> object:
    for letter in letters.every(options.table):
        about = {"id": letter.id, "created_at": letter.created_at, "error": letter.last_error}
        try:
            lines = [{**about, "table": table, "values": row} for table, row in letters.rows(letter.id)]
        except BadRow as error:
            lines = [{**about, "damaged": str(error)}]
        for line in lines:
            print(json.dumps(line, ensure_ascii=False), flush=True)
    return None


def _edit(letters: Letters, config: Config, options: argparse.Namespace) -> object:
    pairs = [pair.partition("=") for pair in options.set]
    if any(not middle for _, middle, _ in pairs) or not (pairs or options.null):
        raise BadConfig("No value was given.", "--set COLUMN=VALUE, or --null COLUMN.")
    values: dict[str, str | None] = {name: value for name, _, value in pairs}
    values.update(dict.fromkeys(options.null))
    return letters.edit(options.id, values, options.reason, options.event)


def _retry(letters: Letters, config: Config, options: argparse.Namespace) -> object:
    ids = options.ids or [letter.id for letter in letters.every(options.table)]
    retried, damaged = letters.retry(
        ids, load_tables(config.tables), options.reason, lambda n: _event_ids(config, n), options.as_
    )
    return {"retried": retried, "damaged": damaged}


def _event_ids(config: Config, n: int) -> Sequence[int]:
    if config.node is None:
        raise BadConfig("agent.json names no node, so event ids could be another host's.", "Deploy this host again.")
    return Clock(config.outbox.path.with_name(CLOCK), config.node).reserve(n)


def _discard(letters: Letters, config: Config, options: argparse.Namespace) -> object:
    if not options.ids and not options.table:
        raise BadConfig("Nothing says which letters.", "Give their numbers, or --table.")
    ids = options.ids or [letter.id for letter in letters.every(options.table)]
    return {"discarded": letters.discard(ids, options.reason)}


def _bury(letters: Letters, config: Config, options: argparse.Namespace) -> object:
    return {"buried": letters.bury(options.table, options.reason)}


def _pace(config: Config, options: argparse.Namespace) -> object:
    if (options.rows_per_s or 0) < 0:
        raise BadConfig("A pace below nothing is none.", "0 is no limit.")
    outbox = _outbox(config)
    try:
        tell(outbox, options.rows_per_s, options.gentle)
        return {"rows_per_s": options.rows_per_s, "gentle": options.gentle}
    finally:
        outbox.close()


def _adopt(config: Config, options: argparse.Namespace) -> object:
    outbox = _outbox(config)
    try:
        if outbox.copies is None:
            raise BadConfig("No second copies are kept of this outbox.", "outbox_copy in the inventory turns it on.")
        return {"adopted": adopt(outbox, outbox.copies)}
    finally:
        outbox.close()


def _prove(config: Config, options: argparse.Namespace) -> object:
    outbox = _outbox(config)
    try:
        return asdict(prove(config, load_tables(config.tables), outbox, options.after))
    finally:
        outbox.close()


def _shadow(config: Config) -> dict[str, object]:
    """Bytes, unix time of the oldest batch, and how fast it grows; all None where no shadow is kept."""
    kept = look(config.shadow) if config.shadow else None
    grows = rate(config.shadow.path) if config.shadow else Rate()
    return {"shadow_bytes": kept and kept.size_bytes, "shadow_since": kept and kept.since, **asdict(grows)}


def _requeue(config: Config, options: argparse.Namespace) -> object:
    if config.shadow is None:
        raise BadConfig("No shadow is kept here.", "recovery.yaml: stores.postgresql.shadow turns it on.")
    tables = load_tables(config.tables)
    only = [name for name in options.tables.split(",") if name]
    unknown = [name for name in only if name not in tables]
    if unknown:
        raise BadConfig(f"There is no table {unknown[0]}.", "The tables are those of the catalogue.")
    outbox = _outbox(config)
    try:
        return asdict(requeue(config.shadow, outbox, tables, options.since, only))
    finally:
        outbox.close()


def _outbox(config: Config) -> Outbox:
    return Outbox.of(config)


_COMMANDS: dict[str, Callable[[Config, argparse.Namespace], object]] = {
    "status": _status, "accounts": _accounts, "requeue": _requeue, "prove": _prove, "pace": _pace, "adopt": _adopt,
    "dead": _with_letters(_dead), "show": _with_letters(_show), "export": _with_letters(_export),
    "edit": _with_letters(_edit), "retry-dead": _with_letters(_retry), "discard": _with_letters(_discard),
    "bury": _with_letters(_bury),
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run(main))
