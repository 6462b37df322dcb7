"""The library that the trading system imports: rows of any shape, checked, acknowledged by the store or the outbox."""

from agents.client.aio import AsyncClient
from agents.client.client import Acknowledgement, Client, NotAcknowledged
from agents.client.manager import BatchFailureStrategy, BatchOperationResult, Manager
from agents.client.prepare import Prepared, Refused
from agents.client.recovery_queue import FailureRecoveryQueue
from agents.writing.writer import By

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
