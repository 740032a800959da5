"""Images in a run: columns of bytes and of paths become parts of requests, once each, within the budget."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from leeroo.engine.answer import Criteria
from leeroo.engine.errors import InputError
from leeroo.engine.images.marks import mark_of
from leeroo.engine.pool import Expert, Pool, load_pool
from leeroo.engine.schema import OUTCOMES, QUERIES
from tests.engine.api import expert, opened
from tests.pictures import picture
from tests.provider import Provider

RED, BLUE = picture("red"), picture("blue", (90, 60), "JPEG")
PROMPT = "Is {what} in {photo}?"


def _mark(data: bytes) -> str:
    return mark_of(hashlib.sha256(data).hexdigest())


def _table(**columns: Any) -> pa.Table:
    return pa.table({"what": ["a disc", "a disc", "a dog", "a disc", None], **columns})


def _answer(
    store: Path, experts: list[Expert], table: pa.Table, prompt: str = PROMPT, **more: Any
) -> list[dict[str, Any]]:
    with opened(store, *experts) as engine:
        return engine.answer_table(table.to_reader(), Criteria(prompt=prompt, **more)).to_pylist()  # type: ignore[no-any-return]


def _parts(body: dict[str, Any]) -> list[str]:
    """Return the texts of a message, and the media types of its images."""
    parts = body["messages"][-1]["content"]
    return [part["text"] if part["type"] == "text" else part["image_url"]["url"].split(";")[0] for part in parts]


def test_bytes_are_images_and_equal_ones_are_one_question(api: Provider, tmp_path: Path) -> None:
    """Five rows with three different questions and one NULL are three requests; a second run sends none."""
    table = _table(photo=pa.array([RED, RED, RED, BLUE, RED], pa.binary()))
    for _ in range(2):
        rows = _answer(tmp_path / "store", [expert(api, images=True)], table)
        assert [row["error"] for row in rows] == [None] * 5
        assert [row["answer"] is None for row in rows] == [False] * 4 + [True]
        assert rows[0]["answer"] == rows[1]["answer"]
        assert len(api.bodies) == 3
    sent = sorted(part for body in api.bodies for part in _parts(body) if part.startswith("data:"))
    assert sent == ["data:image/jpeg", "data:image/png", "data:image/png"]


def test_what_is_sent_is_the_file_itself_where_it_fits(api: Provider, tmp_path: Path) -> None:
    """A larger one is made smaller; notes of a camera stay here."""
    noted = Image.Exif()
    noted[0x010E] = "at home"
    with_notes = picture("red", (60, 60), "JPEG", exif=noted)
    large = picture("green", (3000, 1500), "JPEG")
    table = pa.table({"photo": pa.array([BLUE, with_notes, large], pa.binary())})
    rows = _answer(tmp_path, [expert(api, images=True)], table, "{photo}")
    assert [row["error"] for row in rows] == [None] * 3
    urls = [body["messages"][-1]["content"][0]["image_url"]["url"] for body in api.bodies]
    sent = [base64.b64decode(url.split(",")[1]) for url in urls]
    sizes = {Image.open(io.BytesIO(each)).size: each for each in sent}
    assert sizes[90, 60] == BLUE
    assert set(sizes) == {(90, 60), (60, 60), (2048, 1024)}
    assert b"at home" in with_notes
    assert b"at home" not in sizes[60, 60]


def test_paths_are_images_only_where_the_prompt_says_so(api: Provider, tmp_path: Path) -> None:
    """The same column is text without the mark, with a line that says how it is written."""
    (tmp_path / "a.png").write_bytes(RED)
    table = pa.table({"photo": ["a.png"]})
    seen: list[Any] = []
    for prompt in ("What? {photo}", "What? {photo:image}"):
        with opened(tmp_path / prompt[6:11], expert(api, images=True), seen=seen) as engine:
            criteria = Criteria(prompt=prompt, image_folder=str(tmp_path))
            [row] = engine.answer_table(table.to_reader(), criteria).to_pylist()
            assert row["error"] is None
    assert api.bodies[0]["messages"][-1]["content"] == "What? a.png"
    assert _parts(api.bodies[1]) == ["What? ", "data:image/png"]
    hint = "the column 'photo' is sent as text: write {photo:image} to show the images that it names"
    assert {line for each in seen for line in each.warnings} == {hint}


def test_a_row_can_name_no_file_outside_of_the_folder(api: Provider, tmp_path: Path) -> None:
    """Absolute paths, paths upwards, links and web addresses are refused, and so is what is no image; others go on."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(RED)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "in.png").write_bytes(BLUE)
    (folder / "notes.txt").write_text("no image at all")
    (folder / "cut.png").write_bytes(RED[:20])
    names = ["in.png", str(folder / "in.png"), "../secret.png", str(tmp_path / "secret.png"), "link.png", "gone.png"]
    names += [".", "notes.txt", "cut.png", "http://127.0.0.1:9/x.png", "file:///etc/passwd", "\0", "data:,x", ""]
    names += ["data:image/png;base64,!", "data:image/png;base64," + base64.b64encode(RED).decode()]
    table = pa.table({"n": list(range(len(names))), "photo": names})
    rows = _answer(tmp_path / "store", [expert(api, images=True)], table, "{n}: {photo:image}", image_folder=folder)
    errors = [row["error"] for row in rows]
    assert [at for at, error in enumerate(errors) if error is None] == [0, 1, len(names) - 1]
    assert len(api.bodies) == 3
    assert sum(base64.b64encode(RED).decode() in json.dumps(body) for body in api.bodies) == 1
    outside = f"is outside of {folder}: images are read from below image_folder only"
    assert errors[2:5] == [f"image 1: {name!r} {outside}" for name in names[2:5]]
    assert errors[5] == f"image 1: there is no file 'gone.png' in {folder}"
    assert errors[7] == "image 1: it is no image of a known kind (PNG, JPEG, WEBP, GIF, BMP, TIFF)"
    assert (
        errors[9]
        == "image 1: 'http://127.0.0.1:9/x.png' is a web address, and none is fetched unless allow_urls is set"
    )
    assert (
        errors[10] == "image 1: 'file:///etc/passwd' is no web address of an image: it begins with http:// or https://"
    )
    assert all(row["cost_usd"] == 0 for row, error in zip(rows, errors, strict=True) if error)


def test_a_web_address_is_fetched_where_the_user_allows_it(api: Provider, tmp_path: Path) -> None:
    """What the server has is shown as any other image; a reply without one is the error of its row."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.png").write_bytes(RED)
    with _site(tmp_path / "site") as url:
        table = pa.table({"photo": [f"{url}/a.png", f"{url}/none.png", f"{url}/to-a-file"]})
        rows = _answer(tmp_path, [expert(api, images=True)], table, "{photo:image}", allow_urls=True)
    assert rows[0]["error"] is None
    assert rows[1]["error"] == f"image 1: '{url}/none.png' cannot be fetched: HTTP status 404"
    assert f"'{url}/to-a-file' cannot be fetched" in rows[2]["error"]
    assert len(api.bodies) == 1


def _site(folder: Path) -> Any:
    """Serve a folder; one of its addresses leads to a file of this machine."""
    import contextlib
    import threading
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class _Files(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/to-a-file":
                self.send_response(302)
                self.send_header("Location", "file:///etc/hostname")
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    @contextlib.contextmanager
    def serve() -> Any:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(folder)))
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()

    return serve()


def test_a_broken_image_is_found_before_it_is_paid_for(api: Provider, tmp_path: Path) -> None:
    """A good head and no body is an error of its row; a huge one is so from its head alone."""
    broken = picture("red", (500, 500))[:200]
    huge = io.BytesIO()
    Image.new("1", (12_000, 10_000)).save(huge, "PNG")
    table = pa.table({"photo": pa.array([RED, broken, huge.getvalue(), None, b""], pa.binary())})
    rows = _answer(tmp_path, [expert(api, images=True)], table, "{photo}")
    assert rows[0]["error"] is None
    assert rows[1]["error"].startswith(f"{_mark(broken)}: the file is broken")
    assert rows[2]["error"] == "image 1: it has 12,000 x 10,000 pixels; at most 100,000,000 are read: make it smaller"
    assert (rows[3]["answer"], rows[3]["error"]) == (None, None)
    assert "no image of a known kind" in rows[4]["error"]
    assert len(api.bodies) == 1


def test_rows_with_images_go_to_experts_that_see(api: Provider, tmp_path: Path) -> None:
    """The default cannot, so that another takes them; a pool with none says it in one line and sends nothing."""
    table = pa.table({"photo": pa.array([RED], pa.binary())})
    blind, eyes = expert(api, "blind"), expert(api, "eyes", images=True)
    [row] = _answer(tmp_path / "a", [blind, eyes], table, "{photo}")
    assert (row["expert"], row["error"]) == ("eyes", None)
    [row] = _answer(tmp_path / "b", [blind], table, "{photo}")
    why = "see images: write images = true into the pool file for one whose model can"
    assert row["error"] == f"no expert of the pool can {why}"
    [row] = _answer(tmp_path / "c", [blind, eyes], table, "{photo}", expert="blind")
    assert row["error"] == f"no expert of the pool can {why}"
    assert len(api.bodies) == 1


def test_a_budget_counts_the_tokens_of_images(api: Provider, tmp_path: Path) -> None:
    """GPT-4o counts two tiles for this one: a budget below them sends nothing, one above them is enough."""
    table = pa.table({"photo": pa.array([picture("red", (800, 400))], pa.binary())})
    priced = expert(api, "gpt-4o", images=True, usd_per_m_input=1.0, usd_per_m_output=0.0)
    tokens = 85 + 2 * 170
    [row] = _answer(tmp_path / "a", [priced], table, "{photo}", max_cost_usd=tokens / 1e6)
    assert "does not reach this row" in row["error"]
    [row] = _answer(tmp_path / "b", [priced], table, "{photo}", max_cost_usd=(tokens + 24 + 64 + 8) / 1e6)
    assert row["error"] is None
    with opened(tmp_path / "c", priced) as engine:
        planned = engine.explain(table.to_reader(), Criteria(prompt="{photo}"))
    assert math.isclose(planned.parts[0].prompt_tokens, tokens + 24 / 4, abs_tol=1)


def test_images_are_structs_of_hugging_face_too(api: Provider, tmp_path: Path) -> None:
    """Tables of its datasets hold bytes and a path in one column."""
    table = pa.table({"image": pa.array([{"bytes": RED, "path": "x.png"}, {"bytes": None, "path": None}])})
    rows = _answer(tmp_path, [expert(api, images=True)], table, "{image}")
    assert [row["answer"] is None for row in rows] == [False, True]
    with opened(tmp_path, expert(api, images=True)) as engine, pytest.raises(InputError, match="is of type int64"):
        engine.answer_table(pa.table({"n": [1]}).to_reader(), Criteria(prompt="{n:image}"))


def test_several_images_of_a_row_keep_their_places(api: Provider, tmp_path: Path) -> None:
    """Fields that are laid out for shared beginnings keep theirs as well."""
    many = [picture(color) for color in ("red", "blue", "green", "black")]
    guide = "Look closely. " * 40
    table = pa.table({"photo": pa.array(many, pa.binary()), "guide": [guide] * 4, "n": ["1", "2", "3", "4"]})
    rows = _answer(tmp_path, [expert(api, images=True)], table, "{n}: is {photo} like {photo} by {guide}?")
    assert [row["error"] for row in rows] == [None] * 4
    for body in api.bodies:
        texts = _parts(body)
        assert texts.count("data:image/png") == 1
        assert texts[0].startswith("{n}: is {photo} like {photo} by {guide}?")
        assert guide.strip() in texts[0]


def test_recorded_answers_are_found_by_the_mark(tmp_path: Path) -> None:
    """A replayed expert that sees answers what was recorded for this picture."""
    folder = tmp_path / "data"
    folder.mkdir()
    questions = {"q1": f"Which color? {_mark(RED)}", "q2": f"Which color? {_mark(BLUE)}"}
    base = {"dataset": "toy", "split": "test"}
    queries = [{"query_id": q, "question": text, "prompt": text, **base} for q, text in questions.items()]
    pq.write_table(pa.Table.from_pylist(queries, schema=QUERIES), folder / "queries.parquet")
    recorded = [
        {"query_id": q, "expert": "eyes", "score": 1.0, "response": r} for q, r in (("q1", "red"), ("q2", "blue"))
    ]
    pq.write_table(pa.Table.from_pylist(recorded, schema=OUTCOMES), folder / "outcomes.parquet")
    entry = f'[[expert]]\nname = "eyes"\nmodel = "{folder}"\nbackend = "replay"\nimages = true\nusd_per_m_input = 0\nusd_per_m_output = 0\n'
    (tmp_path / "pool.toml").write_text(entry)
    pool: Pool = load_pool(tmp_path / "pool.toml")
    table = pa.table({"photo": pa.array([BLUE, RED], pa.binary())})
    rows = _answer(tmp_path / "store", list(pool.experts), table, "Which color? {photo}")
    assert [row["answer"] for row in rows] == ["blue", "red"]
