"""Alarms that arrive: what is seen is held against rules, kept before it is sent, and sent until it has arrived.

`evaluating` says which rules hold, `moving` what became of each alarm, `spool` keeps both and every message, `sending`
empties it on `channels`, `proving` finds out whether a channel still delivers, `alarming` is the loop. Nothing here
judges an estate: what is not as promised is what `./dr status` says.
"""
