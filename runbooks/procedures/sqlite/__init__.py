"""Runbooks of the SQLite databases."""
