"""What the archive holds and what its WAL says."""
