"""TDengine's backups: rows in raw blocks, what changed, their restore, proof and retention."""
