"""Values every host shares. An inventory or a host may override any of them."""

estate = "mystocks"  # the lock, the stanza's reports and the evidence carry this name

# Packages: "distribution" takes what the host's own release carries (Debian 13 has PostgreSQL 17 and
# TimescaleDB's Apache edition); "pgdg" adds the PostgreSQL and TimescaleDB projects' own repositories.
package_source = "distribution"
postgres_version = 17
database = "quant_research"
stanza = "main"

# Clients outside the estate that may connect as `writer` or `reader`, in CIDR notation.
client_networks: list[str] = []

# SSH public keys of further operators, added to the user that the inventory logs in as.
operator_keys: list[str] = []

# Megabytes and counts that every PostgreSQL node must share: a standby with less than its primary stops.
shared_buffers_mb = 256
max_connections = 100
max_locks_per_transaction = 0  # at the least; what the catalogue's chunks need of them is computed
max_wal_size_mb = 2048
max_slot_wal_keep_mb = 4096  # a lost standby must not fill the primary's disk
archive_timeout_s = 60

# With more than one standby a commit waits until so many of them have it, whichever are first. One less than there are,
# and a lost standby stops no commit; as many as there are, and each alone has every row. A standby with
# "synchronous": False or an "apply_delay" in the inventory is never waited for and never promoted. "none": no commit
# waits for anybody. The loss of the primary then loses rows until ./dr reconcile sends again what the applications'
# shadow has kept; no watch fails over by itself, and ./dr failover asks for --accept-loss.
synchronous_standbys: int | str = 1

backup_processes = 2

# The host on which restore-pitr and restore-table restore a backup to look at or to copy from: a database host or the
# backup host. Empty: the primary's own, where it gives way to production. `restore-pitr --swap` needs that one.
side_host = ""

# Run on the backup host, as postgres and without a shell, when a job, a proof or a copy is late or fails: what is late
# comes on its standard input, one sentence a line. Empty: the journal alone is told.
alarm_command: list[str] = []

# On which channels alarms leave, by name: a URL of apprise (mailtos://, jsons:// is a webhook, every chat that it
# knows), a command as a list of words, or "log"; `{secret}` in a URL is alarm_NAME of the secrets file. Whom a rule of
# inventories/catalog/alarms.yaml tells is a name of alarm_people, with its channels. With both of them and a host of
# the group `watch` a service there raises the alarms. Each URL and file of alarm_heartbeat gets a sign of life after
# each look: whoever misses it knows that nobody alarms.
alarm_channels: dict[str, str | list[str]] = {}
alarm_people: dict[str, list[str]] = {}
alarm_heartbeat: list[str] = []

# What the service on a host of the group `watch` may do by itself: "failover", or "" to look and raise the alarm alone.
# Where fence_command names a program that the watch's host has not, a host's watch_fence_command takes its place there.
watch_act = "failover"

# What the off-site host offers: "rest-server" is restic's own server (package restic-rest-server, Debian 13 and later),
# append only, so that whoever takes over the backup host cannot take the copies away; snapshots are let go by
# ./dr backup.expire --offsite. "sftp" needs nothing there but SSH, and its account may delete.
offsite_kind = "sftp"

# Of each store's outbox: what waits there; what was applied lately may take as much again.
outbox_max_mb = 2048
# A second copy of each outbox record on the backup host before it is acknowledged: the application host may be lost
# with its disk while the database is away. "required": without that copy nothing is acknowledged; "alone": with the
# backup host away the outbox acknowledges by itself; "": no copies.
outbox_copy = ""

# Which SQLite databases of the catalogue (databases.yaml) this estate has; the systemd units that write to each, which
# a restore stops and starts again, as {"trading": ["trader.service"]}; how much the backup host keeps of each.
sqlite_databases: list[str] = []
sqlite_writers: dict[str, list[str]] = {}
sqlite_max_mb = 8192

# TDengine's server package: path or URL, and its SHA-256 (or a file PACKAGE.sha256 beside it). TDENGINE_PACKAGE and
# TDENGINE_PACKAGE_SHA256 in the environment do as well. Without one nothing of TDengine is deployed.
tdengine_package = ""
tdengine_package_sha256 = ""
tdengine_database = "market_data"
tdengine_profile = "no-loss"  # sync the WAL at every write before it is acknowledged; "relaxed": every 3 s
tdengine_keep_days = 3650
tdengine_duration_days = 1  # of a group of data files: an incremental backup looks only at groups that were written
tdengine_vgroups = 2
tdengine_zstd_level = 1  # of backups: more costs time, and rows are compressed well by it already
tdengine_vnodes = 16
tdengine_nofile = 65536
