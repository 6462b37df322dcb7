"""What is broken of SQLite databases, and how they come back."""
