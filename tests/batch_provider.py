"""A fake provider with OpenAI's Files and Batches API: each line of a batch is treated as a call of `tests.provider`.

provider.open.clear()                  batches stay in progress
provider.moments["create"] = kill      called when that has just been done, before the reply
provider.leaves = {"late": "batch_expired"}   lines with this word are never asked, with this code
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.provider import BEHAVIOURS, Provider, Reply, _Answering, _status

JSON = dict[str, Any]


class BatchProvider(Provider):
    """A provider whose batches are answered at once, unless they are held.

    Attributes:
        open: Batches end while it is set.
        moments: By 'upload', 'create', 'look', 'content' and 'cancel': called when it is done, before the reply.
        before: Likewise, before it is done.
        refuses: By the same names, the replies to the next calls.
        leaves: By a word of the prompt, the code of the error of lines that are never asked.
        spells: What a batch looks like when it is sent.
        fails: The errors of the next batches that are refused as a whole.
        files, batches: All that there ever were.

    """

    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = _Batching

    def reset(self) -> None:
        """Forget all."""
        super().reset()
        self.open = threading.Event()
        self.open.set()
        self.moments: dict[str, Callable[[], None]] = {}
        self.before: dict[str, Callable[[], None]] = {}
        self.refuses: dict[str, list[Reply]] = {}
        self.leaves: dict[str, str] = {}
        self.fails: list[JSON] = []
        self.spells: Callable[[JSON], JSON] = dict
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, JSON] = {}
        self.cancelled: list[str] = []

    def upload(self, content: bytes) -> JSON:
        """Keep a file."""
        file = f"file-{len(self.files)}"
        self.files[file] = content
        return {"id": file, "object": "file", "bytes": len(content), "purpose": "batch"}

    def create(self, body: JSON) -> JSON:
        """Create a batch, which is answered when it is looked at."""
        assert body["endpoint"] == "/v1/chat/completions"
        batch = {
            "id": f"batch_{len(self.batches)}",
            "object": "batch",
            "status": "in_progress",
            "created_at": int(time.time()),
            "output_file_id": None,
            "error_file_id": None,
            "errors": None,
            **body,
        }
        self.batches[batch["id"]] = batch
        return batch

    def look(self, name: str) -> JSON | None:
        """Return a batch, answered by now if it may be."""
        batch = self.batches.get(name)
        if batch is not None and batch["status"] == "in_progress" and self.open.is_set():
            self._end(batch, "completed")
        return batch

    def cancel(self, name: str) -> JSON:
        """End a batch: the first half of its lines was answered."""
        if self.batches[name]["status"] == "in_progress":
            self.cancelled.append(name)
            self._end(self.batches[name], "cancelled")
        return self.batches[name]

    def lines(self, batch: JSON) -> list[JSON]:
        """Return the input of a batch."""
        return [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]

    def _end(self, batch: JSON, status: str) -> None:
        batch[f"{'failed' if self.fails else status}_at"] = int(time.time()) + 1
        if self.fails:
            batch |= {"status": "failed", "errors": {"object": "list", "data": [self.fails.pop(0)]}}
            return
        lines = self.lines(batch)
        reached = lines if status == "completed" else lines[: len(lines) // 2]
        ended = [self._line(line) for line in reached]
        ended += [_unreached(line, "batch_cancelled") for line in lines[len(reached) :]]
        good = [line for line in ended if line["response"] and line["response"]["status_code"] == 200]
        for name, found in (("output", good), ("error", [line for line in ended if line not in good])):
            if found:
                batch[f"{name}_file_id"] = self.upload("\n".join(map(json.dumps, found)).encode())["id"]
        batch["request_counts"] = {"total": len(lines), "completed": len(good), "failed": len(lines) - len(good)}
        batch["status"] = status

    def _line(self, line: JSON) -> JSON:
        call = self.call(line["url"], {}, line["body"])
        for word, code in self.leaves.items():
            if word in call.prompt:
                self.asked[call.prompt] -= 1
                return _unreached(line, code)
        name = self.behaviour(call)
        behave = _status(name) if isinstance(name, int) else BEHAVIOURS[name]
        reply = behave(call)
        self.bill(call, str(name), reply)
        return {
            "id": "x",
            "custom_id": line["custom_id"],
            "response": {"status_code": reply.status, "request_id": "r", "body": reply.body},
            "error": None,
        }


def _unreached(line: JSON, code: str) -> JSON:
    return {"custom_id": line["custom_id"], "response": None, "error": {"code": code, "message": f"line: {code}"}}


class _Batching(_Answering):
    server: BatchProvider  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:  # noqa: N802 - the name is that of http.server
        """Upload a file, create or cancel a batch, or answer one call."""
        path = self.path.partition("?")[0]
        if path.startswith(("/v1/files", "/v1/batches")):
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if path == "/v1/files":
                self._step("upload", lambda: self.server.upload(_file_of(content)))
            elif path == "/v1/batches":
                self._step("create", lambda: self.server.create(json.loads(content)))
            else:
                name = path.split("/")[3]
                self._step("cancel", lambda: self.server.cancel(name))
            return
        super().do_POST()

    def do_GET(self) -> None:  # noqa: N802 - the name is that of http.server
        """Return a batch, the batches, or the content of a file."""
        path = self.path.partition("?")[0].split("/")
        if path[2] == "files":
            self._step("content", lambda: self.server.files[path[3]])
        elif len(path) == 3:
            newest = [self.server.spells(each) for each in reversed(self.server.batches.values())]
            self._step("list", lambda: {"data": newest, "has_more": False})
        else:
            self._step("look", lambda: (found := self.server.look(path[3])) and self.server.spells(found))

    def do_DELETE(self) -> None:  # noqa: N802 - the name is that of http.server
        """Remove a file."""
        self._step("delete", lambda: {"deleted": bool(self.server.files.pop(self.path.split("/")[3], None))})

    def _step(self, name: str, do: Callable[[], JSON | bytes | None]) -> None:
        with self.server.lock:
            refusals = self.server.refuses.get(name, [])
            refusal = refusals.pop(0) if refusals else None
        if refusal is not None:
            self._send(refusal)
            return
        self.server.before.get(name, _nothing)()
        found = do()
        self.server.moments.get(name, _nothing)()
        self._send(Reply({"error": {"message": "there is none"}}, 404) if found is None else Reply(found))


def _nothing() -> None:
    """Do nothing."""


def _file_of(form: bytes) -> bytes:
    """Return the file in a form."""
    head, _, rest = form.partition(b'name="file"')
    boundary = re.match(rb"--[^\r\n]+", form)
    assert boundary is not None, head
    return rest.partition(b"\r\n\r\n")[2].partition(b"\r\n" + boundary[0])[0]


@contextmanager
def running() -> Iterator[BatchProvider]:
    """Run a provider in a thread of its own."""
    server = BatchProvider()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()


def entry(provider: BatchProvider, name: str, price: float, more: str = "") -> str:
    """Return the entry of a pool file for an expert that is asked in batches; `more` are engine options."""
    keys = "batch = true\nbatch_discount = 0.5\n"
    options = f"[expert.engine]\npoll_interval = 0.2\nmax_retries = 2\n{more}"
    return provider.entry(name, price, 16, keys + options)
