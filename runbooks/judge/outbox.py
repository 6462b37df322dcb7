"""What waits in an outbox of the application host, what does not leave it by itself, and how soon it takes no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from inventories.catalog.recovery import Limits
from runbooks.judge.finding import Finding
from runbooks.probes.app import Outbox

_SHOWN = 160  # characters of the store's own words


@dataclass(frozen=True)
class Named:
    """How an outbox is called in findings; `option` is what the doors are told."""

    outbox: str
    replayer: str
    option: str = ""


POSTGRESQL = Named("the outbox", "replayer")
TDENGINE = Named("TDengine's outbox", "TDengine's replayer", " --store tdengine")
TRACKER = Named("the stock tracker's outbox", "the stock tracker's replayer", " --store tracker")


def findings(box: Outbox, limits: Limits, named: Named) -> Iterator[Finding]:
    if box.pending_rows > limits.max_outbox_rows:
        hint = f"./dr replay-outbox{named.option}"
        yield Finding(f"rows in {named.outbox}", str(box.pending_rows), str(limits.max_outbox_rows), hint)
    if box.dead_rows:
        hint = f"./dr outbox.dead{named.option} lists them; they were acknowledged and are in no table"
        yield Finding(f"dead letters in {named.outbox}", str(box.dead_rows), "0", hint)
    for table, why in box.held.items():
        hint = f"mend the table, its rows go in by themselves; else ./dr outbox.dead{named.option} --bury {table}"
        yield Finding(f"{table} in {named.outbox}", f"its rows wait: {why[:_SHOWN]}", "takes rows", hint)
    if box.fill * 100 > limits.max_outbox_fill_percent:
        hint = "bring the store back; at 100% no row is acknowledged any more"
        measured = f"{box.fill * 100:.0f}% taken"
        yield Finding(f"room of {named.outbox}", measured, f"{limits.max_outbox_fill_percent:g}%", hint)
    if box.copy_error:
        hint = "systemctl status mystocks-copies on the backup host; without it nothing new is acknowledged there"
        yield Finding(f"second copies of {named.outbox}", box.copy_error[:_SHOWN], "kept", hint)
    if box.orphans:
        hint = f"./dr outbox.adopt{named.option} puts them into the outbox of today"
        lost = f"second copies of a lost {named.outbox.removeprefix('the ')}"
        yield Finding(lost, f"{box.orphans} records", "0", hint)
    if not box.replayer_running:
        yield Finding(named.replayer, "not running", "running", "./dr deploy starts it")
