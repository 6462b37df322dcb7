"""Measure what was promised, beside what the bare tools take in the same run."""
