"""One engine for every kind: damage a database, ask every check, and say which of them reported what.

A primary and its standby run here. Damage `at: live` is done on the primary while the standby's replay stands still:
what the standby has is then the restored copy, of before the damage. Damage `at: standby` is done to a second database,
which is compared as a standby's, and damage `at: page` to a file of the standby's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from inventories.catalog import load_tables
from inventories.catalog.tables import OnConflict, Store
from runbooks.engine.wait import until
from runbooks.validation import baseline, run
from runbooks.validation import copies as choosing
from runbooks.validation.baseline import Baseline
from runbooks.validation.content import Copies, compare
from runbooks.validation.difference import Difference
from tests.mutations import in_pages
from tests.mutations.kinds import At, By, Kind
from tests.unit.postgres_server import DATABASE, Server, folder_for_server
from tests.unit.validation_kit import CALENDAR, COLUMNS, Validated

THEN, NOW = "mutations_then", "mutations_now"
LOOK_S = 60
ORDERS = 1000
# Rows for the rules that the kit's rows say nothing to, every one of them sound.
MORE = (
    CALENDAR,
    f"INSERT INTO daily_kline {COLUMNS['daily_kline']} SELECT 4000000 + i, '600000.SH', current_date - 9 + i, 11, 12, "
    "9, 11, 1, 1, 0, 1 FROM generate_series(1, 9) i",
    f"INSERT INTO position_records {COLUMNS['position_records']} SELECT 777001, account_id, symbol, current_date, "
    "q, 0, 1, 1, q, 0 FROM (SELECT account_id, symbol, sum(CASE side WHEN 'BUY' THEN quantity ELSE -quantity END) AS q "
    "FROM transaction_records WHERE account_id = 'A3' AND symbol = '600007.SH' GROUP BY 1, 2) s",
    "INSERT INTO account_funds (event_id, account_id, record_date, total_assets, cash_balance, market_value) "
    "SELECT i, 'A' || i, current_date, 100, 60, 40 FROM generate_series(1, 10) i",
    "INSERT INTO strategy_parameters SELECT i, 's' || i, 1, '{\"a\": 1, \"b\": [1.0, 2]}', true, now() "
    "FROM generate_series(1, 50) i",
    "INSERT INTO system_config (event_id, config_key, config_value, updated_at) SELECT i, 'key' || i, 'value-' || i, "
    "now() FROM generate_series(101, 400) i",
    "INSERT INTO dr_probe (run) SELECT 'r' FROM generate_series(1, 9)",
)
GROWING = frozenset(one.name for one in load_tables().of(Store.POSTGRESQL) if one.on_conflict is OnConflict.IGNORE)
Found = Mapping[By, tuple[tuple[str, str], ...]]


def names() -> tuple[str, ...]:
    return tuple(table.name for table in load_tables().of(Store.POSTGRESQL))


@dataclass(frozen=True)
class Engine:
    primary: Server
    standby: Server

    def report(self, kind: Kind) -> Found:
        """(table, what) of everything that is reported, by check."""
        if kind.at is At.PAGE:
            return self._page(kind)
        with self.copied():
            return self._live(kind) if kind.at is At.LIVE else self._standby(kind)

    def undamaged(self) -> Found:
        """What is reported of rows that nobody touched."""
        nothing = Kind(name="nothing", table="", do=("SELECT 1",), hole="there is no damage")
        standby = nothing.model_copy(update={"at": At.STANDBY})
        found = {**self.report(nothing), **self.report(standby)}
        return {by: some for by, some in found.items() if some}

    def _live(self, kind: Kind) -> Found:
        live = Validated(self.primary, NOW)
        held = self.hold(live)
        self._caught_up()
        self.standby.sql("SELECT pg_wal_replay_pause()", database="postgres")
        try:
            live.sql(*kind.do)
            found = self._looked(live)
            then = Validated(self.standby, NOW).asked
            found[By.RESTORED] = self._compared(Copies(then, live.asked, False, LOOK_S, growing=GROWING))
            found[By.BASELINE] = self._since(live, held)
        finally:
            self.standby.sql("SELECT pg_wal_replay_resume()", database="postgres")
        return {by: _named(some) for by, some in found.items()}

    def _standby(self, kind: Kind) -> Found:
        live = Validated(self.primary, THEN)
        Validated(self.primary, NOW).sql(*kind.do)
        found = self._looked(live)
        found[By.STANDBY] = self._second()
        return {by: _named(some) for by, some in found.items()}

    def _page(self, kind: Kind) -> Found:
        live, other = Validated(self.primary, THEN), Validated(self.standby, THEN)
        [do] = kind.do
        with in_pages.damaged(self.primary, self.standby, THEN, kind.table, do, self._caught_up):
            found = self._looked(live)
            found[By.STANDBY] = self._compared(Copies(live.asked, other.asked, True, LOOK_S, 20))
        return {by: _named(some) for by, some in found.items()}

    def standby_differs(self) -> tuple[tuple[str, str], ...]:
        """(table, what) in which the second database is not as the first one."""
        return _named(self._second())

    def _second(self) -> tuple[Difference, ...]:
        base, other = Validated(self.primary, THEN), Validated(self.primary, NOW)
        return self._compared(Copies(base.asked, other.asked, True, LOOK_S, 5))

    def _looked(self, database: Validated) -> dict[By, Iterable[Difference]]:
        found: dict[By, list[Difference]] = {}
        for one in database.found(run.Level.FULL):
            found.setdefault(By(one.check.value), []).append(one)
        return dict(found)

    def _compared(self, pair: Copies) -> tuple[Difference, ...]:
        tables, lacks = choosing.hashed(load_tables(), names(), pair.base, pair.other)
        return (*lacks, *compare(pair, tables.values(), lambda _: None).differences)

    def hold(self, database: Validated) -> Baseline:
        tables, _ = choosing.hashed(load_tables(), names(), database.asked)
        return baseline.take(database.asked, "here", tables, LOOK_S)

    def _since(self, database: Validated, held: Baseline) -> tuple[Difference, ...]:
        return run.since(database.asked, held, load_tables(), names()).differences

    def _caught_up(self) -> None:
        [(at,)] = self.primary.sql("SELECT pg_current_wal_flush_lsn()", database="postgres")
        there = f"SELECT pg_last_wal_replay_lsn() >= '{at}'"
        until(lambda: self.standby.sql(there, database="postgres")[0][0] is True, 30, what="replay", every=0.05)

    @contextmanager
    def copied(self) -> Iterator[None]:
        """A second database, the first one's copy, for as long as it is damaged."""
        remove = f"DROP DATABASE IF EXISTS {NOW} WITH (FORCE)"
        self.primary.sql(remove, f"CREATE DATABASE {NOW} TEMPLATE {THEN}", database="postgres")
        try:
            yield
        finally:
            self.primary.sql(remove, database="postgres")


def _named(found: Iterable[Difference]) -> tuple[tuple[str, str], ...]:
    return tuple((one.table, one.what) for one in found)


@contextmanager
def engine() -> Iterator[Engine]:
    """A primary with sound rows, and its standby."""
    with folder_for_server() as one, folder_for_server() as two:
        primary = Server(one)
        primary.create()
        try:
            primary.sql("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()", database="postgres")
            primary.sql(f"CREATE DATABASE {THEN} TEMPLATE {DATABASE}", database="postgres")
            rows = Validated(primary, THEN)
            rows.fill(ORDERS)
            rows.sql(*MORE)
            standby = primary.standby(two)
            try:
                yield Engine(primary, standby)
            finally:
                standby.stop()
        finally:
            primary.stop()
