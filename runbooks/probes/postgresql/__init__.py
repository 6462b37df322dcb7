"""What PostgreSQL's hosts, archive and repository say of themselves."""
