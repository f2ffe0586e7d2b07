"""A process that loads files in forked children, and kills them at a step: started once, since imports cost a second.

Each line of its input is a list of jobs, which run at once; the answer is a line with what became of each: the report
or the error, or the number of the signal that ended it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet
import s3fs
from tests.destinations.conftest import Rows

from dataforge.components.base import Connection, LoadContext
from dataforge.components.delivery import CursorStep, Reject, RejectLimit
from dataforge.components.registry import DESTINATIONS
from dataforge.errors import DataForgeError
from dataforge.settings import get_settings

assert duckdb, pyarrow.parquet

STEPS = ("replace", "unlink", "link", "fsync", "mkdir", "write")


def perform(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job in this process; return the report, or the error's class and text."""
    os.environ["AIRFLOW__DATAFORGE__OUTPUT_FOLDER"] = job["output"]
    get_settings.cache_clear()
    type_ = job["config"]["type"]
    destination = DESTINATIONS.build(DESTINATIONS.get(type_).config.model_validate(job["config"]))
    rows = Rows([pa.record_batch({"id": pa.array(job["ids"], pa.int64())})])
    try:
        report = destination.load(rows, context_of(job))
    except DataForgeError as error:
        return {"error": type(error).__name__, "message": str(error)}
    return asdict(report)


def context_of(job: dict[str, Any]) -> LoadContext:
    """Return the load context of a job."""
    connection = Connection(**job["connection"]) if job.get("connection") else None

    def lookup(_: str) -> Connection:
        assert connection is not None
        return connection

    return LoadContext(
        lookup,
        Path(tempfile.mkdtemp(dir=job["scratch"])),
        job["run_key"],
        dag_id="orders_daily",
        log=lambda *_, **__: None,
        run_id=f"run {job['run_key']}",
        target="dataforge://files/orders/",
        digest=job.get("digest"),
        cursor=CursorStep.from_json(job.get("cursor")),
        rejects=[Reject(**reject) for reject in job.get("rejects", ())],
        limit=RejectLimit(1, 100),
        rows_read=len(job["ids"]) + len(job.get("rejects", ())),
    )


def kill_at(number: int, after: bool) -> None:
    """Let this process kill itself before or after the `number`-th change to the file system or request to S3."""
    count = 0

    def due() -> bool:
        nonlocal count
        count += 1
        return count == number

    def wrapped(step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            now = due()
            if now and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return step(*args, **kwargs)
            finally:
                if now:
                    os.kill(os.getpid(), signal.SIGKILL)

        return call

    for name in STEPS:
        setattr(os, name, wrapped(getattr(os, name)))
    request = s3fs.S3FileSystem._call_s3

    async def call_s3(self: Any, *args: Any, **kwargs: Any) -> Any:
        now = due()
        if now and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return await request(self, *args, **kwargs)
        finally:
            if now:
                os.kill(os.getpid(), signal.SIGKILL)

    s3fs.S3FileSystem._call_s3 = call_s3
    s3fs.S3FileSystem.call_s3 = s3fs.core.sync_wrapper(call_s3)


def together(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run jobs in processes of their own that begin at the same moment."""
    begin, go = os.pipe()
    children: list[tuple[int, Path]] = []
    for job in jobs:
        answer = Path(job["scratch"]) / f"answer-{len(children)}-{os.urandom(4).hex()}"
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(begin, 1)
            status = 1
            try:
                if job.get("kill"):
                    kill_at(job["kill"], job.get("after", False))
                report = perform(job)
                answer.write_text(json.dumps(report))
                status = 0
            except BaseException as error:  # noqa: BLE001 - it is told to the test
                answer.write_text(json.dumps({"error": type(error).__name__, "message": str(error)}))
            finally:
                os._exit(status)
        children.append((child, answer))
    os.close(begin)
    os.close(go)
    outcomes = []
    for child, answer in children:
        _, status = os.waitpid(child, 0)
        killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        outcomes.append({"signal": killed} if killed else json.loads(answer.read_text()))
    return outcomes


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(together(json.loads(line))), flush=True)
