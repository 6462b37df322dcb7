"""The data directory: what lies in it, and the only code that deletes, overwrites, fills, swaps or moves one."""
