"""The drill calendar: recovery.yaml's promises held against the history of drills."""
