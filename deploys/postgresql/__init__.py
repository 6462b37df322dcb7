"""Provision PostgreSQL, its roles and schema, and pgBackRest."""
