"""Containers as hosts: image, network, start, stop."""
