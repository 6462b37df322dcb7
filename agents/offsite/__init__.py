"""The copy of the backups on another site."""
