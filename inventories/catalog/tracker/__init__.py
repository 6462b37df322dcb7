"""The stock tracker's database: its migrations, and the statements that bring it from one revision to another."""

DATABASE = "stock_tracker"  # as tracker.yaml names it
