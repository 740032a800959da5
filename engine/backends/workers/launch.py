"""Launch worker processes, also ahead of the model that they will load: imports take longer than reading and planning.

Both sides of the start are here, so little is imported before it. It knows nothing of models or messages.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO, NamedTuple

from leeroo.engine.process.imports import own_process, quick_transformers, skip_pandas

# The module that answers calls, which is above this one.
_SERVES = "leeroo.engine.backends.worker"
# Modules that a worker of a kind imports before it has a model, and variables of its environment. Threads of
# transformers that wait for a core sleep: otherwise they keep it busy, and beside other work a model takes many times
# as long. vLLM loses more by it on an idle machine, and changes its threads between steps.
_IMPORTED = {
    "transformers": (
        "leeroo.engine.backends.local.transformers",
        "transformers.models.auto.modeling_auto",
        "transformers.models.auto.tokenization_auto",
    )
}
_VARIABLES = {"transformers": {"OMP_WAIT_POLICY": "PASSIVE"}}


class Worker(NamedTuple):
    """A process that waits for calls, this side of its connection, and a file with what it prints."""

    process: subprocess.Popen[bytes]
    connection: Connection
    output: IO[bytes]


# By process and kind: a fork has no workers of its parent.
_ahead: dict[tuple[int, str], Worker] = {}


def has_gpu() -> bool:
    """Return whether there is a GPU that vLLM runs on (NVIDIA's or AMD's)."""
    return Path("/dev/nvidia0").exists() or Path("/dev/kfd").exists()


def launch(kind: str) -> Worker:
    """Return a worker for models of a kind: the one that was launched ahead, else a new one."""
    worker = _ahead.pop((os.getpid(), kind), None)
    if worker is None:
        return _start(kind)
    if worker.process.poll() is not None:
        _end(worker)
        return _start(kind)
    return worker


def launch_ahead(kind: str) -> None:
    """Have a worker import what models of a kind need; the next `launch` takes it."""
    key = os.getpid(), kind
    if kind not in _IMPORTED or key in _ahead:
        return
    worker = _start(kind)
    if _ahead.setdefault(key, worker) is not worker:  # another thread was faster
        _end(worker)


def close_ahead() -> None:
    """End the workers that were launched ahead and not taken."""
    for kind in _IMPORTED:
        worker = _ahead.pop((os.getpid(), kind), None)
        if worker is not None:
            _end(worker)


def _end(worker: Worker) -> None:
    worker.process.kill()
    worker.process.wait()
    worker.connection.close()
    worker.output.close()


def _start(kind: str) -> Worker:
    ours, theirs = Pipe()
    # Users do not want to read what is printed while loading. The last of it says why a process died.
    output = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process is
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, str(theirs.fileno()), kind],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={**_VARIABLES.get(kind, {}), **os.environ},
        start_new_session=True,  # Ctrl-C is for the process that started it
    )
    theirs.close()
    return Worker(process, ours, output)


def main() -> None:
    """Serve as a worker: arguments are the descriptor of the connection, and the kind of the model."""
    descriptor, kind = int(sys.argv[1]), sys.argv[2]
    os.set_inheritable(descriptor, False)
    with contextlib.suppress(OSError):  # when memory runs out, this is to be killed and not the one that started it
        Path("/proc/self/oom_score_adj").write_text("500")
    gc.disable()  # nothing of what is imported is garbage: looking for it takes a fifth of the time
    own_process()
    skip_pandas()
    worker = importlib.import_module(_SERVES).WorkerProcess(Connection(descriptor))
    with quick_transformers(), contextlib.suppress(Exception):  # loading the model raises it again, and says which
        for module in _IMPORTED.get(kind, ()):
            importlib.import_module(module)
    gc.freeze()
    gc.enable()
    worker.serve()


if __name__ == "__main__":
    main()
