"""Keep what the feed said, and turn it into numbers."""
