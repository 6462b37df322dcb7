"""The order of what is done to the stock tracker's database."""
