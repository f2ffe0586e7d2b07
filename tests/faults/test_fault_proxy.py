"""The proxy does what it says, to plain sockets, HTTP and PostgreSQL."""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.request import urlopen

import pytest
from adbc_driver_manager import Error
from adbc_driver_postgresql import dbapi
from tests.faults.places import Server
from tests.faults.proxy import Fault, HttpFrames, PostgresFrames, Proxy


@contextmanager
def echo() -> Iterator[tuple[str, int]]:
    """A server that sends back what it gets, until the client has no more."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
                connection.sendall(b"end")
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    with closing(listener):
        yield listener.getsockname()


@contextmanager
def client(fault: Fault | None) -> Iterator[tuple[socket.socket, Proxy]]:
    """A connection to the echo server through the proxy."""
    with echo() as upstream, Proxy(upstream) as proxy:
        proxy.arm(fault)
        assert isinstance(proxy.address, tuple)
        with socket.create_connection(proxy.address, 10) as connection:
            yield connection, proxy
        assert proxy.failures == []


def received(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (data := connection.recv(size - len(found))):
        found += data
    return found


def exchange(connection: socket.socket, *messages: bytes) -> list[bytes]:
    answers = []
    for message in messages:
        connection.sendall(message)
        answers.append(received(connection, len(message)))
    return answers


def test_without_a_fault_everything_passes() -> None:
    with client(None) as (connection, proxy):
        big = bytes(range(256)) * 4000
        assert exchange(connection, b"one", big) == [b"one", big]
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(10) == b"end"
        assert proxy.struck == 0
        assert proxy.count() >= 2


def test_cut_strikes_at_the_message_and_only_once() -> None:
    with client(Fault("cut", message=2)) as (connection, proxy):
        assert exchange(connection, b"one", b"two") == [b"one", b""]
        assert isinstance(proxy.address, tuple)
        with socket.create_connection(proxy.address, 10) as again:
            assert exchange(again, b"one", b"two", b"three") == [b"one", b"two", b"three"]
        assert proxy.struck == 1


def test_cut_after_the_message_lets_it_reach_the_server() -> None:
    with client(Fault("cut", side="reply", message=1, when="after")) as (connection, _):
        assert exchange(connection, b"one", b"two") == [b"one", b""]


def test_after_bytes_cuts_inside_a_message() -> None:
    with client(Fault("cut", side="reply", after_bytes=5)) as (connection, _):
        assert exchange(connection, b"1234567890") == [b"12345"]


def test_reset_ends_with_an_error() -> None:
    with client(Fault("reset", message=2)) as (connection, _), pytest.raises(ConnectionResetError):
        exchange(connection, b"one", b"two", b"three")


def test_stall_keeps_the_connection_and_passes_nothing() -> None:
    with client(Fault("stall", message=2)) as (connection, _):
        assert exchange(connection, b"one") == [b"one"]
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            exchange(connection, b"two")


def test_drip_sends_byte_by_byte() -> None:
    with client(Fault("drip", side="reply", seconds=0.02)) as (connection, _):
        connection.sendall(b"1234567890")
        began = time.monotonic()
        assert received(connection, 10) == b"1234567890"
        assert time.monotonic() - began > 0.15


def test_delay_holds_one_message() -> None:
    with client(Fault("delay", message=2, seconds=0.3)) as (connection, _):
        exchange(connection, b"one")
        began = time.monotonic()
        assert exchange(connection, b"two") == [b"two"]
        assert time.monotonic() - began >= 0.3


def test_half_close_ends_one_direction() -> None:
    with client(Fault("half_close", message=2)) as (connection, _):
        exchange(connection, b"one")
        connection.sendall(b"two")
        assert received(connection, 10) == b"end"


def test_mute_drops_replies_only() -> None:
    reached: list[int] = []
    with client(Fault("mute", message=2)) as (connection, proxy):
        assert exchange(connection, b"one") == [b"one"]
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            exchange(connection, b"two")
        reached.append(proxy.count("reply"))
    assert reached == [2]


def test_kill_ends_the_process_at_the_other_end() -> None:
    code = (
        "input(); import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); "
        "s.sendall(b'x'); s.recv(1); s.sendall(b'y'); s.recv(1)"
    )
    with echo() as upstream, Proxy(upstream) as proxy:
        assert isinstance(proxy.address, tuple)
        process = subprocess.Popen([sys.executable, "-S", "-c", code, str(proxy.address[1])], stdin=subprocess.PIPE)
        proxy.arm(Fault("kill", message=2, pid=process.pid))
        process.communicate(b"\n", timeout=30)
        assert process.returncode == -9


def test_postgres_messages_are_counted_and_commit_is_known(server: Server, proxy: Proxy) -> None:
    uri = f"postgresql:///postgres?user=postgres&host={server.front}"
    with closing(dbapi.connect(uri)) as db, db.cursor() as cursor:
        proxy.arm(None)
        cursor.execute("select 1")
        db.commit()
    texts = [one.text for one in proxy.messages if one.side == "request" and one.text]
    assert texts[-1] == "COMMIT"
    assert any("select 1" in text for text in texts)
    assert proxy.count(kind="commit") == 1
    assert proxy.count("reply", "answer") >= 4


def test_a_lost_reply_to_commit_is_an_error_for_the_client_and_a_commit_for_the_server(
    server: Server, proxy: Proxy
) -> None:
    server.sql("drop table if exists lost")
    uri = f"postgresql:///postgres?user=postgres&host={server.front}"
    with closing(dbapi.connect(uri)) as db, db.cursor() as cursor:
        proxy.arm(Fault("lose", kind="commit"))
        cursor.execute("create table lost as select 1 as n")
        with pytest.raises(Error):
            db.commit()
    assert proxy.struck == 1
    assert server.sql("select n from lost") == [(1,)]
    server.sql("drop table lost")


def test_postgres_frames_are_whole_whatever_the_reads() -> None:
    startup = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"  # SSL request
    query = b"Q\x00\x00\x00\x0bcommit\x00"
    session = startup + b"\x00\x00\x00\x09\x00\x03\x00\x00\x00" + query
    for size in range(1, len(session)):
        frames = PostgresFrames("request", [])
        pieces = [piece for n in range(0, len(session), size) for piece in frames.feed(session[n : n + size])]
        assert [piece.kind for piece in pieces] == ["ssl", "startup", "Q"]
        assert pieces[2].text == "commit"
        assert b"".join(piece.data for piece in pieces) == session


def test_http_requests_are_counted_by_their_own_borders() -> None:
    put = b"PUT /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
    chunked = b"POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    stream = put + b"GET /c HTTP/1.1\r\n\r\n" + chunked + put
    for size in (7, 40, len(stream)):
        frames = HttpFrames()
        pieces = [piece for n in range(0, len(stream), size) for piece in frames.feed(stream[n : n + size])]
        assert [piece.kind for piece in pieces if piece.first] == ["PUT", "GET", "POST", "PUT"]
        assert sum(piece.last for piece in pieces) == 4
        assert b"".join(piece.data for piece in pieces) == stream


def test_the_reply_to_an_http_request_can_be_lost_when_the_server_has_done_it() -> None:
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as upstream:
        threading.Thread(target=upstream.serve_forever, daemon=True).start()
        with Proxy(("127.0.0.1", upstream.server_port), "http") as proxy:
            assert isinstance(proxy.address, tuple)
            url = f"http://127.0.0.1:{proxy.address[1]}"
            assert urlopen(f"{url}/1", timeout=10).read() == b"ok"
            proxy.arm(Fault("lose", kind="GET"))
            with pytest.raises(OSError):
                urlopen(f"{url}/2", timeout=10)
            assert urlopen(f"{url}/3", timeout=10).read() == b"ok"
        upstream.shutdown()
    assert seen == ["/1", "/2", "/3"]
