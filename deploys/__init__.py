"""Provision: one file a component, routed by group in cluster.py alone."""
