"""Each thing that can be otherwise than declared is told, with its table and what it is, by the check of structure."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inventories.catalog import load_tables
from inventories.catalog.tables import Store
from runbooks.probes.postgresql import access, chunks
from runbooks.probes.postgresql.schema import LiveTable
from runbooks.probes.postgresql.structure import Job, Structure, Structures
from runbooks.validation import structure
from runbooks.validation.run import Level
from tests.unit.postgres_server import Server
from tests.unit.test_probe_schema import LIVE as AS_DECLARED
from tests.unit.validation_kit import Validated, validated


@pytest.fixture
def database(copying_server: Server) -> Iterator[Validated]:
    with validated(copying_server, 1000) as made:
        yield made


def test_what_is_as_declared_differs_in_nothing(database: Validated) -> None:
    assert database.told(Level.QUICK) == []
    looked = database.looked(Level.QUICK)
    assert [one.check.value for one in looked] == ["structure", "empty", "completeness", "freshness"]
    assert all(one.number for one in looked)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("DROP TABLE fund_flow", "fund_flow: table: expected there, found missing"),
        ("DROP TABLE dr_probe", "dr_probe: table: expected there, found missing"),
        ("CREATE TABLE by_hand (a int)", "by_hand: table: expected none of that name, found one of postgres"),
        ("CREATE SCHEMA s CREATE TABLE t (a int)", "s.t: table: expected none of that name, found one of postgres"),
        (
            "ALTER TABLE fund_flow DROP COLUMN description",
            "fund_flow: column description: expected text, found missing",
        ),
        ("ALTER TABLE fund_flow ADD COLUMN more int", "fund_flow: column more: expected none, found integer"),
        (
            "ALTER TABLE fund_flow ALTER amount TYPE numeric(24,2)",
            "fund_flow: column amount: expected numeric(24,4) not null, found numeric(24,2) not null",
        ),
        (
            "ALTER TABLE fund_flow ALTER amount DROP NOT NULL",
            "fund_flow: column amount: expected numeric(24,4) not null, found numeric(24,4)",
        ),
        (
            "ALTER TABLE fund_flow DROP CONSTRAINT fund_flow_pkey",
            "fund_flow: primary key: expected (flow_id), found ()",
        ),
        (
            "DROP INDEX ix_fund_flow_account_id_flow_time",
            "fund_flow: index on (account_id, flow_time): expected a b-tree, found missing",
        ),
        (
            "CREATE INDEX more ON fund_flow (amount)",
            "fund_flow: index more: expected none, found CREATE INDEX more ON public.fund_flow USING btree (amount)",
        ),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_fund_flow_account_id_flow_time'::regclass",
            "fund_flow: index ix_fund_flow_account_id_flow_time: expected valid, found invalid",
        ),
        ("ALTER TABLE fund_flow ALTER amount SET DEFAULT 0", "fund_flow: default of amount: expected none, found 0"),
        (
            "ALTER TABLE fund_flow ADD CONSTRAINT c CHECK (amount > 0) NOT VALID",
            "fund_flow: constraint c: expected none, found CHECK ((amount > (0)::numeric)) NOT VALID",
        ),
        (
            "CREATE TRIGGER tr BEFORE UPDATE ON fund_flow FOR EACH ROW "
            "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "fund_flow: trigger tr: expected none, found CREATE TRIGGER tr BEFORE UPDATE ON public.fund_flow FOR EACH "
            "ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        ),
        (
            "ALTER TABLE fund_flow DROP CONSTRAINT fund_flow_pkey; "
            "CREATE TABLE whole (LIKE fund_flow) PARTITION BY LIST (flow_id); "
            "ALTER TABLE whole ATTACH PARTITION fund_flow DEFAULT",
            "fund_flow: table: expected one of its own, found an extension's, or a partition of another",
        ),
        (
            "REVOKE USAGE ON SCHEMA public FROM writer, PUBLIC",
            "(database): role writer: expected may use schema public, found may not",
        ),
        (
            "GRANT CREATE ON SCHEMA public TO reader",
            "(database): powers of role reader: expected none, found creates in public",
        ),
        ("ALTER TABLE fund_flow SET UNLOGGED", "fund_flow: persistence: expected logged, found unlogged: no standby"),
        ("ALTER TABLE fund_flow ENABLE ROW LEVEL SECURITY", "fund_flow: row security: expected off, found on"),
        (
            "GRANT DELETE ON fund_flow TO writer",
            "fund_flow: grants of writer: expected INSERT, SELECT, UPDATE, found DELETE, INSERT, SELECT, UPDATE",
        ),
        ("REVOKE ALL ON fund_flow FROM reader", "fund_flow: grants of reader: expected SELECT, found nothing"),
        ("GRANT SELECT ON fund_flow TO PUBLIC", "fund_flow: grants of PUBLIC: expected nothing, found SELECT"),
        (
            "GRANT UPDATE (amount) ON fund_flow TO reader",
            "fund_flow: grants on column amount: expected none, found some",
        ),
        ("ALTER TABLE fund_flow OWNER TO writer", "fund_flow: owner: expected neither writer nor reader, found writer"),
    ],
)
def test_each_alteration_is_told_with_what_was_expected_and_found(
    database: Validated, damage: str, told: str
) -> None:
    database.sql(*damage.split("; "))
    found = [line for line in database.told(Level.QUICK) if line.startswith("structure: ")]
    if "PARTITION" in damage:
        found = [line for line in found if ": whole: " not in line and "primary key" not in line]
    assert any(line.startswith(f"structure: {told}") for line in found), found
    assert {line.split(": ")[1] for line in found} == {told.partition(":")[0]}, "another table was blamed"


def test_a_sequence_that_is_behind_is_told_and_one_that_left_numbers_out_is_not(database: Validated) -> None:
    """One that goes down, and one that a text is made of, say nothing about the largest value."""
    database.sql(
        "INSERT INTO dr_probe (run) SELECT 'r' FROM generate_series(1, 5)",
        "SELECT setval('dr_probe_probe_id_seq', 40)",
        "CREATE SEQUENCE down INCREMENT -1", "CREATE SEQUENCE names",
        "ALTER SEQUENCE down OWNED BY order_records.quantity", "ALTER SEQUENCE names OWNED BY order_records.order_id",
    )  # fmt: skip
    assert database.told(Level.QUICK) == []
    database.sql("SELECT setval('dr_probe_probe_id_seq', 4)")
    assert database.told(Level.QUICK) == [
        "structure: dr_probe: sequence dr_probe_probe_id_seq: expected at least 5, found 4, and probe_id has 5 already"
    ]


def of_community(**facts: object) -> list[str]:
    """What is told of a table with retention and compression, on a server that has policies."""
    tables = load_tables()
    table = next(one for one in tables.of(Store.POSTGRESQL) if one.retention_days and one.compress_after_days)
    indexes = [
        {"name": f"i{i}", "definition": "", "primary": False, "valid": True, "plain": True, "columns": one.columns}
        for i, one in enumerate(table.indexes)
    ]
    jobs = (
        Job(procedure="policy_retention", scheduled=True, after_s=table.retention_days * 86400),
        Job(procedure="policy_compression", scheduled=True, after_s=table.compress_after_days * 86400),
    )
    usual = {"name": table.name, "indexes": indexes, "chunk_s": 90 * 86400, "dimensions": 1, "jobs": jobs}
    one = Structure.model_validate(usual | facts)
    more = Structures(tables={table.name: one}, timescale=True, policies=True)
    live: dict[str, LiveTable] = dict(AS_DECLARED)
    return [str(line) for line in structure.judge(tables, live, more) if line.table == table.name]


def test_hypertables_are_held_against_their_chunks_and_policies() -> None:
    assert of_community() == []
    name = "structure: technical_indicators"
    assert of_community(chunk_s=86400.0) == [f"{name}: chunk interval: expected 3 months, found 1 days"]
    assert of_community(dimensions=2) == [f"{name}: dimensions: expected 1, found 2"]
    assert of_community(jobs=()) == [
        f"{name}: policy retention: expected after 3650 days, found none",
        f"{name}: policy compression: expected after 180 days, found none",
    ]
    assert of_community(disabled=("ts_insert_blocker",)) == [
        f"{name}: trigger ts_insert_blocker: expected enabled, found disabled"
    ]
    early = Job(procedure="policy_retention", scheduled=False, after_s=86400)
    late = Job(procedure="policy_compression", scheduled=True, after_s=180 * 86400)
    assert of_community(jobs=(early, late)) == [
        f"{name}: policy retention: expected after 3650 days, found after 1 days, not scheduled"
    ]


@pytest.mark.parametrize(
    ("damage", "undo", "told"),
    [
        (
            "ALTER ROLE writer SET synchronous_commit = off", "ALTER ROLE writer RESET synchronous_commit",
            "settings of role writer: expected none, found synchronous_commit=off",
        ),
        (
            "GRANT writer TO reader", "REVOKE writer FROM reader",
            "membership of role reader: expected none, found writer",
        ),
        ("ALTER ROLE reader NOLOGIN", "ALTER ROLE reader LOGIN", "role reader: expected may log in, found may not"),
        (
            "ALTER ROLE reader BYPASSRLS CREATEDB", "ALTER ROLE reader NOBYPASSRLS NOCREATEDB",
            "powers of role reader: expected none, found bypasses row security, creates databases",
        ),
        ("ALTER ROLE reader RENAME TO nobody", "ALTER ROLE nobody RENAME TO reader", "role reader: expected there"),
    ],
)
def test_what_a_role_may_beside_its_tables_is_told(database: Validated, damage: str, undo: str, told: str) -> None:
    database.sql(damage)
    try:
        found = [str(one) for one in structure.of_roles(access.read(database.asked.query))]
    finally:
        database.sql(undo)
    assert len(found) == 1 and found[0].startswith(f"structure: (database): {told}")


def test_what_a_chunk_lacks_of_its_hypertable_is_told(database: Validated) -> None:
    """Chunks are tables of their own: heirs of the hypertable, whose indexes each has again."""
    database.sql(
        "CREATE TABLE hyper (a int, b int, at timestamptz NOT NULL, PRIMARY KEY (a, at))", "CREATE INDEX ON hyper (b)",
        *(f"CREATE TABLE chunk_{i} (LIKE hyper INCLUDING INDEXES, CONSTRAINT constraint_{i} CHECK (a < {i})) "
          "INHERITS (hyper)" for i in (1, 2, 3)),
    )  # fmt: skip

    def found() -> list[str]:
        hyper = "SELECT 'hyper'::regclass"
        return [str(one) for one in structure.of_chunks(chunks.read(database.asked.query, hyper))]

    assert found() == [] and chunks.read(database.asked.query) == ()
    database.sql(
        "ALTER TABLE chunk_1 DROP CONSTRAINT chunk_1_pkey", "ALTER TABLE chunk_3 DROP CONSTRAINT chunk_3_pkey",
        "CREATE INDEX ON chunk_3 (a, at)", "DROP INDEX chunk_2_b_idx", "ALTER TABLE chunk_2 SET UNLOGGED",
        "ALTER TABLE chunk_3 DROP CONSTRAINT constraint_3",
    )  # fmt: skip
    assert found() == [
        "structure: hyper: index of chunks on (b): expected one, found none in 1, chunk_2 for one",
        "structure: hyper: persistence of chunks: expected logged, found none in 1, chunk_2 for one",
        "structure: hyper: range of chunks: expected a constraint, found none in 1, chunk_3 for one",
        "structure: hyper: unique index of chunks on (a, at): expected one, found none in 2, chunk_1 for one",
    ]
