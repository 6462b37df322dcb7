"""Provision TDengine from the package that the operator names, and its backups."""
