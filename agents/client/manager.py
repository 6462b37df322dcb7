"""The trading system's two calls, thin over the client: its own manager may delegate to this one, or be replaced."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from agents.base.errors import AgentError, BadRow
from agents.client.client import Acknowledgement, Client, NotAcknowledged
from agents.client.prepare import Refused, name_of
from agents.client.recovery_queue import EVENT_IDS, FailureRecoveryQueue

RETRIES = 3
RETRY_S = 0.5
_log = logging.getLogger("mystocks_dr")


class BatchFailureStrategy(str, Enum):
    """What a row that is refused does to the rows beside it."""

    ROLLBACK = "rollback"
    CONTINUE = "continue"
    RETRY = "retry"


@dataclass
class BatchOperationResult:
    """Under the names that the trading system reads. What is `successful` is acknowledged and will never be lost."""

    total_records: int
    successful_records: int
    failed_records: int
    strategy_used: BatchFailureStrategy
    execution_time_ms: float
    failed_indices: list[int] = field(default_factory=list)
    error_messages: dict[int, str] = field(default_factory=dict)
    retry_count: int = 0
    rollback_executed: bool = False

    @property
    def success_rate(self) -> float:
        return self.successful_records / self.total_records if self.total_records else 0.0


class Manager:
    """`queue` keeps what nobody could acknowledge: rows that the catalogue refuses, and all of them when the outbox is
    full. Without one such a save raises, and nothing is dropped in silence.
    """

    def __init__(self, client: Client, queue: FailureRecoveryQueue | None = None) -> None:
        self._client = client
        self._queue = queue

    def save_data_by_classification(
        self, classification: object, data: Any, table_name: str = "", **kwargs: object
    ) -> bool:
        """True when every row is acknowledged, by the store or by its outbox. False when some are in the queue instead.

        `table_name` chooses among the tables of one classification; a name that the catalogue does not know, such as
        one of a subtable, changes nothing. A DataFrame without rows is saved already.
        """
        if len(data) == 0:
            return True
        try:
            target = self._target(classification, table_name)
            ack = self._client.save(target, data)
        except NotAcknowledged as error:
            ids = _ids(error)
            left = sorted({*ids, *_rows(error.done.refused)})
            return self._keep(classification, _chosen(data, left), table_name, _with_ids(kwargs, left, ids), error)
        except AgentError as error:
            return self._keep(classification, data, table_name, kwargs, error)
        if ack.complete:
            return True
        refused = _chosen(data, sorted(_rows(ack.refused)))
        return self._keep(classification, refused, table_name, kwargs, _error(ack))

    def save_data_batch_with_strategy(
        self,
        classification: object,
        data: Any,
        table_name: str = "",
        batch_size: int = 1000,
        failure_strategy: BatchFailureStrategy | str = BatchFailureStrategy.CONTINUE,
        **kwargs: object,
    ) -> BatchOperationResult:
        """Save batch by batch and tell which rows are not acknowledged, by their place in `data`, and why.

        CONTINUE goes on behind a row that is refused. ROLLBACK saves nothing when any row is refused. RETRY asks again
        for what neither store nor outbox could take; a row that the catalogue refuses is refused each time. So are all
        rows of a classification that nobody knows, or of another table's: they are told, and kept in the queue.
        """
        strategy = BatchFailureStrategy(failure_strategy)
        if batch_size < 1:
            raise BadRow(f"A batch of {batch_size} rows holds none.", "Give at least 1.")
        started = time.monotonic()
        result = BatchOperationResult(len(data), 0, 0, strategy, 0.0)
        ids: dict[int, int | None] = {}
        try:
            target = self._target(classification, table_name)
            if strategy is BatchFailureStrategy.ROLLBACK and len(data):
                self._refuse_all_for_one(target, data, result)
        except AgentError as error:  # nobody knows the class, or these are no rows: each of them is told and kept
            result.rollback_executed = strategy is BatchFailureStrategy.ROLLBACK
            result.error_messages = dict.fromkeys(range(len(data)), str(error))
            ids = {} if isinstance(error, BadRow) else dict.fromkeys(range(len(data)))
        for first in range(0, 0 if result.error_messages else len(data), batch_size):
            rows = _chosen(data, range(first, min(first + batch_size, len(data))))
            ids |= {first + row: event for row, event in self._batch(target, rows, first, result).items()}
        result.failed_indices = sorted(result.error_messages)
        result.failed_records = len(result.failed_indices)
        result.successful_records = result.total_records - result.failed_records
        result.execution_time_ms = (time.monotonic() - started) * 1000
        if result.failed_indices and self._queue is not None:
            first_why = result.error_messages[result.failed_indices[0]]
            kwargs = _with_ids(kwargs, result.failed_indices, ids)
            self._keep(classification, _chosen(data, result.failed_indices), table_name, kwargs, first_why, bool(ids))
        return result

    def _refuse_all_for_one(self, target: str, data: Any, result: BatchOperationResult) -> None:
        prepared = self._client.prepare(target, data)
        if prepared.refused:
            result.rollback_executed = True
            result.error_messages = dict.fromkeys(range(len(data)), "another row of the batch was refused")
            _note(result, prepared.refused, 0)

    def _batch(self, target: str, rows: Any, first: int, result: BatchOperationResult) -> dict[int, int | None]:
        """Those that nobody could take for now, with the event id under which the store may have one all the same."""
        try:
            ack = self._client.save(target, rows)
            _note(result, ack.refused, first)
            time.sleep(ack.slow_down_s)
        except NotAcknowledged as error:
            _note(result, error.done.refused, first)
            return self._again(error, first, result)
        except AgentError as error:
            result.error_messages |= dict.fromkeys(range(first, first + len(rows)), str(error))
            return {} if isinstance(error, BadRow) else dict.fromkeys(range(len(rows)))
        return {}

    def _again(self, error: NotAcknowledged, first: int, result: BatchOperationResult) -> dict[int, int | None]:
        """What is left keeps its event ids, so that a row which the store took all the same stays one row."""
        tries = RETRIES if result.strategy_used is BatchFailureStrategy.RETRY else 0
        while tries:
            tries -= 1
            result.retry_count += 1
            time.sleep(RETRY_S * 2 ** (RETRIES - 1 - tries))
            try:
                self._client.write(error.rest)
            except NotAcknowledged as again:
                error = again
            else:
                return {}
        left = _ids(error)
        result.error_messages |= {first + row: str(error) for row in left}
        return left

    def _target(self, classification: object, table_name: str) -> str:
        name = name_of(classification)
        if table_name not in self._client.tables:
            return self._client.table(name).name
        table = self._client.table(table_name)
        if name not in (*table.classifications, table.name, table.classification):
            raise BadRow(f"{table_name} holds {table.classifications[0]}, not {name}.", "Name the table's own class.")
        return table.name

    def _keep(
        self, classification: object, data: Any, table_name: str, kwargs: dict[str, object], error: object,
        waits: bool = False,
    ) -> bool:  # fmt: skip
        """In the queue, marked as failed where trying again cannot help."""
        if self._queue is None:
            hint = "Correct these rows and save them again."
            raise error if isinstance(error, AgentError) else BadRow(str(error), hint)
        _log.error("%s rows of %s are in %s: %s", len(data), classification, self._queue.db_path, error)
        number = self._queue.add_failed_operation("save", classification, data, table_name, kwargs, error)
        if not waits and isinstance(error, (BadRow, str)):
            self._queue.mark_failed(number)
        return False


def _ids(error: NotAcknowledged) -> dict[int, int | None]:
    """Row -> event id of what is left over."""
    return {row: event for piece in error.rest.pieces for row, event in zip(piece.rows, piece.ids, strict=True)}


def _with_ids(kwargs: dict[str, object], rows: Sequence[int], ids: Mapping[int, int | None]) -> dict[str, object]:
    """The store may have these rows: under their event ids they stay one row when they are taken over."""
    return {**kwargs, EVENT_IDS: [ids.get(row) for row in rows]} if ids else kwargs


def _rows(refused: Sequence[Refused]) -> set[int]:
    return {one.row for one in refused}


def _note(result: BatchOperationResult, refused: Sequence[Refused], first: int) -> None:
    result.error_messages |= {first + one.row: str(replace(one, row=first + one.row)) for one in reversed(refused)}


def _error(ack: Acknowledgement) -> str:
    return "; ".join(str(one) for one in ack.refused[:5])


def _chosen(data: Any, rows: Sequence[int]) -> Any:
    """These rows of a frame, or of a list."""
    numbers = list(rows)
    if hasattr(data, "iloc"):
        return data.iloc[numbers]
    if hasattr(data, "take") and hasattr(data, "schema") and hasattr(data, "num_rows"):
        return data.take(numbers)
    if hasattr(data, "height"):
        return data[numbers]
    return [data[number] for number in numbers]
