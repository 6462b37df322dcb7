"""What a restored cluster needs of the host that it is on: libraries, locales, the same order of text."""

from __future__ import annotations

from agents.base.errors import AgentError
from agents.postgresql.side.place import Place
from agents.postgresql.side.settings import library

_DATABASES = "select datname from pg_database where datallowconn"
_OF_DATABASES = """
select format('database %s: %s, here %s', datname, datcollversion, pg_database_collation_actual_version(oid))
from pg_database where datcollversion <> pg_database_collation_actual_version(oid)
"""
_OF_COLLATIONS = """
select format('collation %s of %s: %s, here %s', collname, current_database(), collversion,
  pg_collation_actual_version(oid))
from pg_collation where collversion <> pg_collation_actual_version(oid)
  and oid in (select unnest(indcollation) from pg_index)
"""


def missing_library(name: str, version: int, label: str) -> AgentError:
    folder = library(version, "timescaledb").parent
    there = ", ".join(sorted(path.stem for path in folder.glob("timescaledb-[0-9]*.so") if "tsl" not in path.stem))
    return AgentError(
        f"Backup {label} needs {name}, which this host does not have (it has {there or 'none'}).",
        "Install that very version of the extension: its files name it.",
    )


def require_usable(place: Place) -> None:
    """Every database must find the libraries of its extensions, and its locale. Raises AgentError."""
    label = str(place.state().get("set"))
    for database in place.query(_DATABASES).splitlines():
        try:
            place.query("select count(*) from pg_extension", database)
        except AgentError as error:
            if "could not access file" in str(error):
                name = str(error).partition("libdir/")[2].partition('"')[0] or "an extension"
                raise missing_library(name, place.version, label) from error
            if "locale is incompatible" in str(error):
                raise AgentError(
                    f"Database {database} of backup {label} has a locale that this host does not have: {error}",
                    "Make it here (locale-gen, or the package locales-all), or restore on a host that has it.",
                ) from error
            raise


def collations(place: Place) -> list[str]:
    """Collations whose version is another one here than where they were made, a sentence each: text is ordered, and
    where they are not deterministic compared, in another way.
    """
    found = place.query(_OF_DATABASES).splitlines()
    for database in place.query(_DATABASES).splitlines():
        found += place.query(_OF_COLLATIONS, database).splitlines()
    return [line for line in found if line]
