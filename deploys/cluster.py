"""The only router: which component goes to which group, in which order. `./dr deploy` runs this file with pyinfra.

With the datum `restoring` it ends where every host is configured: nothing begins, nothing is cloned, no stanza is made
and no backup taken, because `./dr restore-cluster` brings the data first.
"""

from __future__ import annotations

from pyinfra import host

from deploys import agents, app, base, copies, estate, heard, jobs, offsite, watch
from deploys.postgresql import pgbackrest, schema
from deploys.postgresql import server as postgres
from deploys.postgresql.operations import stage
from deploys.sqlite import hosts as sqlite
from deploys.tdengine import backups
from deploys.tdengine import server as tdengine

is_postgres = any(group in host.groups for group in estate.POSTGRES_GROUPS)
is_backup = "backup" in host.groups
has_tdengine = bool(estate.nodes("tdengine")) and tdengine.is_named()
is_tdengine = has_tdengine and "tdengine" in host.groups

base.deploy()
if is_postgres:
    postgres.cluster()
if is_postgres or is_backup:
    pgbackrest.deploy()
    programs, _ = agents.deploy()
if is_backup:
    jobs.deploy()
    copies.server(programs)
    sqlite.receiver(programs)
    if has_tdengine:
        backups.deploy()
if "offsite" in host.groups:
    offsite.deploy()
if watch.reached():
    watch.way_in()
if watch.GROUP in host.groups:
    watch.deploy()
else:
    watch.gone()
if "app" in host.groups:
    reads = app.deploy()
    heard.deploy()
    sqlite.protect(*reads)
    if has_tdengine:
        tdengine.writer(*reads, *tdengine.client())
if is_tdengine:
    agents.deploy()
    tdengine.node(tdengine.install())

stage(name="every host is configured")
base.configured()
if not host.data.get("restoring"):
    if is_postgres:
        postgres.primary()
        schema.deploy()
    if is_tdengine:
        tdengine.database()

    stage(name="the primary is up")
    if is_backup:
        pgbackrest.stanza()

    stage(name="the repository takes WAL")
    if is_postgres:
        postgres.standby()
        postgres.synchronous()

    stage(name="the standby streams")
    if is_backup:
        pgbackrest.schedule()
    if watch.GROUP in host.groups:
        watch.service()
