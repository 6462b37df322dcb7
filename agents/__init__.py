"""Programs that run on the estate's own hosts, under the distribution's Python 3.10+ with python3-psycopg2.

They import nothing of ours but each other.
"""
