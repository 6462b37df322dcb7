"""Changes to SQLite databases of the application hosts."""
