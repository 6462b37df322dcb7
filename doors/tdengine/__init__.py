"""TDengine's doors."""
