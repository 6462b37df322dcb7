"""What TDengine's servers and backups say of themselves."""
