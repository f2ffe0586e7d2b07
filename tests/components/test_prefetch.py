"""Reading ahead: order, errors, and threads that end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pyarrow as pa
import pytest

from dataforge.components.prefetch import prefetch
from dataforge.errors import TransientError

SCHEMA = pa.schema([("id", pa.int64())])


def reader(count: int, fail_at: int | None = None, made: list[int] | None = None) -> pa.RecordBatchReader:
    def batches() -> Iterator[pa.RecordBatch]:
        for index in range(count):
            if index == fail_at:
                raise TransientError("the source broke")
            if made is not None:
                made.append(index)
            yield pa.record_batch([pa.array([index])], schema=SCHEMA)

    return pa.RecordBatchReader.from_batches(SCHEMA, batches())


def alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "dataforge-prefetch"]


def test_batches_come_in_order_and_the_thread_ends() -> None:
    with prefetch(reader(50)) as ahead:
        assert ahead.schema == SCHEMA
        assert [batch.column(0)[0].as_py() for batch in ahead] == list(range(50))
        ahead.finish()
        assert list(ahead) == []
    assert alive() == []


def test_it_reads_ahead_but_not_far() -> None:
    made: list[int] = []
    with prefetch(reader(50, made=made), batches=3) as ahead:
        ahead.wait()
        time.sleep(0.2)
        assert 3 <= len(made) <= 5
    assert alive() == []


def test_an_error_comes_with_its_class_after_the_batches_before_it() -> None:
    seen = 0
    with pytest.raises(TransientError, match="the source broke"), prefetch(reader(9, fail_at=7)) as ahead:
        for _ in ahead:
            seen += 1
    assert seen == 7
    assert alive() == []


def test_an_error_before_the_first_batch_is_raised_by_wait() -> None:
    with pytest.raises(TransientError, match="the source broke"), prefetch(reader(9, fail_at=0)) as ahead:
        ahead.wait()


def test_the_sources_error_wins_over_what_a_driver_made_of_it() -> None:
    with pytest.raises(TransientError, match="the source broke"), prefetch(reader(9, fail_at=2)) as ahead:
        try:
            list(ahead)
        except TransientError:
            raise RuntimeError("driver: unknown error") from None


def test_a_consumer_that_gives_up_early_leaves_no_thread_and_no_commit() -> None:
    with pytest.raises(RuntimeError, match="before the last batch"), prefetch(reader(50)) as ahead:
        next(iter(ahead))
        ahead.finish()
    assert alive() == []


def test_an_empty_source_ends_at_once() -> None:
    with prefetch(reader(0)) as ahead:
        ahead.wait()
        assert list(ahead) == []
        ahead.finish()
