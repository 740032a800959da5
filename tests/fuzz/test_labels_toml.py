"""Files of labels: whatever is in one, it is labels or one clear line."""

from __future__ import annotations

import random
from pathlib import Path

from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.label import read_labels
from tests.fuzz.conftest import Cases

_GOOD = """instruction = "Which team?"
labels = ["billing", "bug", "other"]
[[example]]
text = "I was charged twice."
label = "billing"
"""
_NAMED = """[labels]
billing = "invoices"
bug = ""
[[example]]
text = "It crashes."
label = ["bug"]
"""
_VALUES = (
    '""', "''", '" "', "1", "-0", "nan", "inf", "1e999", "true", "[]", "{}", '["a"]', '["a", 1]', "1979-05-27",
    '"\\ud83d"', '"\\u0000"', '"a" # b', "[" * 3000, '{a = {b = {c = "d"}}}', '"""', '["a", "a"]', "0x" + "f" * 5000,
)  # fmt: skip
_LINES = ("labels", "instruction", "[[example]]", "[labels]", "[example]", "text", "label", "several", "a.b", '"" = 1')


def _mutated(rng: random.Random) -> bytes:
    """Return a good file with something wrong in it: a value, a line, some bytes."""
    lines = rng.choice((_GOOD, _NAMED)).splitlines()
    for _ in range(rng.randint(0, 4)):
        at = rng.randrange(len(lines))
        key = lines[at].partition("=")[0]
        change = rng.randrange(5)
        if change == 0:
            lines[at] = f"{key}= {rng.choice(_VALUES)}"
        elif change == 1:
            lines.insert(at, f"{rng.choice(_LINES)} = {rng.choice(_VALUES)}")
        elif change == 2:
            lines.insert(at, rng.choice(_LINES))
        elif len(lines) > 1:
            lines.pop(at) if change == 3 else lines.insert(at, lines[rng.randrange(len(lines))])
    data = bytearray("\n".join(lines).encode())
    for _ in range(rng.choice((0, 0, 0, 1, 5))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return rng.choice((b"", b"", b"\xef\xbb\xbf", b"\xff\xfe")) + bytes(data)


def test_any_file_is_labels_or_one_line(cases: Cases, tmp_path: Path) -> None:
    """The names are texts, each once, and every example has some of them; else one line names the file."""
    file = tmp_path / "labels.toml"
    for name, rng in cases(400):
        file.write_bytes(_mutated(rng))
        try:
            labels = read_labels(str(file), several=rng.random() < 0.3)
        except UsageError as error:
            line = str(error)
            assert line.isprintable(), (name, line)
            assert "Error" not in line, (name, line)
            assert len(line) < 500, (name, line)
            continue
        assert len(set(labels.names)) == len(labels.names) > 0, name
        assert all(each.strip() and each.encode() for each in labels.names), name
        assert all(set(given) <= set(labels.names) for _, given in labels.examples), name
