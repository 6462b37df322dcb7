"""Doors to the SQLite databases of the application hosts."""
