"""Patroni from Debian's packages, measured in a lab of its own as the watch is measured: `./dr bench --patroni`."""
