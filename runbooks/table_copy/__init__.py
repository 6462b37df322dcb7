"""Tables as two servers have them, and the SQL that compares one with the other and copies: text only, no host.

Probes and actions run it. Data flows from the side cluster to the live one on their common host, through COPY FROM
PROGRAM; what the operator's machine sees is statements and counts.
"""
