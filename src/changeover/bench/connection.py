"""One HTTP/1.1 connection of the generator: a non-blocking socket, one request at a time."""

from __future__ import annotations

import errno
import socket

from changeover.bench.wire import ResponseHead, parse_head

_CHUNK = 1 << 18
_END = b"\r\n\r\n"
_MOST_HEADS = 4096  # heads seen are kept parsed: they repeat for as long as date and epoch do


class Broken(Exception):
    """The connection is of no more use; the message is the word that goes into the records."""


class Cut(Broken):
    """The peer closed or reset a connection that was open: another one may do better."""


class Connection:
    """A connection and the request on it.

    Attributes:
        due, sent: times of the present request, `time.monotonic`.
        sample: which request it is.
        tries: how many connections this request has been sent on, with this one.
        fresh: opened for this request alone.
        busy: a request is waiting for its answer.
        connecting: not yet open; the socket becomes writable when it is.
        unsent: the part of the request the socket had no room for yet.
    """

    __slots__ = (
        *("_buffer", "_code", "_head", "_heads", "_start", "_sock"),
        *("busy", "connecting", "due", "fd", "fresh", "sample", "sent", "tries", "unsent"),
    )

    def __init__(self, address: tuple[str, int], heads: dict[bytes, ResponseHead]) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = self._sock.fileno()
        self.due = self.sent = 0.0
        self.sample, self.tries = 0, 1
        self.fresh = self.busy = False
        self.connecting = True
        self.unsent = memoryview(b"")
        self._heads = heads
        self._head: ResponseHead | None = None
        self._buffer = b""
        self._start = 0
        self._code = self._sock.connect_ex(address)

    def connected(self) -> None:
        """Check that connecting succeeded, when the socket has become writable.

        Raises:
            Broken: it did not.
        """
        if self._code == errno.EINPROGRESS:
            self._code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if self._code:
            raise Broken(_word(self._code))
        self.connecting = False

    @property
    def port(self) -> int:
        """The local port, by which the server's side of the connection can be found; 0 when it never had one."""
        try:
            return int(self._sock.getsockname()[1])
        except OSError:
            return 0

    def send(self, request: bytes) -> bool:
        """Send a request; return False when a part is left for `send_rest`.

        Raises:
            Cut: the peer is gone.
        """
        try:
            count = self._sock.send(request)
        except BlockingIOError:
            count = 0
        except OSError as error:
            raise Cut(_word(error.errno or 0)) from None
        if count < len(request):
            self.unsent = memoryview(request)[count:]
            return False
        return True

    def send_rest(self) -> bool:
        """Send what is left; return whether all is sent.

        Raises:
            Cut: the peer is gone.
        """
        try:
            self.unsent = self.unsent[self._sock.send(self.unsent) :]
        except BlockingIOError:
            return False
        except OSError as error:
            raise Cut(_word(error.errno or 0)) from None
        return len(self.unsent) == 0

    def receive(self) -> tuple[ResponseHead, bytes] | None:
        """Read what there is; return head and body once the answer is complete.

        Raises:
            Cut: the peer closed or reset the connection.
            Broken: what it sent is no answer.
        """
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return None
        except OSError as error:
            raise Cut(_word(error.errno or 0)) from None
        if not data:
            raise Cut("connection closed")
        self._buffer = self._buffer + data if self._buffer else data
        if self._head is None and not self._read_head():
            return None
        return self._take_answer()

    def _read_head(self) -> bool:
        end = self._buffer.find(_END)
        if end < 0:
            return False
        raw = self._buffer[:end]
        head = self._heads.get(raw)
        if head is None:
            try:
                head = parse_head(raw)
            except ValueError:
                raise Broken("bad answer") from None
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            self._heads[raw] = head
        self._head = head
        self._start = end + len(_END)
        return True

    def _take_answer(self) -> tuple[ResponseHead, bytes] | None:
        head = self._head
        if head is None or len(self._buffer) < self._start + head.length:
            return None
        if len(self._buffer) > self._start + head.length or not self.busy:
            raise Broken("bad answer")  # more than was asked for
        body = self._buffer[self._start :]
        self._buffer, self._head = b"", None
        return head, body

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
}


def _word(code: int) -> str:
    """Return the recorded word for an error number."""
    return _WORDS.get(code) or f"socket error {errno.errorcode.get(code, code)}"
