"""Images as fields of a question: one statement against one request for every row, and what reading an image costs.

No vision model ships with a package that can be fetched here. So the model is a tiny one with random weights, whose
answers mean nothing: what is measured is requests and time, not whether digits are read.

    python bench/jobs/images.py [--rows 400] [--api]

The images are the handwritten digits that scikit-learn ships (1,797 of 8 x 8 pixels, here enlarged to 64 x 64); every
image is in two rows. With `--api` a provider on this machine takes 50 ms for a request.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
from PIL import Image

import leeroo
from leeroo.engine.backends.select import open_backend
from leeroo.engine.images.kept import Shelf
from leeroo.engine.images.pixels import data_url
from leeroo.engine.images.references import Sources, as_reference
from leeroo.engine.pool import load_pool
from leeroo.engine.schema import REQUESTS
from tests.pictures import save_seeing_model
from tests.provider import running

CONDITION = "'{photo} shows a seven'"
_PROMPT = "Is this true? <image> shows a seven"
_CHOICES = ["yes", "no", "unclear"]
_WAIT_S = 0.05


def digits(rows: int) -> pa.Table:
    """Return rows with handwritten digits as PNG files, each image in two of them."""
    from sklearn.datasets import load_digits

    images = load_digits().images[: (rows + 1) // 2]
    files = []
    for pixels in images:
        written = io.BytesIO()
        Image.fromarray((255 - pixels * 255 / 16).astype("uint8")).resize((64, 64)).save(written, "PNG")
        files.append(written.getvalue())
    return pa.table({"id": range(rows), "photo": pa.array([files[i % len(files)] for i in range(rows)], pa.binary())})


def as_one_statement(pool: Path, table: pa.Table) -> tuple[float, int]:
    """Decide about all rows in one statement, with the model loaded; return seconds and requests."""
    with tempfile.TemporaryDirectory() as store, leeroo.connect(pool=pool, store=store) as con:
        con.register("photos", table)
        con.execute("SELECT leeroo_choice('Are you there?', ['yes', 'no'])")
        started = time.perf_counter()
        query = f"SELECT count(*) FROM photos WHERE leeroo_filtered({CONDITION}, photos).error IS NULL"
        [(answered,)] = con.execute(query).fetchall()
        took = time.perf_counter() - started
        [(requests,)] = con.execute("SELECT sum(answers) - 1 FROM leeroo_spend()").fetchall()
        assert answered == len(table), f"{len(table) - answered} rows have no answer"
        return took, int(requests)


def row_by_row(pool: Path, table: pa.Table) -> tuple[float, int]:
    """Send a request for each row, one after another, without an engine; return seconds and requests."""
    backend = open_backend(load_pool(pool).experts[0])
    try:
        images = [{"mark": "<image>", "width": 64, "height": 64, "data": data} for data in table["photo"].to_pylist()]
        rows = [
            {
                "id": i,
                "question": "",
                "prompt": "Is this true? <image> shows a seven",
                "max_tokens": 8,
                "temperature": 0,
            }
            | {"raw": False, "choices": _CHOICES, "images": [image]}
            for i, image in enumerate(images)
        ]
        batches = [pa.RecordBatch.from_pylist([row], schema=REQUESTS) for row in rows]
        list(backend.generate(iter(batches[:1])))
        started = time.perf_counter()
        done = [each for batch in batches for came in backend.generate(iter([batch])) for each in came.to_pylist()]
        assert not any(each["error"] for each in done)
        return time.perf_counter() - started, len(done)
    finally:
        backend.close()


def reading() -> None:
    """Print what reading and encoding cost for images of a camera's size."""
    print("\nComputing of one core, in ms:\n")
    print("| image | read and checked | encoded for a provider | bytes sent |\n|---|---|---|---|")
    for width, height in ((640, 480), (2000, 1500), (4000, 3000)):
        noise = Image.effect_noise((width // 8, height // 8), 80).resize((width, height)).convert("RGB")
        written = io.BytesIO()
        noise.save(written, "JPEG", quality=88)
        data = written.getvalue()
        with tempfile.TemporaryDirectory() as folder:
            shelf = Shelf(Path(folder) / "images", Sources(Path(folder)))
            started = time.process_time()
            # A byte more behind each makes it another file.
            shelf.keep([[as_reference(data + bytes([i]))] for i in range(20)])
            read = (time.process_time() - started) / 20
        started = time.process_time()
        sent = len(data_url(data, 1568))
        encoded = time.process_time() - started
        print(f"| JPEG {width} x {height}, {len(data):,} bytes | {read * 1e3:.1f} | {encoded * 1e3:.0f} | {sent:,} |")


def main() -> None:
    """Measure both ways, and print the ratio."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=400)
    options.add_argument("--api", action="store_true", help="a provider in place of the tiny model")
    given = options.parse_args()
    table = digits(given.rows)
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        pool = folder / "pool.toml"
        if given.api:
            provider = held.enter_context(running())
            provider.delay_s = _WAIT_S
            provider.says = lambda _, __: "no"
            pool.write_text(provider.entry("eyes", 1, 8, "images = true"))
        else:
            model = save_seeing_model(folder / "model")
            pool.write_text(
                f'[[expert]]\nname = "eyes"\nmodel = "{model}"\nbackend = "transformers"\nmax_tokens = 8\n'
                "usd_per_m_input = 1\nusd_per_m_output = 1\n"
            )
        print("| way | rows/s | requests |\n|---|---|---|")
        found = {}
        for name, ask in (("one statement", as_one_statement), ("a request for each row", row_by_row)):
            seconds, requests = found[name] = ask(pool, table)
            print(f"| {name} | {given.rows / seconds:.1f} | {requests} |")
        (batched, sent), (single, alone) = found.values()
        print(f"\n{given.rows} rows: {single / batched:.1f} times as fast, {sent / alone:.0%} of the requests")
    reading()


if __name__ == "__main__":
    main()
