"""PostgreSQL's runbooks, and the steps that they share."""
