"""Alembic's entrance. Statements are only written out: a runbook gives them to psql on the primary."""

from alembic import context

# The transaction, and what must hold in it, is put around by revisions.py.
context.configure(dialect_name="postgresql", literal_binds=True, transactional_ddl=False)
context.run_migrations()
