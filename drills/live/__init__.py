"""A drill while it runs: what it has come to, for the terminal that runs it and for a page that follows it."""
