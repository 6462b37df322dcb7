"""The page that proves it."""
