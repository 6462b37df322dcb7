"""Backups as an operator asks for them, a module a store."""
