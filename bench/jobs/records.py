"""Typed records of US addresses, against gold: F1 of the fields, and requests.

    pip download --no-deps --no-binary :all: -r bench/jobs/records-requirements.txt -d DATA
    python bench/jobs/records.py DATA/usaddress-0.5.16.tar.gz [--rows 200] [--pool POOL.toml]

The source archive of usaddress ships addresses whose words are marked by people. Those with a place, a state and a ZIP
code are taken, some drawn by chance. `leeroo_record` reads five fields of each. A field counts as right when it equals
gold in lower case, without punctuation around words; F1 is over all fields of all rows. The rule takes the first word
as number, the last five digits as ZIP code and the two capital letters before them as state. The last column is the
speed of the batch over that of a statement for each row, on the first rows.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa

import leeroo
from leeroo.engine.pool import default_pool, load_pool

# The labels that make a field, in the words of the archive.
FIELDS = {
    "number": ("AddressNumber",),
    "street": ("StreetNamePreDirectional", "StreetName", "StreetNamePostType", "StreetNamePostDirectional"),
    "place": ("PlaceName",),
    "state": ("StateName",),
    "zip": ("ZipCode",),
}
_NEEDED = ("place", "state", "zip")
_FILES = ("labeled.xml", "us50_train_tagged.xml", "us50_messiest_manual_label.xml")
_SPEC = "number VARCHAR, street VARCHAR, place VARCHAR, state VARCHAR, zip VARCHAR"

Fields = dict[str, str | None]


def main() -> None:
    """Extract and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--alone", type=int, default=10, help="rows with a statement of their own")
    parser.add_argument("--experts", nargs="*", default=())
    parser.add_argument("--pool", type=Path)
    given = parser.parse_args()
    texts, gold = _read(given.archive, given.rows)
    print(f"{len(texts):,} addresses, {sum(value is not None for row in gold for value in row.values()):,} fields\n")
    print("| who | precision | recall | F1 | " + " | ".join(f"F1 {name}" for name in FIELDS), end="")
    print(" | failed rows | requests | rows/s | batch over single |\n" + "|---" * (len(FIELDS) + 8) + "|")
    _show("rule", gold, [_by_rule(text) for text in texts], "| | | | |")
    for expert in given.experts or load_pool(given.pool or default_pool()).names:
        rows, seconds, requests = _extract(texts, expert, given.pool, at_once=True)
        _, alone, _ = _extract(texts[: given.alone], expert, given.pool, at_once=False)
        values = [row["value"] or dict.fromkeys(FIELDS) for row in rows]
        failed = sum(row["value"] is None for row in rows)
        faster = alone / given.alone / (seconds / len(texts))
        _show(expert, gold, values, f"| {failed} | {requests} | {len(texts) / seconds:.2f} | {faster:.1f} |")


def _extract(texts: list[str], expert: str, pool: Path | None, *, at_once: bool) -> tuple[list[Any], float, int]:
    """Return the records of some texts, the seconds of one statement for all or one for each, and the requests."""
    call = f"leeroo_recorded(text, '{_SPEC}', expert := '{expert}', max_tokens := 100)"
    with tempfile.TemporaryDirectory() as store, leeroo.connect(pool=pool, store=store) as con:
        con.register("addresses", pa.table({"i": range(len(texts)), "text": texts}))
        con.execute(f"SELECT {call} FROM (VALUES ('1 Main St, Reno, NV 89501')) v(text)")  # loads the model
        started = time.perf_counter()
        parts = [""] if at_once else [f"WHERE i = {i}" for i in range(len(texts))]
        rows = [
            row
            for part in parts
            for (row,) in con.execute(f"SELECT {call} FROM addresses {part} ORDER BY i").fetchall()
        ]
        seconds = time.perf_counter() - started
        ((requests,),) = con.execute("SELECT sum(answers) - 1 FROM leeroo_spend()").fetchall()
    return rows, seconds, int(requests)


def _read(archive: Path, rows: int) -> tuple[list[str], list[Fields]]:
    """Return texts of addresses and their fields, drawn by chance and always the same."""
    found: dict[str, Fields] = {}
    with tarfile.open(archive) as files:
        for member in files.getmembers():
            if member.name.split("/")[-1] in _FILES and (file := files.extractfile(member)) is not None:
                for each in ElementTree.parse(file).getroot():
                    parts = [(word.tag, (word.text or "").strip()) for word in each]
                    fields = {name: _field(parts, labels) for name, labels in FIELDS.items()}
                    if all(fields[name] for name in _NEEDED):
                        found[" ".join(text for _, text in parts)] = fields
    drawn = sorted(found, key=lambda text: hashlib.md5(text.encode()).digest())[:rows]
    return drawn, [found[text] for text in drawn]


def _field(parts: Sequence[tuple[str, str]], labels: Sequence[str]) -> str | None:
    return " ".join(text for label, text in parts if label in labels) or None


def _by_rule(text: str) -> Fields:
    end = re.search(r"\b([A-Z]{2})\W+(\d{5})(?:-\d{4})?\W*$", text)
    first = text.split()[0]
    fields: Fields = dict.fromkeys(FIELDS)
    fields |= {"number": first if first[0].isdigit() else None}
    return fields | ({"state": end[1], "zip": end[2]} if end else {})


def _plain(value: str | None) -> str | None:
    """Return a value as it is compared."""
    return None if value is None else " ".join(word.strip(".,;:()#") for word in value.casefold().split()) or None


def _show(who: str, gold: Sequence[Fields], said: Sequence[Fields], rest: str) -> None:
    whole = _measure(gold, said, tuple(FIELDS))
    each = [_measure(gold, said, (name,))[2] for name in FIELDS]
    print(f"| {who} | " + " | ".join(f"{value:.3f}" for value in (*whole, *each)) + f" {rest}", flush=True)


def _measure(gold: Sequence[Fields], said: Sequence[Fields], names: Sequence[str]) -> tuple[float, float, float]:
    """Return precision, recall and F1 of some fields."""
    pairs = [(_plain(g[name]), _plain(s[name])) for g, s in zip(gold, said, strict=True) for name in names]
    right = sum(g is not None and g == s for g, s in pairs)
    precision = right / max(sum(s is not None for _, s in pairs), 1)
    recall = right / max(sum(g is not None for g, _ in pairs), 1)
    return precision, recall, 2 * precision * recall / (precision + recall) if right else 0.0


if __name__ == "__main__":
    main()
