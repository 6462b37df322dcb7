"""What happens to TDengine."""
