"""What was proven, kept so that nobody can alter it unseen: one append-only file, hash-chained and signed."""
