"""The only router: which component goes to which group, in which order. `./dr deploy` runs this file with pyinfra."""

from __future__ import annotations

from pyinfra import host

from deploys import app, base, estate, pgbackrest, postgres, schema

is_postgres = any(group in host.groups for group in estate.POSTGRES_GROUPS)
is_backup = "backup" in host.groups

base.deploy()
if is_postgres:
    postgres.cluster()
if is_postgres or is_backup:
    pgbackrest.deploy()
if is_postgres:
    postgres.primary()
    schema.deploy()
if is_backup:
    pgbackrest.stanza()
if is_postgres:
    postgres.standby()
    postgres.synchronous()
if is_backup:
    pgbackrest.schedule()
if "app" in host.groups:
    app.deploy()
