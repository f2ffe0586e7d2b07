"""Read ahead: a thread pulls record batches while the consumer is busy with earlier ones.

A small queue between the engine that makes rows and the driver that writes them keeps both at work and memory flat.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

QUEUE_BATCHES = 4


class Prefetched:
    """An Arrow stream that is read ahead of its consumer; made by `prefetch`.

    `error` is what the source raised, if it did: an error that passes through a driver's C interface loses its class.
    """

    def __init__(self, source: pa.RecordBatchReader, batches: int = QUEUE_BATCHES) -> None:
        self.schema: pa.Schema = source.schema
        self.error: BaseException | None = None
        self._source = source
        self._queue: queue.Queue[pa.RecordBatch | None] = queue.Queue(batches)
        self._started = threading.Event()
        self._stop = False
        self._ended = False
        self._thread = threading.Thread(target=self._pull, name="dataforge-prefetch", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when the first batch or the end is there; raise what the source raised before that."""
        self._started.wait()
        if self.error is not None:
            raise self.error

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches, once; raise what the source raised at the place where it did."""
        while (batch := self._queue.get()) is not None:
            yield batch
        self._ended = True
        self._queue.put_nowait(None)  # a second look finds the end again, instead of waiting for ever
        if self.error is not None:
            raise self.error

    def finish(self) -> None:
        """Raise what the source raised, or RuntimeError when the consumer left rows behind: call it before a commit."""
        if self.error is not None:
            raise self.error
        if not self._ended:
            raise RuntimeError("the driver stopped before the last batch")

    def close(self) -> None:
        """End the thread; waits for the batch that the source is making."""
        self._stop = True
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._queue.get(timeout=0.05)
        self._source.close()

    def _pull(self) -> None:
        try:
            for batch in self._source:
                if self._stop:
                    return
                self._queue.put(batch)
                self._started.set()
        except BaseException as error:  # noqa: BLE001 - it is raised again in the consumer's thread
            self.error = error
        finally:
            self._started.set()
            self._queue.put(None)


@contextmanager
def prefetch(source: pa.RecordBatchReader, batches: int = QUEUE_BATCHES) -> Iterator[Prefetched]:
    """Read `source` ahead by up to `batches` batches; the thread has ended and the source is closed afterwards.

    When the source fails, its own error is raised, whatever the consumer made of it.
    """
    ahead = Prefetched(source, batches)
    try:
        yield ahead
    except Exception:
        ahead.close()
        if ahead.error is not None:
            raise ahead.error from None
        raise
    finally:
        ahead.close()
