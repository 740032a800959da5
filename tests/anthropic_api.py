"""A fake of Anthropic's Messages API that keeps marked beginnings, as the real one does."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JSON = dict[str, Any]
# Bytes per token, and the shortest beginning that is kept.
BYTES, LEAST_TOKENS = 4, 1024


class AnthropicAPI(ThreadingHTTPServer):
    """A server on loopback that answers each request with "echo", after a moment.

    Attributes:
        bodies: All requests.
        usages: The usage of each reply.
        kept: Beginnings that may be read: those that were written by a request whose reply began.

    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.lock = threading.Lock()
        self.bodies: list[JSON] = []
        self.usages: list[JSON] = []
        self.kept: set[str] = set()

    @property
    def url(self) -> str:
        """The base URL for the client."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def marks(self) -> int:
        """Count the requests with a mark."""
        return sum("cache_control" in json.dumps(body) for body in self.bodies)

    def answer(self, body: JSON) -> JSON:
        """Return the reply to a request; reading and writing of its marked beginning is in the usage."""
        system = body.get("system") or []
        blocks = _blocks(system) + [block for message in body["messages"] for block in _blocks(message["content"])]
        marked = max((i for i, block in enumerate(blocks, 1) if "cache_control" in block), default=0)
        beginning = "\0".join(block.get("text", "") for block in blocks[:marked])
        tokens = sum(len(block.get("text", "").encode()) for block in blocks) // BYTES
        part = len(beginning.encode()) // BYTES
        part = part if part >= LEAST_TOKENS else 0
        with self.lock:
            self.bodies.append(body)
            read = part if beginning in self.kept else 0
        time.sleep(0.05)  # others come in while it is written
        usage = {
            "input_tokens": tokens - part,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": part - read,
            "output_tokens": 10,
        }
        with self.lock:
            self.kept.add(beginning)
            self.usages.append(usage)
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [{"type": "text", "text": "echo"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": usage,
        }


def _blocks(content: Any) -> list[JSON]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AnthropicAPI  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        """Answer one message."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = json.dumps(self.server.answer(body)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@contextlib.contextmanager
def running() -> Iterator[AnthropicAPI]:
    """Provide a running server."""
    server = AnthropicAPI()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
