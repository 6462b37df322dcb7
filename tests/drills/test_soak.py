"""Clients that overwrite each other's keys while they, the replayer, the database and their host are killed at random:
nothing that was acknowledged is lost or there twice, and every key ends with its newest value.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from lab import faults
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.probes import app
from runbooks.probes.postgresql import server
from tests.drills import estate as seen
from tests.drills.doors import dr

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.timeout(2400)]
CLIENTS, KEYS = 4, 12
FOLDER = "/var/lib/mystocks-dr/soak"
UNITS = tuple(f"soak-client{number}" for number in range(CLIENTS))
VICTIMS = {"client": 8, "replayer": 6, "database": 4, "host": 2}
CLIENT = f"""
import json, os, pathlib, random, sys, time
from datetime import datetime, timezone
from mystocks_dr import Client, NotAcknowledged
name = f"{{sys.argv[1]}}-{{time.time_ns()}}-{{os.getpid()}}"
folder = pathlib.Path({FOLDER!r})
def saved(client, table, rows):
    try:
        yield client.save(table, rows)
    except NotAcknowledged as error:
        rest = error.rest
        yield error.done
        while True:
            try:
                yield client.write(rest)
                return
            except NotAcknowledged as again:
                yield again.done
                rest = again.rest
                time.sleep(0.2)
with Client.open(pool=1) as client, (folder / f"ledger-{{name}}").open("a") as notes:
    nth = 0
    while not (folder / "stop").exists():
        nth += 1
        now = datetime.now(timezone.utc)
        what = f"{{name}}-{{nth}}"
        keys = random.sample(range({KEYS}), 3)
        rows = [dict(config_key=f"soak{{k}}", config_value=what, updated_at=now) for k in keys]
        order = dict(order_id=what[:40], order_time=now, account_id="SOAK", symbol="600000.SH", side="BUY",
            order_type="LIMIT", price=10.5, quantity=nth, status="NEW", remark=what)
        for table, given in (("system_config", rows), ("order_records", [order, order | dict(quantity=-nth)])):
            for ack in saved(client, table, given):
                for row, event in zip(ack.taken, ack.event_ids, strict=True):
                    one = given[row]
                    notes.write(json.dumps([one.get("config_key"), event, what, one.get("quantity")]) + "\\n")
        notes.flush()
        time.sleep(0.01)
"""


@dataclass(frozen=True)
class Acknowledged:
    """One row as its client noted it; a row of order_records has no `key`."""

    key: str | None
    event: int
    value: str
    quantity: int | None


class Soak:
    def __init__(self, estate: Estate) -> None:
        self._estate, self._lab = estate, seen.lab_of(estate)
        self.kills: Counter[str] = Counter()
        self._app = estate.app
        self._app.run("rm -rf %s && install -d -o mystocks -g mystocks %s", FOLDER, FOLDER)
        self._start()

    def kill(self, victim: str, chance: random.Random) -> None:
        kill = {
            "client": partial(self._kill_unit, self._app, chance.choice(UNITS)),
            "replayer": partial(self._kill_unit, self._app, "mystocks-replayer"),
            "database": partial(self._kill_database, chance.uniform(0, 2)),
            "host": partial(self._kill_host, chance.uniform(0, 2)),
        }[victim]
        kill()
        self.kills[victim] += 1

    def stop(self) -> None:
        """Every client ends by itself behind its last acknowledgement."""
        self._app.run("touch %s/stop", FOLDER)
        for unit in UNITS:
            until(partial(self._state, unit), 60, what=f"the end of {unit}", accept=lambda said: said != "active")
            assert self._state(unit) == "inactive", self._app.run("journalctl -n 30 -u %s", unit).text

    def clean(self) -> None:
        self._app.run("touch %s/stop; systemctl reset-failed 'soak-client*' || true", FOLDER, expect=None)

    def acknowledged(self) -> list[Acknowledged]:
        said = self._app.run("cat %s/ledger-*", FOLDER, timeout=120).stdout
        lines = [line for line in said.split("\n") if line.startswith("[") and line.endswith("]")]  # others are torn
        return [Acknowledged(*json.loads(line)) for line in lines if line.count("[") == 1]

    def _start(self) -> None:
        for unit in UNITS:
            self._app.run(
                "systemd-run --quiet --collect --unit=%s --property=User=mystocks --property=Restart=on-failure"
                " --property=RestartSec=0 --property=StartLimitIntervalSec=0"
                " --setenv=PYTHONPATH=/opt/mystocks-dr:/opt/mystocks-dr/client python3 -c %s %s",
                unit, CLIENT, unit,
            )  # fmt: skip

    def _state(self, unit: str) -> str:
        return self._app.run("systemctl is-active %s", unit, expect=None).text

    @staticmethod
    def _kill_unit(host: Host, unit: str) -> None:
        host.run("systemctl kill --signal=KILL %s", unit)

    def _kill_database(self, away_s: float) -> None:
        primary = server.the_primary(server.survey(self._estate)).host
        self._kill_unit(primary, seen.UNIT)
        time.sleep(away_s)
        primary.run("systemctl reset-failed %s; systemctl start %s", seen.UNIT, seen.UNIT, timeout=60)
        until(lambda: server.survey(self._estate), 60, what="a primary", accept=lambda found: any(
            node.is_primary for node in found
        ))  # fmt: skip

    def _kill_host(self, away_s: float) -> None:
        faults.power_off(self._lab, self._app.name)
        time.sleep(away_s)
        faults.power_on(self._lab, self._app.name)
        self._start()


@pytest.fixture
def soak(estate_lab: Estate) -> Iterator[Soak]:
    seen.make_whole(estate_lab)
    primary = server.the_primary(server.survey(estate_lab)).host
    primary.execute("delete from system_config where config_key like 'soak%'", str(estate_lab.data["database"]))
    soak = Soak(estate_lab)
    yield soak
    soak.clean()


@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=pytest.mark.long)])
def test_whoever_is_killed_nothing_is_lost_or_doubled_and_every_key_is_the_newest(
    estate_lab: Estate, soak: Soak, kills: int
) -> None:
    chance = random.Random(kills)
    # Each of them at least once, whatever is drawn.
    drawn = [*VICTIMS, *chance.choices(list(VICTIMS), list(VICTIMS.values()), k=kills - len(VICTIMS))]
    chance.shuffle(drawn)
    for victim in drawn:
        time.sleep(chance.uniform(0, 1.5))
        soak.kill(victim, chance)
    soak.stop()
    until(lambda: app.outbox(estate_lab.app), 120, what="an empty outbox", accept=lambda box: not box.pending_rows)
    assert soak.kills.total() == kills
    acknowledged = soak.acknowledged()
    orders = {one.event: one for one in acknowledged if one.key is None}
    assert len({one.event for one in acknowledged}) == len(acknowledged) > 20 * kills
    database = str(estate_lab.data["database"])
    primary = server.the_primary(server.survey(estate_lab)).host
    rows = primary.query(
        "select event_id, quantity, remark from order_records where account_id = 'SOAK'"
        f" and event_id between {min(orders)} and {max(orders)}", database, 120,
    )  # fmt: skip
    found = {int(row["event_id"]): (row["remark"], int(row["quantity"])) for row in rows}
    assert len(found) == len(rows), "an event is there twice"
    lost = [one for one in orders.values() if one.event not in found]
    assert not lost, f"{len(lost)} of {len(orders)} orders are lost, such as {lost[:3]}"
    assert all(found[event] == (one.value, one.quantity) for event, one in orders.items())
    newest: dict[str, Acknowledged] = {}
    for one in sorted(acknowledged, key=lambda one: one.event):
        if one.key is not None:
            newest[one.key] = one
    kept = primary.query(
        "select config_key, event_id, config_value from system_config where config_key like 'soak%'", database
    )
    there = {str(row["config_key"]): (int(row["event_id"]), str(row["config_value"])) for row in kept}
    assert set(there) == set(newest)
    for key, one in newest.items():
        # One that was saved and not yet noted when its client was killed may be newer still.
        assert there[key] == (one.event, one.value) or there[key][0] > one.event, key
    assert sum(there[key] == (one.event, one.value) for key, one in newest.items()) >= KEYS - 3 * CLIENTS // 4
    ended = dr("replay-outbox")
    assert ended.code == 0, ended.err
