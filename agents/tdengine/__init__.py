"""TDengine: sessions, the store that ticks go to, what a server is and has."""
