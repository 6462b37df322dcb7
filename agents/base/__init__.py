"""What every agent needs: its errors, its configuration."""
