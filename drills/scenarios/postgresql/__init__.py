"""What happens to PostgreSQL."""
