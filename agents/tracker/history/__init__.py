"""History of the tracker over HTTP, read only: questions, sessions that outlive a failover, the service."""
