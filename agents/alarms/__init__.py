"""Who hears nothing any more of the host that alarms, says so itself."""
