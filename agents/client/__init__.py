"""The library that the trading system imports: rows of any shape, checked, acknowledged by the store or the outbox."""

from agents.client.aio import AsyncClient
from agents.client.client import Acknowledgement, Client, NotAcknowledged
from agents.client.prepare import Prepared, Refused
from agents.writing.writer import By

__all__ = ["Acknowledgement", "AsyncClient", "By", "Client", "NotAcknowledged", "Prepared", "Refused"]
