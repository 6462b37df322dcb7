"""What is broken and how it is recovered, a folder a store."""
