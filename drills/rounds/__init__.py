"""Drill after drill on one standing estate, each judged, all looked over in the end."""
