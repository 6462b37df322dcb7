"""The questions that runbooks/probes/postgresql/tables.py asks: SQL alone.

Expressions are written as a session reads them whose search path is public, as the sessions that compare and write.
"""

from __future__ import annotations

from collections.abc import Iterable

from runbooks.table_copy.names import PUBLIC, literal, split

OF_USERS = r"n.nspname !~ '^(pg_|_timescaledb_|timescaledb_)' AND n.nspname <> 'information_schema'"

HAS_TIMESCALE = "to_regclass('_timescaledb_catalog.hypertable') IS NOT NULL"
NO_HYPERTABLES = "SELECT oid FROM pg_class WHERE false"
HYPERTABLES = (
    "SELECT x.oid FROM _timescaledb_catalog.hypertable h JOIN pg_namespace n ON n.nspname = h.schema_name "
    "JOIN pg_class x ON x.relname = h.table_name AND x.relnamespace = n.oid"
)
_LOOK = f"""
SELECT {HAS_TIMESCALE} AS has_timescale \\gset
\\set hypertables {literal(NO_HYPERTABLES)}
\\if :has_timescale
\\set hypertables {literal(HYPERTABLES)}
\\endif
"""


def chunks(hypertables: str) -> str:
    """Their chunks, whatever schema those are in: nobody's tables, and no heirs of whom anybody asks."""
    return f"SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent IN ({hypertables})"


NAMES = f"""{_LOOK}
SELECT coalesce(json_agg(json_build_object('schema', n.nspname, 'table', c.relname)), '[]')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND {OF_USERS}
  AND c.oid NOT IN ({chunks(":hypertables")});
"""

CALLED = """
SELECT json_build_object('schema', n.nspname, 'table', c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND c.oid = @OID@;
"""
SEQUENCES = """
SELECT coalesce(json_agg(format('%I.%I', n.nspname, c.relname)), '[]')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S';
"""
# Which of these objects, (type, identity) each, are not there.
ABSENT = """
SELECT coalesce(json_agg(json_build_array(type, identity)), '[]') FROM (VALUES @WANTED@) w(type, identity)
WHERE NOT CASE type WHEN 'function' THEN to_regprocedure(identity) IS NOT NULL
  WHEN 'policy' THEN EXISTS (SELECT FROM pg_policy p
    WHERE (pg_identify_object('pg_policy'::regclass, p.oid, 0)).identity = w.identity)
  ELSE to_regclass(identity) IS NOT NULL END;
"""

_FACTS = r"""
WITH wanted AS MATERIALIZED (
  SELECT c.*, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'f') AND (n.nspname, c.relname) IN (@WANTED@)),
hypertables AS MATERIALIZED (:hypertables),
chunks (oid) AS MATERIALIZED (@CHUNKS@),
bequeathing AS (
  SELECT DISTINCT p.oid FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent AND p.relkind = 'r'
  WHERE p.oid NOT IN (SELECT oid FROM hypertables)),
fks AS MATERIALIZED (
  SELECT o.conrelid, o.confrelid, o.conname, json_build_object('name', o.conname,
    'child', json_build_object('schema', rn.nspname, 'table', r.relname),
    'parent', json_build_object('schema', pn.nspname, 'table', p.relname),
    'columns', (SELECT json_agg(a.attname ORDER BY k.nr) FROM unnest(o.conkey) WITH ORDINALITY k(attnum, nr)
       JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.attnum),
    'parent_columns', (SELECT json_agg(a.attname ORDER BY k.nr) FROM unnest(o.confkey) WITH ORDINALITY k(attnum, nr)
       JOIN pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.attnum),
    'definition', pg_get_constraintdef(o.oid), 'on_delete', o.confdeltype, 'on_update', o.confupdtype,
    'full', o.confmatchtype = 'f', 'inherited', o.conparentid <> 0,
    'top_name', coalesce(top.conname, ''), 'top_definition', coalesce(pg_get_constraintdef(top.oid), ''),
    'top_child', json_build_object('schema', coalesce(top.nspname, ''), 'table', coalesce(top.relname, '')),
    'child_alone', o.conrelid IN (SELECT oid FROM bequeathing),
    'parent_alone', o.confrelid IN (SELECT oid FROM bequeathing)) AS fk,
    -- Of a partitioned table each partition has the key too, at either end.
    up.oid IS NULL OR up.conrelid <> o.conrelid AS of_child, up.oid IS NULL OR up.confrelid <> o.confrelid AS of_parent
  FROM pg_constraint o JOIN pg_class r ON r.oid = o.conrelid JOIN pg_namespace rn ON rn.oid = r.relnamespace
    JOIN pg_class p ON p.oid = o.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
    LEFT JOIN pg_constraint up ON up.oid = o.conparentid
    LEFT JOIN LATERAL (
      WITH RECURSIVE higher AS (
        SELECT o.conparentid AS id, 1 AS level
        UNION ALL SELECT c.conparentid, level + 1 FROM higher h JOIN pg_constraint c ON c.oid = h.id
          WHERE c.conparentid <> 0)
      SELECT c.oid, c.conname, n.nspname, t.relname FROM higher h JOIN pg_constraint c ON c.oid = h.id
        JOIN pg_class t ON t.oid = c.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace
      ORDER BY h.level DESC LIMIT 1) top ON true
  WHERE o.contype = 'f' AND rn.nspname !~ '^_timescaledb_' AND pn.nspname !~ '^_timescaledb_'
    AND o.conrelid NOT IN (SELECT oid FROM chunks) AND o.confrelid NOT IN (SELECT oid FROM chunks)
    AND (o.conrelid IN (SELECT oid FROM wanted) OR o.confrelid IN (SELECT oid FROM wanted))),
keys AS MATERIALIZED (
  SELECT DISTINCT ON (i.indrelid) i.* FROM pg_index i JOIN wanted c ON c.oid = i.indrelid
  WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT EXISTS (
    SELECT FROM unnest(i.indkey) WITH ORDINALITY k(attnum, nr) JOIN pg_attribute a ON a.attrelid = c.oid
      AND a.attnum = k.attnum WHERE k.nr <= i.indnkeyatts AND NOT a.attnotnull)
  ORDER BY i.indrelid, i.indisprimary DESC, i.indimmediate DESC, i.indnkeyatts, i.indexrelid),
hooks AS (
  SELECT w.oid AS of, 'trigger' AS kind, t.tgname AS name, t.tgenabled AS enabled, NULL::json AS "table"
    FROM wanted w JOIN pg_trigger t ON t.tgrelid = w.oid
    JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_namespace n ON n.oid = f.pronamespace
    WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND n.nspname !~ '^_timescaledb_'
  UNION ALL SELECT w.oid, 'trigger', t.tgname, t.tgenabled, json_build_object('schema', n.nspname, 'table', p.relname)
    FROM wanted w, pg_partition_tree(w.oid) b JOIN pg_class p ON p.oid = b.relid
    JOIN pg_namespace n ON n.oid = p.relnamespace JOIN pg_trigger t ON t.tgrelid = p.oid
    WHERE w.relkind = 'p' AND p.oid <> w.oid AND NOT t.tgisinternal
      AND (t.tgenabled IN ('A', 'R') OR t.tgenabled = 'O' AND t.tgparentid = 0)
  UNION ALL SELECT ev_class, 'rule', rulename, ev_enabled, NULL FROM pg_rewrite
    WHERE rulename <> '_RETURN' AND ev_enabled <> 'D'),
taken AS (
  SELECT d.refobjid AS of, d.refobjsubid AS attnum, d.objid AS seq FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
      AND d.refobjsubid > 0
  UNION SELECT a.adrelid, a.adnum, d.refobjid FROM pg_attrdef a JOIN pg_depend d ON d.objid = a.oid
    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass)
SELECT coalesce(json_agg(row_to_json(q)), '[]') FROM (
SELECT json_build_object('schema', c.nspname, 'table', c.relname) AS name, c.oid::bigint AS oid,
  coalesce((SELECT json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
       'number', a.attnum, 'type_id', a.atttypid::bigint, 'nullable', NOT a.attnotnull,
       'generated', a.attgenerated <> '', 'always', a.attidentity = 'a',
       'filled', (a.atthasdef AND a.attgenerated = '') OR a.attidentity <> '',
       'folds', coalesce(NOT o.collisdeterministic, false), 'domain', y.typtype = 'd',
       'labels', coalesce((SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e
          WHERE e.enumtypid IN (y.oid, y.typelem, b.oid, b.typelem)), '[]')) ORDER BY a.attnum)
     FROM pg_attribute a LEFT JOIN pg_collation o ON o.oid = a.attcollation
       JOIN pg_type y ON y.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = y.typbasetype
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]') AS columns,
  coalesce((SELECT json_agg(a.attname ORDER BY k.nr)
     FROM keys i, unnest(i.indkey) WITH ORDINALITY k(attnum, nr), pg_attribute a
     WHERE i.indrelid = c.oid AND k.nr <= i.indnkeyatts AND a.attrelid = c.oid AND a.attnum = k.attnum), '[]') AS key,
  coalesce((SELECT NOT i.indimmediate FROM keys i WHERE i.indrelid = c.oid), false) AS deferred,
  coalesce((SELECT json_agg(json_build_object('name', x.relname, 'nulls_equal', i.indnullsnotdistinct,
       'deferred', NOT i.indimmediate,
       'definition', pg_get_indexdef(i.indexrelid),
       'predicate', coalesce(pg_get_expr(i.indpred, i.indrelid), ''),
       'elements', (SELECT json_agg(json_build_array(pg_get_indexdef(i.indexrelid, k::int, true), coalesce(
            (SELECT format('OPERATOR(%I.%s)', n.nspname, op.oprname) FROM pg_operator op
               JOIN pg_namespace n ON n.oid = op.oprnamespace WHERE op.oid = o.conexclop[k]), '=')) ORDER BY k)
          FROM generate_series(1, i.indnkeyatts) k)) ORDER BY x.relname)
     FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
       LEFT JOIN pg_constraint o ON o.conindid = i.indexrelid AND o.contype = 'x'
     WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) AND i.indisready
       AND i.indexrelid NOT IN (SELECT indexrelid FROM keys)), '[]') AS uniques,
  coalesce((SELECT json_agg(json_build_object('name', o.conname, 'expression', pg_get_expr(o.conbin, o.conrelid),
       'valid', o.convalidated) ORDER BY o.conname)
     FROM pg_constraint o WHERE o.conrelid = c.oid AND o.contype = 'c'), '[]') AS checks,
  coalesce((SELECT json_agg(f.fk ORDER BY f.conname) FROM fks f
     WHERE f.conrelid = c.oid AND f.of_child), '[]') AS foreign_keys,
  coalesce((SELECT json_agg(f.fk ORDER BY f.conname) FROM fks f
     WHERE f.confrelid = c.oid AND f.of_parent), '[]') AS referred_by,
  coalesce((SELECT json_agg(json_build_object('name', format('%I.%I', n.nspname, s.relname), 'column', a.attname,
       'last', pg_sequence_last_value(s.oid), 'start', q.seqstart, 'step', q.seqincrement, 'low', q.seqmin,
       'high', q.seqmax, 'cycles', q.seqcycle) ORDER BY a.attnum)
     FROM taken t JOIN pg_class s ON s.oid = t.seq AND s.relkind = 'S' JOIN pg_namespace n ON n.oid = s.relnamespace
       JOIN pg_sequence q ON q.seqrelid = s.oid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = t.attnum
     WHERE t.of = c.oid), '[]') AS sequences,
  coalesce((SELECT json_agg(json_build_object('name', h.name, 'enabled', h.enabled, 'table', coalesce(h."table",
       to_json(''::text))) ORDER BY h."table" IS NOT NULL, h.name)
     FROM hooks h WHERE h.of = c.oid AND h.kind = 'trigger'), '[]') AS triggers,
  coalesce((SELECT json_agg(json_build_object('name', h.name, 'enabled', h.enabled) ORDER BY h.name)
     FROM hooks h WHERE h.of = c.oid AND h.kind = 'rule'), '[]') AS rules,
  coalesce((SELECT json_agg(json_build_array(x.type, x.identity) ORDER BY x.type, x.identity) FROM (
     WITH RECURSIVE hanging(classid, objid) AS (
       SELECT 'pg_class'::regclass::oid, c.oid
       UNION SELECT x.classid, x.objid FROM hanging h, LATERAL (
         SELECT d.classid, d.objid FROM pg_depend d
           WHERE d.refclassid = h.classid AND d.refobjid = h.objid AND d.deptype = 'n'
         UNION ALL SELECT 'pg_type'::regclass::oid, t.oid FROM pg_type t
           WHERE h.classid = 'pg_class'::regclass AND t.typrelid = h.objid
         UNION ALL SELECT 'pg_class'::regclass::oid, r.ev_class FROM pg_rewrite r
           WHERE h.classid = 'pg_rewrite'::regclass AND r.oid = h.objid) x)
     SELECT i.type, i.identity FROM hanging h, pg_identify_object(h.classid, h.objid, 0) i
     WHERE i.type IN ('table', 'view', 'materialized view', 'function', 'policy')
       AND coalesce(i.schema, '') !~ '^_timescaledb_' AND (h.classid, h.objid) <> ('pg_class'::regclass::oid, c.oid)
       AND NOT (h.classid = 'pg_class'::regclass AND h.objid IN (SELECT oid FROM chunks))
       AND NOT (h.classid = 'pg_policy'::regclass AND EXISTS (SELECT FROM pg_policy p
         WHERE p.oid = h.objid AND p.polrelid = c.oid))) x), '[]') AS hanging,
  coalesce((SELECT json_agg(json_build_object('schema', n.nspname, 'table', p.relname) ORDER BY t.level, p.relname)
     FROM pg_partition_tree(c.oid) t JOIN pg_class p ON p.oid = t.relid JOIN pg_namespace n ON n.oid = p.relnamespace
     WHERE c.relkind = 'p' AND t.level > 0), '[]') AS partitions,
  coalesce((SELECT json_agg(x.line ORDER BY x.nr, x.line) FROM (
     SELECT 1 AS nr, pg_get_statisticsobjdef(s.oid) AS line FROM pg_statistic_ext s WHERE s.stxrelid = c.oid
     UNION ALL SELECT 2, format('%s STATISTICS %I.%I %s', more.verb, n.nspname, s.stxname, more.rest)
       FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace, LATERAL (VALUES
         ('ALTER', 'OWNER TO ' || quote_ident(pg_get_userbyid(s.stxowner))),
         ('ALTER', 'SET STATISTICS ' || CASE WHEN s.stxstattarget >= 0 THEN s.stxstattarget END),
         ('COMMENT ON', 'IS ' || quote_literal(obj_description(s.oid, 'pg_statistic_ext')))) more(verb, rest)
       WHERE s.stxrelid = c.oid AND more.rest IS NOT NULL
     UNION ALL SELECT 3, format('ALTER PUBLICATION %I ADD TABLE ONLY %I.%I%s%s', p.pubname, c.nspname, c.relname,
       (SELECT ' (' || string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) || ')' FROM pg_attribute a
          WHERE a.attrelid = c.oid AND a.attnum = ANY (r.prattrs::smallint[])),
       ' WHERE (' || pg_get_expr(r.prqual, c.oid) || ')')
     FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = c.oid) x), '[]') AS extras,
  (c.relreplident = 'n' OR (c.relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid
     AND i.indisprimary))) AND EXISTS (SELECT FROM pg_publication p JOIN pg_publication_tables t USING (pubname)
     WHERE p.pubdelete AND t.schemaname = c.nspname AND t.tablename = c.relname) AS undeletable,
  coalesce((SELECT json_agg(json_build_object('schema', n.nspname, 'table', p.relname) ORDER BY p.relname)
     FROM pg_partition_tree(c.oid) t JOIN pg_class p ON p.oid = t.relid JOIN pg_namespace n ON n.oid = p.relnamespace
     WHERE c.relkind = 'p' AND (p.relpersistence = 'u' OR p.relkind = 'f')), '[]') AS unheld,
  c.relpersistence = 'u' AS unlogged, c.relkind = 'p' AS partitioned, c.relkind = 'f' AS foreign,
  coalesce((SELECT sum(pg_total_relation_size(t.relid)) FROM pg_partition_tree(c.oid) t),
    pg_total_relation_size(c.oid))::bigint AS size_bytes
FROM wanted c ORDER BY c.nspname, c.relname) q;
"""

# What TimescaleDB knows: dimensions, the size of the chunks, compression and jobs, as the statements that make them.
_HYPERTABLES = r"""
SELECT coalesce(to_regclass('_timescaledb_config.bgw_job'), to_regclass('_timescaledb_catalog.bgw_job')) AS jobs \gset
\if :has_timescale
SELECT coalesce(json_agg(row_to_json(q)), '[]') FROM (
SELECT json_build_object('schema', h.schema_name, 'table', h.table_name) AS name, true AS hypertable,
  coalesce(hypertable_size(x.oid::regclass), 0) AS size_bytes,
  (SELECT coalesce(json_agg(json_build_object('name', t.tgname, 'enabled', t.tgenabled, 'table',
       json_build_object('schema', cn.nspname, 'table', c.relname)) ORDER BY c.oid, t.tgname), '[]')
     FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
       JOIN pg_trigger t ON t.tgrelid = c.oid
     WHERE i.inhparent = x.oid AND NOT t.tgisinternal AND t.tgenabled IN ('A', 'R')) AS chunk_triggers,
  (SELECT d.column_name FROM _timescaledb_catalog.dimension d WHERE d.hypertable_id = h.id AND d.interval_length > 0
     AND d.column_type::text IN ('date', 'timestamp with time zone', 'timestamp without time zone')
     ORDER BY d.id LIMIT 1) AS time_column,
  (SELECT coalesce(json_agg(line ORDER BY id, kind), '[]') FROM (
     SELECT d.id, 1 AS kind, format('SELECT %s(%L, %s%s)',
       CASE WHEN row_number() OVER (ORDER BY d.id) = 1 THEN 'create_hypertable' ELSE 'add_dimension' END,
       format('%I.%I', h.schema_name, h.table_name),
       CASE WHEN d.num_slices IS NOT NULL THEN format('by_hash(%L, %s)', d.column_name, d.num_slices)
         WHEN own.schema IS NOT NULL AND row_number() OVER (ORDER BY d.id) = 1 THEN format(
           '%L, chunk_time_interval => %s, associated_schema_name => %L, associated_table_prefix => %L',
           d.column_name, step.of, own.schema, own.prefix)
         ELSE format('by_range(%L, %s)', d.column_name, step.of) END,
       CASE WHEN row_number() OVER (ORDER BY d.id) = 1 THEN ', create_default_indexes => false' ELSE '' END) AS line
     FROM _timescaledb_catalog.dimension d, LATERAL (
         SELECT CASE WHEN d.column_type::text IN ('smallint', 'integer', 'bigint') THEN d.interval_length::text
           ELSE format('INTERVAL %L', d.interval_length || ' microseconds') END AS of) step
       -- Only the older form takes a schema and a prefix of one's own for the chunks.
       LEFT JOIN LATERAL (SELECT h.associated_schema_name AS schema,
           nullif(h.associated_table_prefix, '_hyper_' || h.id) AS prefix
         WHERE (h.associated_schema_name, h.associated_table_prefix) <> ('_timescaledb_internal', '_hyper_' || h.id)
       ) own ON true
     WHERE d.hypertable_id = h.id
     UNION ALL SELECT d.id, 2, format('SELECT set_integer_now_func(%L, %L)',
       format('%I.%I', h.schema_name, h.table_name),
       format('%I.%I', d.integer_now_func_schema, d.integer_now_func))
     FROM _timescaledb_catalog.dimension d WHERE d.hypertable_id = h.id AND d.integer_now_func IS NOT NULL) l) AS facts,
  (SELECT coalesce(json_agg(format('%I.%I', a.user_view_schema, a.user_view_name)), '[]')
     FROM _timescaledb_catalog.continuous_agg a WHERE a.raw_hypertable_id = h.id) AS caggs,
  (SELECT coalesce(json_agg(line ORDER BY kind, line), '[]') FROM (
     SELECT 1 AS kind, format('ALTER TABLE %I.%I SET (timescaledb.compress%s%s)', h.schema_name, h.table_name,
       ', timescaledb.compress_segmentby = ' || quote_literal((SELECT string_agg(quote_ident(s), ', ')
         FROM unnest(c.segmentby) s)),
       ', timescaledb.compress_orderby = ' || quote_literal((SELECT string_agg(format('%I %s NULLS %s', o.name,
         CASE WHEN c.orderby_desc[o.nr] THEN 'DESC' ELSE 'ASC' END,
         CASE WHEN c.orderby_nullsfirst[o.nr] THEN 'FIRST' ELSE 'LAST' END), ', ' ORDER BY o.nr)
         FROM unnest(c.orderby) WITH ORDINALITY o(name, nr)))) AS line
     FROM _timescaledb_catalog.compression_settings c WHERE c.relid = x.oid AND h.compression_state = 1
     UNION ALL SELECT 2, format(
       'SELECT %s(%L, %s, schedule_interval => INTERVAL %L, initial_start => %L, timezone => %L)',
       CASE j.proc_name WHEN 'policy_retention' THEN 'add_retention_policy' WHEN 'policy_compression'
         THEN 'add_compression_policy' ELSE 'add_reorder_policy' END, format('%I.%I', h.schema_name, h.table_name),
       CASE WHEN j.proc_name = 'policy_reorder' THEN format('%L', j.config ->> 'index_name')
         WHEN coalesce(j.config ->> 'drop_after', j.config ->> 'compress_after') ~ '^-?\d+$'
         THEN coalesce(j.config ->> 'drop_after', j.config ->> 'compress_after')
         ELSE format('INTERVAL %L', coalesce(j.config ->> 'drop_after', j.config ->> 'compress_after')) END,
       j.schedule_interval, CASE WHEN j.fixed_schedule THEN j.initial_start END, j.timezone)
     FROM :jobs j WHERE j.hypertable_id = h.id
       AND j.proc_name IN ('policy_retention', 'policy_compression', 'policy_reorder')) l) AS policies
FROM _timescaledb_catalog.hypertable h JOIN pg_namespace n ON n.nspname = h.schema_name
  JOIN pg_class x ON x.relname = h.table_name AND x.relnamespace = n.oid
WHERE (h.schema_name, h.table_name) IN (@WANTED@)) q;
\endif
"""


def facts(wanted: Iterable[str]) -> str:
    """A line of JSON with the tables of these names, and another with what hypertables are, where there are some."""
    values = ", ".join(f"({literal(schema)}, {literal(table)})" for schema, table in map(split, wanted))
    asked = (_FACTS + _HYPERTABLES).replace("@CHUNKS@", chunks("SELECT oid FROM hypertables"))
    return f"SET search_path = {PUBLIC};\n{_LOOK}" + asked.replace("@WANTED@", f"VALUES {values}")
