"""What changes the stock tracker's database."""
