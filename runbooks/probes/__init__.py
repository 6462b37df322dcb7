"""Observe: one file a component. A probe never changes anything."""
