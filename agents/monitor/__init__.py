"""The monitoring database: its schema, the spool that everything goes through, and what ships it there."""
