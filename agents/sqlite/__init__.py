"""SQLite databases of this host: opened so that a commit is on the disk, protected as they are written, restored."""
