"""What actions, probes and procedures of TDengine share and no host is asked for."""
