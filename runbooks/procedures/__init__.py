"""Order: one procedure a file, a tuple of steps, what is read at 3 a.m."""
