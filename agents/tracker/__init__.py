"""The stock tracker's own programs on the application host: its batches, its import of daily bars, its history.

They write through the client's checks, the writer and the outbox, and read as a role that may only read.
"""
