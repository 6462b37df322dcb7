"""The catalogue: what the trading system's own configuration makes of it."""

from __future__ import annotations

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from doors.support import caller_path, door
from inventories.errors import BadInput


@task(
    name="import",
    positional=["file"],
    help={
        "file": "the trading system's table_config.yaml",
        "disaster-recovery": "its disaster_recovery_config.yaml: tables of its own, and where the two differ",
        "write": "put new entries and columns into inventories/catalog/tables.yaml",
        "whole": "every table of theirs as they have it, as a catalogue of its own",
        "out": "write them into this new file instead of showing them",
    },
)
@door
def take(
    c: Context, file: str, disaster_recovery: str = "", write: bool = False, whole: bool = False, out: str = ""
) -> None:
    """Turn table_config.yaml into entries and things to decide.

    A table that the catalogue has already, under its name or a classification's, gets the columns that it lacks, all of
    them optional, and every other difference is told; with --whole none counts as there. With --write the new ones are
    appended, each with its decisions as comments: after `./dr deploy` all are routed, backed up and validated.
    """
    from inventories.catalog import load_tables
    from inventories.catalog.foreign import alone, append, listed, propose, rendered
    from inventories.catalog.load import TABLES

    if whole and write:
        raise BadInput("--whole makes a catalogue of its own, --write adds to ours", "give --whole --out FILE")
    recovery = caller_path(disaster_recovery) if disaster_recovery else None
    proposal = propose(load_tables(), caller_path(file), recovery, whole)
    text = alone(proposal.new, load_tables().naive_times) if whole else rendered(proposal.new)
    if write:
        append(proposal, TABLES)
    elif out:
        _new_file(out, text)
    elif proposal.new:
        print(text)
    lines = listed(proposal.decisions)
    for line in lines:
        print(line)
    where = "were added to the catalogue" if write else f"are in {out}" if out else "are new"
    known, more = len(proposal.there), sum(len(change.added) for change in proposal.changes)
    print(f"{len(proposal.new)} tables {where}, {known} are there already, {len(lines)} things to decide.")
    if more:
        print(f"{more} columns {'were added' if write else 'more'} to tables that are there.")


def _new_file(out: str, text: str) -> None:
    try:
        with caller_path(out).open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BadInput(f"{out} is there already", "name a new file") from None


collection = Collection("catalog", take)
