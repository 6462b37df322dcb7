"""SQLite databases of the application host: what each file holds, and the statements that make it."""
