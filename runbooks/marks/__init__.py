"""Marks: one named moment of every store. Taken in this order, kept on the backup host, resolved to a restore's target.

What a mark promises, and what it does not, stands in docs/decisions.md.
"""
