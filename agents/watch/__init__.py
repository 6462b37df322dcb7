"""What the watch has running on the estate's hosts: a pair of eyes each, and no opinion."""
