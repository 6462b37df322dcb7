"""Production hosts: copy to inventories/production.py, change what is yours, keep it out of the repository.

    ./dr drift --inventory production      what `./dr deploy` would change, touching nothing
    ./dr status --inventory production    one screen

Groups say what a host is for; at first `pg_primary` becomes the primary. After a failover the roles are read
from the hosts themselves, never from here. Secrets come from `secrets_file` (mode 0600, outside the repository)
or from DR_SECRET_<NAME> in the environment; `./dr secrets.make FILE` writes a new one.
"""

_SSH = {
    "ssh_user": "dr",
    "ssh_key": "~/.ssh/mystocks_dr",
    "ssh_known_hosts_file": "~/.ssh/known_hosts",
    "ssh_strict_host_key_checking": "yes",
    "_sudo": True,
    "estate": "mystocks",
    "secrets_file": "~/.config/mystocks-dr/secrets.yaml",
    "pki_dir": "~/.config/mystocks-dr/pki",
    # "side_host": "backup1",  # where backups are restored to look at and to copy from; otherwise beside the primary
    "offsite_kind": "rest-server",
}

# ssh_hostname is what SSH dials, a name or an address; `address` is the IP address that the other hosts dial, where
# that is another one. "ssh_proxy_jump": "jump@bastion.example" leads through a bastion, for deploys and runbooks alike.
# A user other than root needs sudo without a password (NOPASSWD).
#
# fence_command cuts the host's power from outside (IPMI, hypervisor, cloud). It is run on the operator's machine
# without a shell, must return 0 only when the host is certainly off, and may be left out: failover then refuses
# when SSH cannot reach the old primary.
pg_primary = (
    [("pg1", {"ssh_hostname": "192.0.2.21", "fence_command": ["/usr/local/sbin/fence-host", "off", "pg1"]})],
    _SSH,
)
# One to four standbys. With more than one a commit waits for whichever is first (synchronous_standbys = 1 of them),
# so that the loss of one stops nothing; "synchronous": False makes one that is never waited for and never promoted, and
# "apply_delay": "1h" one that is behind besides, from which a bad statement of the last hour is taken back in seconds.
# synchronous_standbys = "none" makes the estate asynchronous, which inventories/group_data/all.py says the price of.
pg_standby = (
    [("pg2", {"ssh_hostname": "192.0.2.22", "fence_command": ["/usr/local/sbin/fence-host", "off", "pg2"]})],
    _SSH,
)
backup = ([("backup1", {"ssh_hostname": "192.0.2.31"})], _SSH)
# Another building: it holds a second, encrypted copy of the backups, to which the backup host can only add. Where its
# release has no package restic-rest-server, or nothing may run there but SSH: offsite_kind "sftp". May be left out.
offsite = ([("offsite1", {"ssh_hostname": "198.51.100.41"})], _SSH)
# Here the watch runs, which may fail over by itself (watch_act in inventories/group_data/all.py): the backup host, or
# a host of no other group.
watch = ["backup1"]
app = ([("app1", {"ssh_hostname": "192.0.2.11"})], _SSH)
