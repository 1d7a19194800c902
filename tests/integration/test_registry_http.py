"""Connections to a server that behaves as some do: it closes idle ones, refuses early, ends in the middle."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import IncompleteRead, InvalidURL

import pytest

from bundler.effects.registry.endpoint import Connection, Endpoint
from bundler.effects.registry.http import Connections, NotConnectedError, Response
from bundler.effects.registry.session import Session
from bundler.errors import RegistryError, UsageError

pytestmark = pytest.mark.integration

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Server:
    """Serves connections one after the other; ``sockets`` counts them, ``heads`` are the first lines of requests."""

    def __init__(self, listener: socket.socket, serve: Callable[[Server, socket.socket], None]) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.sockets = 0
        self.heads: list[str] = []
        self.next = threading.Event()
        self._listener, self._serve = listener, serve

    def run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.sockets += 1
            with client, suppress(OSError):
                self._serve(self, client)

    def head(self, client: socket.socket) -> bool:
        """Read the head of a request; return False where the client has gone."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = client.recv(1)
            if not piece:
                return False
            head += piece
        self.heads.append(head.partition(b"\r\n")[0].decode())
        return True


@contextmanager
def serving(serve: Callable[[Server, socket.socket], None]) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener, serve)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        yield server
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.fixture
def connections() -> Iterator[Connections]:
    made = Connections(kept=2, connecting=5, waiting=5, completing=5)
    yield made
    made.close()


def send(connections: Connections, url: str, method: str = "GET", body: list[bytes] | None = None) -> Response:
    headers = {"Content-Length": str(sum(map(len, body)))} if body else {}
    return connections.send(method, url, headers, body, proxy=None, context=None)


def whole(connections: Connections, url: str) -> bytes:
    response = send(connections, url)
    content = response.read(100)
    response.release()
    return content


def answer_all(server: Server, client: socket.socket) -> None:
    while server.head(client):
        client.sendall(OK)


def test_one_connection_serves_request_after_request(connections: Connections) -> None:
    with serving(answer_all) as server:
        assert [whole(connections, f"{server.url}/{number}?a=b") for number in range(3)] == [b"hello"] * 3
        connections.close()
    assert server.sockets == 1
    assert server.heads == [f"GET /{number}?a=b HTTP/1.1" for number in range(3)]


def test_a_connection_that_the_server_closed_while_it_was_idle_is_not_used_again(connections: Connections) -> None:
    def once(server: Server, client: socket.socket) -> None:
        server.head(client)
        client.sendall(OK)
        client.shutdown(socket.SHUT_RDWR)
        server.next.set()

    with serving(once) as server:
        for _ in range(3):
            server.next.clear()
            assert whole(connections, server.url) == b"hello"
            assert server.next.wait(5)
    assert server.sockets == 3


def test_a_body_that_was_not_read_to_its_end_is_not_taken_for_the_next_answer(connections: Connections) -> None:
    with serving(answer_all) as server:
        response = send(connections, server.url)
        assert response.read(2) == b"he"
        response.release()
        assert whole(connections, server.url) == b"hello"
        connections.close()
    assert server.sockets == 2


def test_an_answer_that_ends_too_early_is_noticed(connections: Connections) -> None:
    def cut(server: Server, client: socket.socket) -> None:
        server.head(client)
        client.sendall(OK[:-2])

    with serving(cut) as server:
        response = send(connections, server.url)
        assert response.read(2) == b"he"
        with pytest.raises(IncompleteRead):
            response.read(3)
        response.close()
        response, buffer = send(connections, server.url), memoryview(bytearray(5))
        assert response.read_into(buffer) == 3  # what came is not lost
        with pytest.raises(IncompleteRead):
            response.read_into(buffer)
        response.close()


@pytest.mark.parametrize("polite", [True, False])
def test_a_refusal_is_heard_before_all_of_a_body_was_sent(
    connections: Connections,
    polite: bool,  # noqa: FBT001
) -> None:
    def refuse(server: Server, client: socket.socket) -> None:
        server.head(client)
        client.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        if not polite:
            server.next.wait(0.3)  # for bytes that nobody reads: closing then resets the connection
            return
        client.shutdown(socket.SHUT_WR)
        while client.recv(1 << 16):
            pass

    with serving(refuse) as server:
        response = send(connections, server.url, "PUT", [b"x" * 100_000] * 300)
        assert response.status == 413
        response.release()


def _silent(server: Server, _client: socket.socket) -> None:
    server.next.wait(5)


def test_a_server_that_does_not_answer_is_not_waited_for_forever() -> None:
    connections = Connections(kept=1, connecting=5, waiting=0.1, completing=0.1)
    with serving(_silent) as server:
        with pytest.raises(TimeoutError):
            send(connections, server.url)
        server.next.set()


def read(connections: Connections, url: str, amount: int) -> bytes:
    with closing(send(connections, url)) as response:
        return response.read(amount)


@pytest.mark.parametrize("at_once", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
def test_an_answer_that_drips_is_given_up(at_once: bytes) -> None:
    def drip(server: Server, client: socket.socket) -> None:
        server.head(client)
        client.sendall(at_once)
        for byte in b"HTTP/1.1 200 OK\r\nX-Filler: " + b"x" * 1000:
            client.sendall(bytes([byte]))
            if server.next.wait(0.05):
                return

    begin = time.monotonic()
    with (
        closing(Connections(kept=1, connecting=5, waiting=0.2, completing=0.2)) as connections,
        serving(drip) as server,
    ):
        with pytest.raises(TimeoutError, match="bytes came in"):
            read(connections, server.url, 100_000)
        server.next.set()
    assert time.monotonic() - begin < 5


def test_a_slow_answer_that_goes_on_is_read_to_its_end() -> None:
    def slow(server: Server, client: socket.socket) -> None:
        server.head(client)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n")
        for _ in range(10):
            client.sendall(b"x" * 20_000)
            server.next.wait(0.1)

    with (
        closing(Connections(kept=1, connecting=5, waiting=0.2, completing=0.2)) as connections,
        serving(slow) as server,
    ):
        response = send(connections, server.url)
        assert len(response.read(200_000)) == 200_000
        response.release()


def test_a_server_that_stores_what_it_got_is_waited_for_longer() -> None:
    def slow(server: Server, client: socket.socket) -> None:
        while server.head(client):
            server.next.wait(0.6)
            client.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    with closing(Connections(kept=1, connecting=5, waiting=0.2, completing=5)) as connections, serving(slow) as server:
        url = f"{server.url}/"
        done = connections.send("PUT", url, {"Content-Length": "0"}, None, proxy=None, context=None, completes=True)
        assert done.status == 201
        done.release()
        with pytest.raises(TimeoutError):  # the same connection, and no patience any more
            send(connections, url)
    assert len(server.heads) == 2


def test_nobody_listening_is_told_from_an_exchange_that_broke(connections: Connections) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotConnectedError, match="refused") as raised:
        send(connections, f"http://127.0.0.1:{port}/")
    assert raised.value.proxy is None


def test_what_a_server_forgot_to_encode_is_encoded(connections: Connections) -> None:
    with serving(answer_all) as server:
        assert whole(connections, f"{server.url}/a b/é?state=x%2Fy+z==") == b"hello"
        connections.close()
    assert server.heads == ["GET /a%20b/%C3%A9?state=x%2Fy+z== HTTP/1.1"]


@pytest.mark.parametrize(
    "url", ["http://r.example:port/", "http:///v2/", "ftp://r.example/", f"http://{'a' * 70}.example/", "http://[::1/"]
)
def test_an_address_that_is_none_is_an_error_like_others(connections: Connections, url: str) -> None:
    with pytest.raises(InvalidURL):
        send(connections, url)


def test_a_registry_that_sends_us_nowhere_is_named_at_once() -> None:
    def nowhere(server: Server, client: socket.socket) -> None:
        while server.head(client):
            client.sendall(
                b"HTTP/1.1 307 Elsewhere\r\nLocation: http://r.example:port/?key=1\r\nContent-Length: 0\r\n\r\n"
            )

    with serving(nowhere) as server:
        endpoint = Endpoint(server.url.removeprefix("http://"), plain_http=True)
        asked = Connection(environment={"http_proxy": "http://127.0.0.1:9"})
        told = pytest.raises(RegistryError, match=r"invalid URL: http://r\.example:port/\. ")
        with closing(Session(endpoint, asked)) as session, told:
            session.check()
    assert len(server.heads) == 1


@pytest.mark.parametrize("proxy", ["https://proxy.example:3128", "socks5://proxy.example"])
def test_a_proxy_of_another_kind_is_named(connections: Connections, proxy: str) -> None:
    with pytest.raises(UsageError, match="is of the kind"):
        connections.send("GET", "https://r.example/", {}, None, proxy=proxy, context=None)


def test_a_proxy_whose_port_is_none_is_said_without_its_password(connections: Connections) -> None:
    with pytest.raises(UsageError, match="is not valid") as raised:
        connections.send("GET", "https://r.example/", {}, None, proxy="http://me:secret@proxy:x", context=None)
    assert "secret" not in str(raised.value)
