"""Whether a store is whole: its structure, its content, and what must be true of its rows. Reads only.

`difference` is what is found, `structure` holds tables against the catalogue, `run` is what the door opens.
"""
