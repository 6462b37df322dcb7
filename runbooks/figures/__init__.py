"""Figures: what is known of the estate as numbers with names, for alarms, Prometheus and dashboards alike."""
