"""Database roles, one purpose each, with the least they need."""

from __future__ import annotations

from collections.abc import Mapping

from deploys import estate
from deploys.postgresql import scram
from inventories.catalog.postgresql.sessions import unwatched_roles

ROLES: Mapping[str, str] = {  # name -> attributes
    "replicator": "REPLICATION",
    "rewind": "",
    "backup": "",
    "writer": "",
    "reader": "",
    "monitor": "",
}
_GRANTS = (
    # What pg_rewind needs, by its own documentation, instead of a superuser.
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean) TO rewind",
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_stat_file(text, boolean) TO rewind",
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text) TO rewind",
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) TO rewind",
    "GRANT pg_read_all_settings, pg_checkpoint TO backup",
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_backup_start(text, boolean) TO backup",
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_backup_stop(boolean) TO backup",
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_create_restore_point(text) TO backup",
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO backup",
    "GRANT pg_monitor TO monitor",
    # What agents/postgresql/check.py needs to force a segment into the archive.
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_create_restore_point(text) TO monitor",
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO monitor",
    # And to compare the archived copy with the segment itself: its hash is all that it may see of a file.
    "CREATE OR REPLACE FUNCTION public.mystocks_wal_sha256(segment text) RETURNS text LANGUAGE sql SECURITY DEFINER "
    "SET search_path = pg_catalog AS $$ SELECT encode(sha256(pg_read_binary_file('pg_wal/' || segment, true)), 'hex') "
    "WHERE segment ~ '^[0-9A-F]{24}$' $$",
    "REVOKE ALL ON FUNCTION public.mystocks_wal_sha256(text) FROM PUBLIC",
    "GRANT EXECUTE ON FUNCTION public.mystocks_wal_sha256(text) TO monitor",
    # A statement_timeout set for everyone would abort pg_rewind every time (GitLab 7790).
    "ALTER ROLE rewind SET statement_timeout = 0",
    "ALTER ROLE replicator SET statement_timeout = 0",
)
_NOT_GRANTED = (
    "select 1 where not has_function_privilege('backup', 'pg_catalog.pg_switch_wal()', 'execute') "
    "or not has_function_privilege('rewind', 'pg_catalog.pg_read_binary_file(text)', 'execute') "
    "or not pg_has_role('monitor', 'pg_monitor', 'member') "
    "or not has_function_privilege('monitor', 'pg_catalog.pg_switch_wal()', 'execute') "
    "or not coalesce("
    "has_function_privilege('monitor', to_regprocedure('public.mystocks_wal_sha256(text)'), 'execute'), false)"
)


def grants(version: int) -> tuple[str, ...]:
    """What the roles may do, and how their sessions are."""
    return (*_GRANTS, *unwatched_roles(version, tuple(ROLES)))


def not_granted(version: int) -> str:
    """A query that gives a row when any of it is missing."""
    wanted = unwatched_roles(version, tuple(ROLES))
    names = ", ".join(f"'{name}'" for name in ROLES)
    seen = (
        "select count(*) from pg_catalog.pg_db_role_setting s join pg_catalog.pg_roles r on r.oid = s.setrole "
        f"where s.setdatabase = 0 and 'event_triggers=off' = any (s.setconfig) and r.rolname in ({names})"
    )
    return f"{_NOT_GRANTED} or ({seen}) < {len(wanted)}"


def verifiers() -> dict[str, tuple[str, str]]:
    """role -> (attributes, SCRAM verifier)."""
    secret = estate.secret()
    return {name: (attributes, scram.verifier(name, secret[name])) for name, attributes in ROLES.items()}
