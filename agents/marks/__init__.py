"""Marks: one named moment of every store, kept on the backup host; and what each host tells for one."""
