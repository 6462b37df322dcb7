"""Save rows so that an acknowledged one is never lost.

    from mystocks_dr import Client

    with Client.open() as client:
        ack = client.save("order_records", rows)
"""

from agents.client import (
    Acknowledgement,
    AsyncClient,
    BatchFailureStrategy,
    BatchOperationResult,
    By,
    Client,
    FailureRecoveryQueue,
    Manager,
    NotAcknowledged,
    Prepared,
    Refused,
)

__all__ = [
    "Acknowledgement",
    "AsyncClient",
    "BatchFailureStrategy",
    "BatchOperationResult",
    "By",
    "Client",
    "FailureRecoveryQueue",
    "Manager",
    "NotAcknowledged",
    "Prepared",
    "Refused",
]
