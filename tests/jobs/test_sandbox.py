"""Code that experts write: it is isolated for real where bubblewrap works, and nowhere else does it run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from leeroo.cli.main import app
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs import sandbox
from leeroo.engine.jobs.sandbox import check_sandbox, run_code
from leeroo.engine.jobs.selfplay.grade import compute
from leeroo.engine.jobs.verify import score

SQUARE = json.dumps({"function": "f", "cases": [[[2], 4], [[3], 9]]})


def isolates() -> bool:
    """Whether this machine can isolate code; if not, each test checks that nothing runs."""
    try:
        check_sandbox()
    except UsageError:
        return False
    return True


def result_of(body: str) -> object:
    """Return what the body of a function returns in the sandbox; None where nothing came back."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    [result] = run_code(f"import os\ndef f():\n{lines}", "f", [[]])
    return result[0] if result else None


def test_right_code_passes() -> None:
    """The share of unit tests that pass is the score; where nothing may run, it is 0."""
    assert score("def f(x): return x * x", SQUARE, "code") == isolates()
    assert (
        score("import math\ndef f(x):\n    print('[true, true]')\n    return math.prod([x, x])", SQUARE, "code")
        == isolates()
    )
    assert score("def f(x): return 4", SQUARE, "code") == isolates() / 2


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.write(1, b'[true, true]'); os._exit(0)",
        "import os\nfor fd in range(3, 9):\n    try: os.write(fd, b'[true]\\n[true]\\n')\n    except OSError: pass\nos._exit(0)",
        "def f(x): return [1000]",
        "def f(x): return b'4'",
        "def f(x): return []",
        "def f(x): return {x}",
        "def f(x): return float('nan')",
        "def f(x): return '[' * 100000",
        "def f(x):\n    y = []\n    for _ in range(100000): y = [y]\n    return y",
        "import json\njson.loads = json.dumps = lambda *_, **__: '[true]'\ndef f(x): return 1",
        "import builtins\nbuiltins.print = lambda *_, **__: None\ndef f(x): return x * x",
        "class Any(int):\n    __eq__ = lambda self, other: True\ndef f(x): return Any()",
        "def f(x): raise SystemExit('[true, true]')",
        "def f(x): raise KeyboardInterrupt",
        "def f(x): return '\\ud83d'",
        "def f(x): return x *",
        "def f(x): return 'a' * 10**10",
        "f = 4",
        "\x00",
        "",
    ],
)
def test_code_cannot_write_its_own_score(code: str) -> None:
    """The right results are compared outside, so whatever else comes back is wrong, and never an error."""
    assert score(code, SQUARE, "code") == 0


def test_code_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within its seconds of CPU, or some on the clock where it only waits; output without end is cut off."""
    monkeypatch.setattr(sandbox, "_CPU_S", 1)
    monkeypatch.setitem(sandbox._LIMITS, "RLIMIT_CPU", 1)
    began = time.monotonic()
    assert score("def f(x):\n    while True: pass", SQUARE, "code") == 0
    assert score("import os\nwhile True: os.write(1, b'x' * 2**20)", SQUARE, "code") == 0
    assert score("import time\ntime.sleep(60)", SQUARE, "code") == 0
    assert time.monotonic() - began < 15


def test_code_sees_nothing_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code sees no environment, /proc, home or files but Python's, and escapes from hooks lead nowhere."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    (tmp_path / "secret.txt").write_text("secret")
    seen = result_of(
        "import __main__\n__main__.allowed = ('',)\n"
        "def there(path):\n    try: return os.listdir(path)\n    except OSError: return None\n"
        f"return [sorted(os.listdir('/')), dict(os.environ), os.getuid(), there('/proc'), there({str(tmp_path)!r}), there('/etc'), there({str(Path.home())!r})]"
    )
    if not isolates():
        assert seen is None
        return
    assert isinstance(seen, list)
    root, environment, user, *others = seen
    assert set(root) <= {"lib", "lib64", "usr", "python"}
    assert set(environment) <= {"PWD", "LC_CTYPE", "LD_LIBRARY_PATH"}
    assert user == 65534
    assert others == [None] * 4


def test_code_changes_nothing(tmp_path: Path) -> None:
    """Code in the sandbox writes no file, anywhere."""
    tried = result_of(
        "done = []\n"
        f"for place in ('/', '/tmp', '/python', '/python/lib', '/usr/lib', {str(tmp_path)!r}):\n"
        "    try:\n        open(place + '/there', 'w').close()\n        done.append(place)\n    except OSError: pass\n"
        "return done"
    )
    assert tried == ([] if isolates() else None)
    assert not list(tmp_path.iterdir())


def test_code_reaches_no_network() -> None:
    """A server on this machine gets no connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        reached = result_of(
            "import socket\n"
            f"try: socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 1)\n"
            "except OSError: return 'refused'\nreturn 'connected'"
        )
    assert reached == ("refused" if isolates() else None)


def test_code_starts_no_process() -> None:
    """Neither fork, nor the C function below it, nor a thread works."""
    tried = result_of(
        "import _posixsubprocess, threading\ndone = []\n"
        "for _ in range(20):\n    try:\n        if os.fork() == 0: os._exit(0)\n        done.append('fork')\n    except OSError: pass\n"
        "try: threading.Thread(target=int).start(); done.append('thread')\nexcept RuntimeError: pass\n"
        "import subprocess\n"
        "try: subprocess.run(['/python/bin/python', '-c', '']); done.append('subprocess')\nexcept OSError: pass\n"
        "return done"
    )
    assert tried == ([] if isolates() else None)


def test_without_bubblewrap_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Naming the family is refused in one line, and code scores 0 and leaves no trace."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="install it") as refused:
        check_sandbox()
    assert len(str(refused.value).splitlines()) == 1
    assert score("def f(x): return x * x", SQUARE, "code") == 0


def test_a_bubblewrap_that_may_not_isolate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bubblewrap is refused where it cannot isolate, as where user namespaces are switched off."""
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    sandbox._isolates.cache_clear()
    try:
        with pytest.raises(UsageError, match="cannot isolate"):
            check_sandbox()
    finally:
        sandbox._isolates.cache_clear()


def test_no_process_is_left_running() -> None:
    """All processes are gone when the result is there."""
    result_of("return 1")
    running = subprocess.run(["ps", "-e", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert "/python/bin/python" not in running


def test_self_play_runs_code_only_where_that_is_allowed(tmp_path: Path) -> None:
    """The family is off by default, and naming it without the flag is an error before anything is sent."""
    done = CliRunner().invoke(app, ["selfplay", "--families", "code", "--rounds", "0", "--out", str(tmp_path / "play")])
    assert done.exit_code != 0
    assert "--run-code" in str(done.exception or "") + done.output
    assert not (tmp_path / "play" / "rounds").exists()


def test_answers_that_are_code_are_judged_where_code_may_not_run() -> None:
    """Without leave they have no computed score, so a judge reads them; with it, and a sandbox, their tests run."""
    query = {"query_id": "q", "answer": SQUARE, "check": "code"}
    answer = {"query_id": "q", "answer": "def f(x): return x * x", "recorded_score": None, "error": None}
    queries, answers = pa.Table.from_pylist([query]), pa.Table.from_pylist([answer])
    assert np.isnan(compute(queries, answers)).all()
    assert compute(queries, answers, run_code=True).tolist() == [float(isolates())]
