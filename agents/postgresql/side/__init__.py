"""Side clusters: a backup restored beside whatever runs."""
