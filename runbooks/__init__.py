"""What an operator runs, in production as in a drill."""
