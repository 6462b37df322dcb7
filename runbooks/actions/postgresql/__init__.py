"""Change PostgreSQL on its hosts."""
