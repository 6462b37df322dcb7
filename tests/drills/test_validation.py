"""`./dr validate --store postgresql` on real hosts under a feed: nothing that is whole is called otherwise, and damage
by hand is named with its table, row and column.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inventories.catalog.load import load_tables
from inventories.catalog.postgresql.ddl import PROBE
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.probes.postgresql import server
from runbooks.probes.postgresql.tables import Server
from runbooks.validation import yielding
from tests.drills import estate as seen
from tests.drills import side_kit
from tests.drills.doors import Ended, dr

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.timeout(600)]
DATABASE = "quant_research"
RUNS = 5
FILL = """
INSERT INTO system_config (event_id, config_key, config_value, updated_at)
  SELECT i, 'key' || i, 'value-' || i, now() FROM generate_series(101, 120) i ON CONFLICT DO NOTHING;
"""
# Other tests of this lab leave tables, which are in no catalogue, and fills whose order a twin has taken out.
# An extension's own are not listed.
OF_NOBODY = """
SELECT relname AS name FROM pg_class c WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND deptype = 'e')
"""
# From here on no WAL has a page of it, and a standby that starts again would not mend what is damaged there.
AT_REST = "VACUUM (FREEZE) system_config; CHECKPOINT;"
UNFILL = "DELETE FROM system_config WHERE event_id BETWEEN 101 AND 120; VACUUM FULL system_config;"
# On the standby's own file, which no WAL tells of: one value altered, one row out of its page.
ALTER = """
set -e
systemctl stop postgresql@17-main
cd /var/lib/postgresql/17/main
bin=/usr/lib/postgresql/17/bin
runuser -u postgres -- $bin/pg_checksums --disable -D . >/dev/null
python3 - "$1" <<'END'
import struct, sys
path = sys.argv[1]
data = bytearray(open(path, "rb").read())
at = data.index(b"value-107")
data[at:at + 9] = b"value-1O7"
at = data.index(b"value-113")
page = at // 8192 * 8192
(lower,) = struct.unpack_from("<H", data, page + 12)
for pointer in range(page + 24, page + lower, 4):
    (word,) = struct.unpack_from("<I", data, pointer)
    if page + (word & 0x7FFF) <= at < page + (word & 0x7FFF) + (word >> 17):
        struct.pack_into("<I", data, pointer, 0)
        break
else:
    sys.exit("no row there")
open(path, "r+b").write(data)
END
runuser -u postgres -- $bin/pg_checksums --enable -D . >/dev/null
systemctl start postgresql@17-main
"""


def validate(*words: str) -> Ended:
    return dr("validate", "--store", "postgresql", *words)


def lines(ended: Ended) -> list[str]:
    """What differs, a line each."""
    return [line for line in ended.out.splitlines() if ": expected " in line]


@pytest.fixture(scope="module")
def whole(estate_lab: Estate, tmp_path_factory: pytest.TempPathFactory) -> Estate:
    """An estate with rows of a feed: without any a validation proves nothing."""
    made = seen.make_whole(estate_lab)
    primary = side_kit.primary(made)
    there = {row["name"] for row in primary.query(OF_NOBODY, DATABASE)}
    declared = {*load_tables().tables, PROBE}
    gone = [f'DROP TABLE public."{name}" CASCADE;' for name in sorted(there - declared)]
    primary.execute("".join([*gone, f"TRUNCATE {', '.join(sorted(there & declared))} CASCADE;"]), DATABASE)
    with seen.load(made, tmp_path_factory.mktemp("feed"), 1000):
        time.sleep(5)
    return made


@contextmanager
def damaged(primary: Host, damage: str, undo: str) -> Iterator[None]:
    primary.execute(damage, DATABASE)
    try:
        yield
    finally:
        primary.execute(undo, DATABASE)


def _position(host: Host) -> str:
    return str(host.query("SELECT pg_current_wal_flush_lsn() AS at")[0]["at"])


def primary_of(estate: Estate) -> Host:
    return server.the_primary(server.survey(estate)).host


def test_an_estate_as_deployed_is_whole(whole: Estate) -> None:
    ended = validate()
    assert ended.code == 0, ended.out
    assert lines(ended) == []
    assert ended.out.splitlines()[-1].startswith("Whole: ")


@pytest.mark.parametrize(
    ("damage", "undo", "told"),
    [
        (
            "DROP INDEX ix_daily_kline_trade_date",
            "CREATE INDEX ix_daily_kline_trade_date ON daily_kline (trade_date)",
            "structure: daily_kline: index on (trade_date): expected a b-tree, found missing",
        ),
        (
            "SELECT set_chunk_time_interval('order_records', interval '7 days')",
            "SELECT set_chunk_time_interval('order_records', interval '1 day')",
            "structure: order_records: chunk interval: expected 1 day, found 7 days",
        ),
        (
            "GRANT DELETE ON order_records TO writer", "REVOKE DELETE ON order_records FROM writer",
            "structure: order_records: grants of writer: expected INSERT, SELECT, UPDATE, "
            "found DELETE, INSERT, SELECT, UPDATE",
        ),
        (
            "CREATE TABLE by_hand (a int)", "DROP TABLE by_hand",
            "structure: by_hand: table: expected none of that name, found one of postgres",
        ),
    ],
)  # fmt: skip
def test_structure_altered_by_hand_is_named(whole: Estate, damage: str, undo: str, told: str) -> None:
    with damaged(primary_of(whole), damage, undo):
        ended = validate()
        assert (ended.code, lines(ended)) == (1, [told])
    assert validate().code == 0


def test_what_a_chunk_alone_lacks_and_sessions_that_do_not_wait_are_named(whole: Estate) -> None:
    primary = primary_of(whole)
    index = (
        "(SELECT indexrelid FROM pg_index WHERE indrelid = (SELECT c FROM show_chunks('order_records') c LIMIT 1) "
        "AND pg_get_indexdef(indexrelid) LIKE '%(strategy_id)')"
    )
    made = "UPDATE pg_index SET indisvalid = {} WHERE indexrelid = " + index
    with damaged(primary, made.format("false"), made.format("true")):
        [line] = lines(validate())
        assert line.startswith("structure: order_records: index of chunks on (strategy_id): expected one, found none")
    setting = "synchronous_commit"
    with damaged(primary, f"ALTER ROLE writer SET {setting} = off", f"ALTER ROLE writer RESET {setting}"):
        assert lines(validate()) == [
            "structure: (database): settings of role writer: expected none, found synchronous_commit=off"
        ]
    assert validate().code == 0


def test_a_standby_under_load_differs_in_nothing_and_damage_of_its_own_is_named(whole: Estate, tmp_path: Path) -> None:
    primary, standby = (whole.host(name) for name in seen.roles(whole))
    primary.execute(FILL, DATABASE)
    place = str(primary.query("SELECT pg_relation_filepath('system_config') AS at", DATABASE)[0]["at"])
    with seen.load(whole, tmp_path, 4000) as writing:
        for _ in range(RUNS):
            ended = validate("--against", "standby")
            assert (ended.code, lines(ended)) == (0, []), ended.out
            writing.writes_on()
    primary.execute(AT_REST, DATABASE)
    yielding.replayed(Server(standby, DATABASE), server.lsn(_position(primary)) or 0, 30)
    standby.execute("CHECKPOINT;")
    standby.run("sh -c %s sh %s", ALTER, place, timeout=120)
    until(lambda: seen.whole(whole), 90, what="a standby that streams", accept=bool)
    try:
        again = tmp_path / "again"
        again.mkdir()
        with seen.load(whole, again, 2000):
            ended = validate("--against", "standby")
        assert ended.code == 1
        assert [line for line in lines(ended) if "config_value" in line] == [
            "content: system_config: row config_key=key107: config_value: expected value-107, found value-1O7"
        ]
        assert [line.partition(": expected")[0] for line in lines(ended)] == [
            "content: system_config: row config_key=key107: config_value",
            "content: system_config: row config_key=key113",
        ]
    finally:
        primary.execute(UNFILL, DATABASE)
    assert validate("--against", "standby").code == 0


def test_rows_lost_since_a_baseline_are_named_by_their_day(whole: Estate, tmp_path: Path) -> None:
    kept = str(tmp_path / "kept.json")
    assert validate("--save-baseline", "--baseline", kept).code == 0
    assert validate("--against", "baseline", "--baseline", kept).code == 0
    primary = primary_of(whole)
    lost = "DELETE FROM transaction_records WHERE event_id = (SELECT max(event_id) FROM transaction_records)"
    rows = "SELECT json_agg(t) AS rows FROM (SELECT * FROM transaction_records ORDER BY event_id DESC LIMIT 1) t"
    row = json.dumps(primary.query(rows, DATABASE)[0]["rows"]).replace("'", "''")
    back = f"INSERT INTO transaction_records SELECT * FROM json_populate_recordset(NULL::transaction_records, '{row}')"
    with damaged(primary, lost, back):
        ended = validate("--against", "baseline", "--baseline", kept)
        [line] = lines(ended)
        assert line.startswith("content: transaction_records: rows of ")
    other = json.loads(Path(kept).read_text())
    other["moment"]["system"] = "1"
    Path(kept).write_text(json.dumps(other))
    ended = validate("--against", "baseline", "--baseline", kept)
    assert ended.code == 3
    assert "of another estate" in ended.err


def test_rules_name_the_row_that_breaks_them(whole: Estate) -> None:
    primary = primary_of(whole)
    # A fill that is twice what was ordered.
    one = "event_id = (SELECT min(event_id) FROM transaction_records)"
    with damaged(
        primary, f"UPDATE transaction_records SET quantity = quantity * 2, amount = amount * 2 WHERE {one}",
        f"UPDATE transaction_records SET quantity = quantity / 2, amount = amount / 2 WHERE {one}",
    ):  # fmt: skip
        ended = validate("--level", "full")
        found = lines(ended)
    assert ended.code == 1
    assert len(found) == 1
    assert found[0].startswith("rule: transaction_records: fills-within-order: O")
    assert validate("--level", "full").code == 0
