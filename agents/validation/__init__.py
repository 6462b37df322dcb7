"""What a validation asks and keeps on the backup host."""
