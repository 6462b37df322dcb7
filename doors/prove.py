"""Prove backups by restoring them, as a task."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from doors.support import INVENTORY_HELP, LAB_HELP, door, progress, screen
from inventories.errors import BadInput, ExitCode, TargetFailed

if TYPE_CHECKING:
    from runbooks.hosts import Host
    from runbooks.probes.postgresql.proofs import Proof
    from runbooks.probes.tdengine.backups import Proof as TdProof


@task(
    help={
        "store": "postgresql or tdengine (default: postgresql)",
        "set": "label of the backup (default: the next in rotation)",
        "engine": "native or taosdump: a backup of the store's second engine",
        "json": "print JSON instead of a table",
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    }
)
@door
def prove_backup(
    c: Context, store: str = "postgresql", set: str = "", engine: str = "", json: bool = False, inventory: str = "",
    lab: str = "",
) -> None:  # fmt: skip
    """Restore a backup on the backup host, check it, drop it.

    Ends with 1 when it is not proven, and says what is damaged. The record is the nightly job's.
    """
    from runbooks import hosts
    from runbooks.actions import backup as actions
    from runbooks.long_work.work import Asker
    from runbooks.probes.postgresql import proofs
    from runbooks.probes.tdengine import backups as td_backups

    estate = hosts.load(inventory or None)
    if store not in ("postgresql", "tdengine"):
        raise BadInput(f"there is no store {store!r}", "the stores are postgresql and tdengine")
    ticks = store == "tdengine"
    if ticks and not td_backups.is_there(estate):
        raise BadInput(f"estate {estate.name} backs no TDengine up", "./dr deploy with a TDengine package")
    backup = estate.backup
    if engine:
        _second(backup, store, engine, set)
        return
    read: Callable[[Host], Sequence[Proof | TdProof]] = td_backups.proofs if ticks else proofs.every
    before = sum(one.restored for one in read(backup))
    failure: TargetFailed | None = None
    with progress() as say:
        say(f"Proving {set or 'the next backup in rotation'} of {store} on {backup}")
        try:
            actions.prove(backup, set, Asker.door("./dr prove-backup", say), "td-prove" if ticks else "prove")
        except TargetFailed as error:
            failure = error
    found: Sequence[Proof | TdProof] = ()
    with suppress(TargetFailed):
        found = [one for one in read(backup) if one.restored][before:]
    if not found:
        module = "tdengine.backup.prove" if ticks else "postgresql.prove"
        raise failure or TargetFailed(f"{backup} proved nothing", f"python3 -m agents.{module} there says why")
    if json:
        print(jsonlib.dumps(asdict(found[-1]), indent=2))
    else:
        _show(found[-1])
    if not found[-1].passed:
        raise Exit(code=int(ExitCode.FAILED))


def _second(backup: Host, store: str, engine: str, label: str) -> None:
    """Of a second engine; the record is its own."""
    from runbooks.actions import backup as actions
    from runbooks.long_work.work import Asker

    provers = {("postgresql", "native"): actions.prove_native, ("tdengine", "taosdump"): actions.prove_dump}
    if (store, engine) not in provers:
        known = next(name for of, name in provers if of == store)
        raise BadInput(f"{store} has no second engine {engine!r}", f"its second engine is {known}")
    with progress() as say:
        say(f"Proving {label or 'the next backup in rotation'} of {engine} on {backup}")
        sentence = provers[store, engine](backup, Asker.door("./dr prove-backup", say), label)
    print(sentence)


def _show(proof: Proof | TdProof) -> None:
    from rich.table import Column, Table

    from runbooks.probes.tdengine import backups as td_backups

    table = Table(Column("check", no_wrap=True), "", "what was found", title=f"backup {proof.label}")
    for check in proof.checks:
        table.add_row(check.name, "ok" if check.ok else "FAILED", check.detail)
    screen().print(table)
    if isinstance(proof, td_backups.Proof):
        from doors.tdengine import backups as backup_tdengine

        print(*backup_tdengine.proof(proof), sep="\n")
        return
    for name in proof.damaged:
        print(f"damaged: {name}")
    size, rate = proof.restore_bytes / 2**20, proof.restore_bytes / 2**20 / proof.restore_s if proof.restore_s else 0
    print(
        f"{proof.label} is {'proven' if proof.passed else 'NOT proven'}: {size:.0f} MiB restored in "
        f"{proof.restore_s:.1f} s ({rate:.0f} MiB/s), {proof.wal_bytes / 2**20:.0f} MiB of WAL replayed in "
        f"{proof.replay_s:.1f} s, {proof.seconds:.1f} s in all"
    )


TOP_LEVEL = (prove_backup,)
