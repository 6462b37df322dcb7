"""Change TDengine on its hosts."""
