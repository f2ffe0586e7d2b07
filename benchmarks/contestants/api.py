"""A local JSON API: `api.py NDJSON_FILE PAGE_SIZE` prints its port and serves /orders page by page until it is ended.

All pages are made beforehand, so that the server costs the contestants as little as may be. The next page stands in the
Link header.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


def load(path: Path, size: int) -> list[bytes]:
    """Return the pages: JSON arrays of `size` records."""
    with path.open("rb") as lines:
        pages = []
        while page := [line.rstrip() for line in islice(lines, size)]:
            pages.append(b"[" + b",".join(page) + b"]")
        return pages


def handler(pages: list[bytes]) -> type[BaseHTTPRequestHandler]:
    """Return a request handler that serves `pages`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet; else Nagle's algorithm adds 40 ms to each page

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            number = int(parse_qs(url.query).get("page", ["1"])[0])
            if url.path != "/orders" or not 1 <= number <= len(pages):
                self.send_error(404)
                return
            body = pages[number - 1]
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if number < len(pages):
                self.send_header("Link", f'<http://{self.headers["Host"]}/orders?page={number + 1}>; rel="next"')
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def main() -> None:
    """Serve until the process is ended."""
    pages = load(Path(sys.argv[1]), int(sys.argv[2]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(pages))
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
