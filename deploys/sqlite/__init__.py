"""SQLite databases of the application host: their protector, and on the backup host who keeps what it sends."""
