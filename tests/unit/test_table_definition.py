"""What pg_dump says of a table, taken apart: statements, sections, what TimescaleDB does not take."""

from __future__ import annotations

import json

from runbooks.table_copy import definition, write
from runbooks.table_copy.counts import Making
from runbooks.table_copy.pair import Pair
from runbooks.table_copy.shape import Shape

DUMP = r"""\restrict abc
-- Name: odd; Type: TABLE
SET default_tablespace = '';
SELECT pg_catalog.set_config('search_path', '', false);
CREATE TABLE public.t (
    id integer DEFAULT 1, -- ; no end
    note text DEFAULT 'it''s; $$'
);
COMMENT ON TABLE public.t IS 'a; /* b */ "c"';
CREATE RULE both AS ON DELETE TO public.t DO (SELECT 1; SELECT 2);
/* ; */
ALTER TABLE ONLY public."o;dd" ADD CONSTRAINT x CHECK (("a;b" <> $q$;$q$));
\unrestrict abc
"""
PARTITION = """
CREATE TABLE public.p1 (id integer); ALTER TABLE ONLY public.p ATTACH PARTITION public.p1 FOR VALUES IN (1);
"""
INDEXES = "ALTER TABLE ONLY public.p1 ADD CONSTRAINT p1_pkey PRIMARY KEY (id); ALTER INDEX public.p_pkey ATTACH PARTITION public.p1_pkey;"  # noqa: E501


def table(name: str, **more: object) -> Shape:
    return Shape.model_validate({"name": name, "columns": (), **more})


def test_a_dump_is_taken_apart_where_its_statements_end() -> None:
    found = definition.statements(DUMP)
    assert [line.split()[0] for line in found] == ["SET", "SELECT", "CREATE", "COMMENT", "CREATE", "ALTER"]
    assert found[2].endswith("""note text DEFAULT 'it''s; $$'\n)""")
    assert found[4].endswith("DO (SELECT 1; SELECT 2)")
    assert not any("restrict" in line for line in found)
    assert [definition.says(line) for line in found] == [False, False, True, True, True, True]


def test_a_partition_of_a_living_table_is_attached_with_its_own_indexes() -> None:
    alone = definition.making(PARTITION, INDEXES, [table("p1")])
    assert [line.split()[0] for line in alone.before[:2]] == ["CREATE", "DO"], "made, and default privileges taken back"
    assert not any("ATTACH" in line for line in alone.before)
    at = [nr for nr, line in enumerate(alone.after) if "ATTACH PARTITION public.p1 " in line]
    assert "PRIMARY KEY" in alone.after[at[0] - 1] and alone.after[at[0] + 1].startswith("ALTER INDEX")
    both = definition.making(PARTITION, INDEXES, [table("p", partitioned=True), table("p1")])
    assert any("ATTACH" in line for line in both.before)


def test_a_hypertable_is_made_one_before_its_rows_and_takes_no_only() -> None:
    facts = ("SELECT create_hypertable('public.\"T\"', by_range('at'))",)
    shape = table("T", hypertable=True, facts=facts, policies=("SELECT add_retention_policy('x')",))
    blocker = (
        'CREATE TRIGGER ts_insert_blocker BEFORE INSERT ON public."T" FOR EACH ROW '
        "EXECUTE FUNCTION _timescaledb_functions.insert_blocker();"
    )
    key = 'ALTER TABLE ONLY public."T"\n    ADD CONSTRAINT k PRIMARY KEY (at);'
    made = definition.making('CREATE TABLE public."T" (at date);', key + blocker, [shape])
    assert made.before[-1] == facts[0]
    assert made.after[0] == 'ALTER TABLE public."T"\n    ADD CONSTRAINT k PRIMARY KEY (at)'
    assert made.after[-1] == shape.policies[0]
    assert not any("ts_insert_blocker" in line for line in made.after)


def test_a_trigger_of_a_hypertable_fires_as_it_did_also_where_timescaledb_takes_no_alter_of_it() -> None:
    states = 'ALTER TABLE public."T" ENABLE ALWAYS TRIGGER a; ALTER TABLE public.u DISABLE TRIGGER b;'
    made = definition.making("", states, [table("T", hypertable=True), table("u")])
    assert made.after[1] == "ALTER TABLE public.u DISABLE TRIGGER b"
    body = made.after[0].removeprefix("DO LANGUAGE plpgsql ")
    assert body.count('ALTER TABLE public."T" ENABLE ALWAYS TRIGGER a;') == 2
    refused, restoring = body.index("EXCEPTION WHEN feature_not_supported"), body.index("'timescaledb.restoring'")
    assert body.index("ALTER TABLE") < refused < restoring < body.rindex("ALTER TABLE") < body.rindex("'off'")
    assert [definition.says(line) for line in made.after[:2]] == [True, True], "a state that is missing is told"


def test_triggers_of_a_hypertable_and_its_chunks_are_stopped_each_by_itself() -> None:
    names = {"name": "a", "enabled": "A"}, {"name": "a", "table": "_timescaledb_internal.c1", "enabled": "R"}
    shape = table("T", hypertable=True, triggers=names[:1], chunk_triggers=names[1:])
    off, on = write.hooks([Pair(shape, shape)])
    chunk = '"_timescaledb_internal"."c1"'
    assert [line.rstrip(";") for line in off.splitlines()] == [
        "SET LOCAL timescaledb.restoring = on", 'ALTER TABLE "public"."T" DISABLE TRIGGER "a"',
        f'ALTER TABLE {chunk} DISABLE TRIGGER "a"', "SET LOCAL timescaledb.restoring = off",
    ]  # fmt: skip
    assert f'ALTER TABLE {chunk} ENABLE REPLICA TRIGGER "a"' in on and "restoring = off" in on.splitlines()[-1]
    assert shape.hooks == ("trigger a",), "told once, however many chunks have it"
    chunked = table("T", hypertable=True, chunk_triggers=names[1:])
    assert chunked.stubborn and chunked.waits and chunked.hooks == ("trigger a",)
    plain = table("u", triggers=names[:1])
    assert "restoring" not in "".join(write.hooks([Pair(plain, plain)]))
    assert write.hooks([Pair(table("v", hypertable=True), table("v", hypertable=True))]) == ("", "")


def test_a_statement_that_fails_is_left_out_and_one_that_waited_is_not() -> None:
    lines = ("CREATE TABLE a ()", "GRANT SELECT ON a TO gone", "CREATE TRIGGER t")
    said = "\n".join(["", json.dumps([1, 'role "gone" does not exist']), json.dumps([2, "due to lock timeout"])])
    failed = definition.failed(said, lines)
    assert failed == {lines[1]: 'role "gone" does not exist'}
    assert definition.without(Making(before=lines[:1], after=lines[1:]), failed).after == lines[2:]
    assert definition.essential(lines[0]) and not definition.essential(lines[1])
