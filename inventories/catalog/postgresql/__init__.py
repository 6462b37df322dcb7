"""The catalogue as PostgreSQL's statements."""
