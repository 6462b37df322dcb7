"""Application host and backup host lose all that they have of a SQLite database: it comes back from off-site alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploys.run import deploy
from drills.scenarios.sqlite.trader import Trader
from runbooks import hosts
from runbooks.engine.budgets import budget
from runbooks.engine.wait import until
from runbooks.hosts import Estate
from runbooks.probes.sqlite import databases
from tests.drills import estate as seen
from tests.drills.doors import dr

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.long, pytest.mark.timeout(1200)]
NAME, KEPT = "trading", "/var/lib/mystocks-dr/sqlite"


@pytest.fixture
def trading(estate_lab: Estate, tmp_path: Path) -> Iterator[tuple[Estate, Trader]]:
    """A protected database, and somebody who trades; afterwards the estate has none."""
    seen.make_whole(estate_lab)
    on = [estate_lab.app.name, estate_lab.backup.name]
    trader = Trader(estate_lab.app, tmp_path / "trades.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DR_LAB_SQLITE", NAME)
        deploy("lab", on)
        try:
            trader.start()
            until(
                lambda: any(one.proven for one in databases.listed(estate_lab.app, NAME).snapshots),
                budget("sqlite.protect"), what="a proven snapshot", every=1,
            )  # fmt: skip
            yield hosts.load("lab"), trader
        finally:
            trader.stop()
            patch.setenv("DR_LAB_SQLITE", "")
            deploy("lab", on)
            estate_lab.app.run("rm -rf /var/lib/mystocks-dr/trading")
            estate_lab.backup.run("rm -rf %s", KEPT)


def test_with_both_hosts_blank_the_off_site_copy_brings_it_back_and_what_lists_backups_knows_it(
    trading: tuple[Estate, Trader],
) -> None:
    estate, trader = trading
    trader.more(20)
    trader.stand_still()
    taken = dr("mark", "before-the-loss-of-both", "--json")
    assert taken.code == 0, taken.err
    [bound] = json.loads(taken.out)["databases"]
    assert (bound["database"], bound["host"]) == (NAME, estate.app.name) and bound["tx"] >= 20
    found = dr("backup.list", "--store", "sqlite", "--json")
    assert found.code == 0, found.err
    [one] = json.loads(found.out)["sqlite"]["databases"]
    assert one["newest"][0] >= bound["tx"] and one["proven_at"]
    copied = dr("backup.run", "--type", "offsite", timeout=600)
    assert copied.code == 0, copied.err

    unit = databases.service(NAME)
    estate.app.run("systemctl stop %s; rm -rf /var/lib/mystocks-dr/trading/%s.db*", unit, NAME)
    receiver = databases.RECEIVER
    estate.backup.run("systemctl stop %s; rm -rf %s/*; systemctl start %s", receiver, KEPT, receiver)
    estate.app.run("systemctl start %s", unit)
    until(
        lambda: "no empty one is made" in estate.app.run("journalctl -u %s -n 20 --no-pager", unit).stdout, 120,
        what="the protector to say that the off-site copy has it", every=1,
    )  # fmt: skip
    assert dr("backup.list", "--store", "sqlite").code == 1
    back = dr("sqlite-restore", "--offsite", "--yes", timeout=900)
    assert back.code == 0, back.err
    missing, told = trader.missing(databases.status(estate.app, NAME).path)
    assert told >= 20 and missing == 0
    to_mark = dr("sqlite-restore", "--to-mark", "before-the-loss-of-both", timeout=600)
    assert to_mark.code == 0, to_mark.err
