"""The same for asyncio: saves run in threads of the client's own, as many as its pool has sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path

from agents.client import forks
from agents.client.client import POOL, Acknowledgement, Client
from agents.client.prepare import Prepared


class AsyncClient:
    """`async with AsyncClient.open() as client: ack = await client.save(...)`.

    A task that is cancelled while it waits does not take the save back: the rows may be acknowledged all the same.
    """

    def __init__(self, client: Client, pool: int = POOL) -> None:
        self._client, self._pool = client, pool
        self._threads = self._made()
        forks.watch(self)

    @classmethod
    def open(cls, config: str | Path | Iterable[str | Path] | None = None, *, pool: int = POOL) -> AsyncClient:
        """As `Client.open`."""
        return cls(Client.open(config, pool=pool), pool)

    async def save(self, table_or_classification: str | Enum, rows: object) -> Acknowledgement:
        """As `Client.save`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._client.save, table_or_classification, rows)

    async def write(self, prepared: Prepared) -> Acknowledgement:
        """As `Client.write`, for what a NotAcknowledged left over."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._client.write, prepared)

    def before_fork(self) -> None:
        """Nothing: what its threads are doing the client itself waits for."""

    def after_fork(self, in_child: bool) -> None:
        if in_child:
            self._threads = self._made()  # those of the parent are not here, and would be waited for without end

    def _made(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._pool, "mystocks-client")

    async def close(self) -> None:
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._threads.shutdown(wait=True)
        self._client.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
