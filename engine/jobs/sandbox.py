"""Sandbox: run code that an expert wrote, isolated from the machine by bubblewrap (`bwrap`).

The code is a stranger's, and may be an attack. It gets namespaces of its own: no network, no other processes, no /proc,
no home, no environment, a read-only root with Python alone, the user nobody, and limits on memory, time, output and
processes. Where that cannot be had, nothing runs.

The code gets the arguments but never the right results; those are compared in our own process. So a forged result
counts only if it is right.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from leeroo.engine.errors import UsageError
from leeroo.engine.model_json import parse_json

# Seconds of CPU, bytes of memory, and bytes of all results together. RLIMIT_NPROC 0: no process, no thread.
_CPU_S, _RESULT_BYTES = 5, 2**20
_LIMITS = {
    "RLIMIT_CPU": _CPU_S,
    "RLIMIT_AS": 2**29,
    "RLIMIT_FSIZE": _RESULT_BYTES,
    "RLIMIT_CORE": 0,
    "RLIMIT_NPROC": 0,
}
_NOBODY = 65534
# Shared libraries of the system. Python itself is at /python, as a folder of root's home would be closed to nobody.
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64")
# Gives up all that the code must not have, then runs it. What the code prints goes to the null device.
_RUN = """
import json, os, resource, sys
given = json.load(sys.stdin)
results = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for name, most in given["limits"].items():
    resource.setrlimit(getattr(resource, name), (most, most))
if os.getuid() == 0:
    os.setgroups([])
    os.setresgid(*[given["nobody"]] * 3)
    os.setresuid(*[given["nobody"]] * 3)
space = {"__name__": "answer"}
exec(compile(given["code"], "answer", "exec"), space)
for arguments in given["calls"]:
    try:
        line = json.dumps([space[given["function"]](*arguments)])
    except Exception:
        line = "[]"
    print(line, file=results, flush=True)
os._exit(0)
"""


def check_sandbox() -> None:
    """Check that code can be isolated here.

    Raises:
        UsageError: bubblewrap is missing, or the system does not let it isolate.

    """
    if shutil.which("bwrap") is None:
        raise UsageError("code of experts runs only under bubblewrap: install it (bwrap), or leave out --run-code")
    if not _isolates():
        raise UsageError("bubblewrap cannot isolate code here: allow user namespaces, or leave out --run-code")


@cache
def _isolates() -> bool:
    return run_code("def f(x): return x", "f", [[1]]) == [[1]]


def run_code(code: str, function: str, calls: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Call a function that some code defines.

    Args:
        code: The text of a Python module.
        function: The function's name in it.
        calls: [n], the arguments of each call, JSON values.

    Returns:
        [n], for each call a list of its one result, a JSON value; an empty list where there is none, as where the code
        cannot be isolated.

    """
    given = {"code": code, "function": function, "calls": calls, "limits": _LIMITS, "nobody": _NOBODY}
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return [[] for _ in calls]
    with tempfile.TemporaryFile() as results:  # RLIMIT_FSIZE bounds a file, not a pipe
        with suppress(OSError, subprocess.TimeoutExpired):  # the calls before have written their results
            subprocess.run(
                [bwrap, *_isolation(), "-I", "-S", "-c", _RUN],
                input=json.dumps(given).encode(),
                stdout=results,
                stderr=subprocess.DEVNULL,
                env={},
                timeout=2 * _CPU_S,
                check=False,
                start_new_session=True,
            )
        results.seek(0)
        lines = results.read(_RESULT_BYTES).splitlines()
    return [_result(lines[i]) if i < len(lines) else [] for i in range(len(calls))]


def _isolation() -> list[str]:
    """Return the arguments of bubblewrap, and the Python that it runs."""
    python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    shown = {"/python/bin/python": str(python), **{place: place for place in _LIBRARIES}}
    shown |= {f"/python/{lib}": f"{sys.base_prefix}/{lib}" for lib in ("lib", sys.platlibdir)}
    # Root needs no user namespace, and gives itself up inside; the limit on processes does not hold for root.
    root = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    user = root if os.getuid() == 0 else ["--unshare-user", "--uid", str(_NOBODY), "--gid", str(_NOBODY)]
    isolated = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    mounts = [part for place in ("/python", "/python/bin", "/usr") for part in ("--perms", "0755", "--dir", place)]
    mounts += [part for place, source in shown.items() for part in ("--ro-bind-try", source, place)]
    safe = ["--remount-ro", "/", "--chdir", "/", "--die-with-parent", "--new-session", "--clearenv"]
    found = ["--setenv", "LD_LIBRARY_PATH", "/python/lib"]
    return [*user, *isolated, *mounts, *safe, *found, "/python/bin/python"]


def _result(line: bytes) -> list[Any]:
    """Read one line of results; a wrong line is no result."""
    try:
        result = parse_json(line)
    except ValueError:
        return []
    return result if isinstance(result, list) and len(result) == 1 else []
