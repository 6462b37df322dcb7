"""The estate record: one document that says who is primary, who has every acknowledged row, and who is acting.

`types` is what it says, `arbiter` asks and changes the one that decides (today a file on the backup host; the interface
is thin so that something else can decide), `read` finds the record or says why nobody knows it, `keep` writes it before
and after a transition, `settle` brings it in line with hosts that are whole, `lock` is who is acting.
"""
