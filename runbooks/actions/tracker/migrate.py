"""Run migrations on the primary: the statements of one way in one transaction, which standbys replay."""

from __future__ import annotations

from inventories.catalog.postgresql import ddl
from inventories.catalog.tracker import DATABASE, revisions
from inventories.catalog.tracker.revisions import Way
from runbooks.hosts import Host


def make_database(host: Host, timeout: float) -> None:
    """The database with what the estate's roles need in it. Raises DrError where it is there already."""
    host.execute(f'CREATE DATABASE "{DATABASE}"', timeout=timeout)


def grant(host: Host, timeout: float) -> None:
    """May be repeated."""
    host.execute("; ".join(ddl.database_statements(DATABASE)), DATABASE, timeout)


def run(host: Host, way: Way, timeout: float) -> None:
    """All of it or nothing. Raises DrError where the database is not where the way begins."""
    if way.steps:
        host.execute(revisions.script(way), DATABASE, timeout)
