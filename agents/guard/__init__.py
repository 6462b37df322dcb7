"""What stands before a server's start."""
