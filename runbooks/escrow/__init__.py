"""The keys of an estate, sealed into one file for a safe."""
