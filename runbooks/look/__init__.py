"""Look at the estate: what there is, what was measured, what differs from what was declared."""
