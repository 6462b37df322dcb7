"""What SQLite databases of the application hosts, and what is kept of them, say of themselves."""
