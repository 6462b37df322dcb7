"""Who runs this, as the machine knows them: in the namespace of a rootless podman everybody is root."""

import os

ROOTLESS = "DR_ROOTLESS"  # set on the way into that namespace: the user's own number


def in_namespace() -> bool:
    """Whether this process is in the namespace of a rootless podman, brought there by lab/rootless.py."""
    return ROOTLESS in os.environ and os.geteuid() == 0


def user_id() -> int:
    """The user's number outside of any namespace, for what two users must not share."""
    return int(os.environ[ROOTLESS]) if in_namespace() else os.getuid()
