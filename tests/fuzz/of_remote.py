"""What a server says and sends: listings, manifests of copies, and answers over HTTP."""

import contextlib
import functools
import hashlib
import json
import shutil
import socketserver
import threading
from typing import Any

import fsspec

from fuzz.bounds import REFUSED, answer, scratch
from fuzz.targets import parser
from tailfit.data.remote.fetching import fetch


class Lying(fsspec.AbstractFileSystem):
    """A server that says of its files what it is told to."""

    protocol = "lying"
    cachable = False
    says: Any = None

    def info(self, path: str, **options: Any) -> Any:
        path = self._strip_protocol(path)
        return self.says["info"] if path.strip("/") == "set" else self._files()[path]

    def find(
        self, path: str, maxdepth: Any = None, withdirs: bool = False, detail: bool = False, **options: Any
    ) -> Any:
        return self._files()

    def _files(self) -> dict[str, Any]:
        return {
            f"set/{name}": {"name": f"set/{name}", "type": "file", **file} for name, file in self.says["files"].items()
        }

    def _open(self, path: str, *arguments: Any, **options: Any) -> Any:
        import io

        return io.BytesIO(b"1234")


fsspec.register_implementation("lying", Lying, clobber=True)
LISTING = {"info": {"type": "directory"}, "files": {"a.npy": {"size": 4, "ETag": "x"}, "data/b.npy": {"size": None}}}


@parser(
    lambda: [json.dumps(LISTING).encode(), b'{"info": {"type": "file", "name": "set", "size": 4}, "files": {}}'],
    json=True,
)
def remote_listing(data: bytes) -> None:
    try:
        Lying.says = json.loads(data)
    except (ValueError, RecursionError):
        return
    cache = scratch("listing") / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    target = answer(lambda: fetch("lying://set", cache))
    beside = {path.name for path in cache.parent.iterdir()}
    assert beside <= {"cache"}, "a file outside of the cache"
    if target is not REFUSED:
        assert target.resolve().is_relative_to(cache.resolve())


MANIFEST = {
    "files": {"a.bin": {"size": 4, "tag": "created 1", "sha256": hashlib.sha256(b"1234").hexdigest(), "mtime_ns": 1}}
}


@parser(lambda: [json.dumps(MANIFEST).encode(), b"{}", b""], json=True)
def remote_manifest(data: bytes) -> None:
    """The list of what was copied before; whatever it says, what is served is what is there."""
    cache = scratch("manifest") / "cache"
    with fsspec.open("memory://fuzzed/a.bin", "wb") as file:
        file.write(b"1234")
    target = answer(lambda: fetch("memory://fuzzed", cache))
    assert target is not REFUSED
    (target.parent / "manifest.json").write_bytes(data)
    (target / "a.bin").write_bytes(b"12345")
    again = answer(lambda: fetch("memory://fuzzed", cache))
    assert (again / "a.bin").read_bytes() == b"1234", "another content than the server has"


class Server(socketserver.ThreadingTCPServer):
    """Answers everything with the same bytes."""

    daemon_threads, allow_reuse_address = True, True
    says = b""

    def handle_error(self, request: Any, client: Any) -> None:
        pass


class Handler(socketserver.StreamRequestHandler):
    timeout = 5

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while self.rfile.readline(1 << 16).strip():
                pass
            self.wfile.write(self.server.says)  # type: ignore[attr-defined]


@functools.cache
def server() -> Server:
    made = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, name="fuzz-server", daemon=True).start()
    return made


def answers() -> list[bytes]:
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
    return [
        head + b"Content-Length: 4\r\nETag: x\r\n\r\n1234",
        head + b"Transfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n0\r\n\r\n",
        head + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08",
        head + b"\r\n1234",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/4\r\nConnection: close\r\n\r\n1234",
        b"HTTP/1.1 302 Found\r\nLocation: /b\r\nConnection: close\r\n\r\n",
    ]


HTTP = (
    "\r\n",
    "Content-Length: ",
    "Content-Range: bytes 0-3/4",
    "Accept-Ranges: bytes",
    "Transfer-Encoding: chunked",
    "gzip",
    "identity",
)


@parser(answers, words=HTTP, longest=1024)
def http_answer(data: bytes) -> None:
    cache = scratch("http") / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    server().says = data
    port = server().server_address[1]
    target = answer(lambda: fetch(f"http://127.0.0.1:{port}/a.npy", cache))
    if target is not REFUSED:
        body = target.read_bytes()
        assert len(body) <= len(data)
    left = [path.name for path in cache.rglob("*.part")] if cache.exists() else []
    assert not left, "a part left behind"
