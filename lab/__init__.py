"""Containers as hosts: image, network, start, stop, and the levers a drill pulls.

Everything else in the repository reaches a host over SSH; only this package speaks to a container engine.
It imports ``inventories.errors`` and nothing else of ours. ``up`` and ``down`` are the doors; ``faults`` and
``fence`` are what breaks a host and what an inventory names as its fencing hook.
"""
