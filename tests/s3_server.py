"""A real S3 server on loopback, for tests of staging, sources and destinations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

from dataforge.components.base import Connection
from dataforge.components.paths import filesystem


@contextmanager
def running(bucket: str) -> Iterator[Connection]:
    """Start the server with one empty bucket; give the connection `lake` to it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    extra = {"endpoint_url": url, "region_name": "us-east-1"}
    connection = Connection("lake", "aws", login="k", password="s", extra=extra)
    filesystem(connection).call_s3("create_bucket", Bucket=bucket)
    try:
        yield connection
    finally:
        urlopen(Request(f"{url}/moto-api/reset", method="POST")).close()
        server.stop()
