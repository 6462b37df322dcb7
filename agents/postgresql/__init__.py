"""PostgreSQL: the store that rows go to, its backups, their proofs and their retention."""
