"""A real HTTP server on this machine that serves files, and can break one off."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class FileServer(ThreadingHTTPServer):
    """Serves files with ranges; can spoil, cut off or hide one."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        """By path and query."""
        self.cut_after: dict[str, list[int]] = {}
        """Bytes after which the connection breaks, per file, for one request after another."""
        self.requests: list[tuple[str, str | None]] = []
        """File and range."""

    @property
    def url(self) -> str:
        """Address of the folder."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Answers GET with 200, 206, 404 or 416."""

    server: FileServer

    def do_GET(self) -> None:
        """Send a file or the rest of it."""
        name = unquote(self.path.lstrip("/"))
        self.server.requests.append((name, self.headers["Range"]))
        if name not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[name]
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cuts = self.server.cut_after.get(name)
        self.wfile.write(content[start : start + cuts.pop(0)] if cuts else content[start:])

    def log_message(self, *args: object) -> None:
        """Stay silent."""


@contextmanager
def serving() -> Iterator[FileServer]:
    """Give a server that runs until the block ends."""
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def deserted_url() -> str:
    """Return an address where nobody listens: that of a server just closed."""
    closed = FileServer()
    closed.server_close()
    return closed.url
