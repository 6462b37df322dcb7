"""What writer and reader may do in a database beside the privileges on its tables, and how their sessions begin."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from runbooks.probes.postgresql.content import Query

KNOWN_ROLES = ("writer", "reader")
# With these a session writes elsewhere, not at all, past triggers, or is told of rows that a crash takes.
TELLING = ("default_transaction_read_only", "role", "search_path", "session_replication_role", "synchronous_commit")
_ROLES = """
select r.rolname as name, r.rolcanlogin as may_log_in,
  concat_ws(', ', case when r.rolsuper then 'superuser' end, case when r.rolbypassrls then 'bypasses row security' end,
    case when r.rolcreaterole then 'creates roles' end, case when r.rolcreatedb then 'creates databases' end,
    case when r.rolreplication then 'replicates' end,
    case when has_schema_privilege(r.oid, 'public', 'CREATE') then 'creates in public' end) as powers,
  coalesce((select string_agg(g.rolname, ', ' order by g.rolname)
    from pg_auth_members m join pg_roles g on g.oid = m.roleid where m.member = r.oid), '') as member_of,
  has_database_privilege(r.oid, current_database(), 'CONNECT') as connects,
  has_schema_privilege(r.oid, 'public', 'USAGE') as uses,
  coalesce((select json_agg(one order by one) from pg_db_role_setting s, unnest(s.setconfig) one
    where s.setrole in (0, r.oid)
      and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
      and split_part(one, '=', 1) in ({telling})), '[]') as settings
from pg_roles r where r.rolname in ({names}) order by 1
"""


class Access(BaseModel):
    """One role. `powers`: what none of them has; `settings`: those of its sessions that tell where rows go."""

    model_config = ConfigDict(frozen=True)

    name: str
    may_log_in: bool
    powers: str
    member_of: str
    connects: bool
    uses: bool
    settings: tuple[str, ...]


def read(query: Query) -> tuple[Access, ...]:
    """Those of the roles that are there. Raises DrError."""
    names, telling = (", ".join(f"'{one}'" for one in some) for some in (KNOWN_ROLES, TELLING))
    return tuple(Access.model_validate(row) for row in query(_ROLES.format(names=names, telling=telling)))
