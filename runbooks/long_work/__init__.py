"""Work on a host that outlives the shell that asked for it: a transient systemd unit, waited for from here."""
