"""The backup host's scheduled jobs: what is due, who holds the lock, what became of it, what was proven."""
