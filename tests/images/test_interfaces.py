"""Images through each interface: the command line, frames of Python, extraction, and actors of Ray."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import leeroo as python
from leeroo.engine.backends.ray import with_bytes
from leeroo.engine.schema import REQUESTS
from tests.command import leeroo
from tests.pictures import picture
from tests.provider import Provider

PICTURES = [picture(color) for color in ("red", "blue")]


@pytest.fixture
def place(api: Provider, tmp_path: Path) -> Path:
    """Return a folder with photos, tables of them, and a pool of one expert that sees."""
    (tmp_path / "pool.toml").write_text(api.entry("eyes", 1, 8, "images = true"))
    (tmp_path / "photos").mkdir()
    for name, data in zip(("a.png", "b.png"), PICTURES, strict=True):
        (tmp_path / "photos" / name).write_bytes(data)
    (tmp_path / "paths.csv").write_text("photo\na.png\nb.png\n../pool.toml\n")
    pq.write_table(pa.table({"photo": pa.array(PICTURES, pa.binary())}), tmp_path / "photos.parquet")
    return tmp_path


def _kinds(api: Provider) -> list[list[str]]:
    contents = [body["messages"][-1]["content"] for body in api.bodies]
    return [["str"] if isinstance(each, str) else [part["type"] for part in each] for each in contents]


def _of_red(body: dict[str, Any]) -> bool:
    return base64.b64encode(PICTURES[0]).decode() in json.dumps(body)


OPTIONS = ("--pool", "pool.toml", "--store", "s")


def test_a_column_of_paths_on_the_command_line(place: Path, api: Provider) -> None:
    """Images come from the folder that is named; a row that names another file fails alone."""
    prompt = ("--prompt", "What? {photo:image}", "--image-folder", "photos")
    ran = leeroo("run", "paths.csv", *prompt, *OPTIONS, "--out", "out.jsonl", cwd=place)
    assert ran.returncode == 1, ran.stderr
    rows = [json.loads(line) for line in (place / "out.jsonl").read_text().splitlines()]
    assert [row["error"] is None for row in rows] == [True, True, False]
    assert "'../pool.toml' is outside of" in rows[2]["error"]
    assert _kinds(api) == [["text", "image_url"]] * 2


def test_a_column_of_bytes_on_the_command_line(place: Path, api: Provider) -> None:
    """The output keeps the bytes; explain counts tokens of images and sends nothing."""
    explained = leeroo("explain", "photos.parquet", "--prompt", "What? {photo}", *OPTIONS, cwd=place)
    assert "2 distinct prompts" in explained.stdout
    assert not api.bodies
    ran = leeroo("run", "photos.parquet", "--prompt", "What? {photo}", *OPTIONS, "--out", "out.parquet", cwd=place)
    assert ran.returncode == 0, ran.stderr
    assert pq.read_table(place / "out.parquet").column("photo").to_pylist() == PICTURES
    assert _kinds(api) == [["text", "image_url"]] * 2


def test_an_unmarked_column_of_paths_is_text_and_says_so(place: Path, api: Provider) -> None:
    """Nothing is read, whatever the text is."""
    ran = leeroo("run", "paths.csv", "--prompt", "What? {photo}", *OPTIONS, "--out", "out.jsonl", cwd=place)
    assert "write {photo:image} to show the images" in ran.stderr
    assert _kinds(api) == [["str"]] * 3


@pytest.mark.parametrize("library", [pl.DataFrame, pd.DataFrame, pa.table])
def test_frames_hold_images_as_bytes(place: Path, api: Provider, library: Any) -> None:
    """Of Polars, pandas and Arrow alike."""
    frame = library({"photo": PICTURES})
    pool: Any = {"pool": place / "pool.toml", "store": place / "store"}
    answers = python.answer(frame, prompt="{photo}", **pool)
    assert [str(each) for each in answers["answer"]] == [
        f"echo: {json.dumps(body['messages'][-1]['content'])}" for body in sorted(api.bodies, key=_of_red, reverse=True)
    ]
    assert _kinds(api) == [["image_url"]] * 2
    paths = python.answer(library({"p": ["a.png"]}), prompt="{p:image}", image_folder=place / "photos", **pool)
    assert len(paths) == 1
    assert len(api.bodies) == 2  # the same image was asked about before


def test_json_is_extracted_from_images(place: Path, api: Provider) -> None:
    """The schema goes with the image."""
    api.says = lambda _, __: '{"total": 7}'
    schema = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}
    table = pa.table({"scan": pa.array(PICTURES, pa.binary())})
    found = python.extract(table, schema, prompt="{scan}", pool=place / "pool.toml", store=place / "store")
    assert [json.loads(each)["total"] for each in found.column("answer").to_pylist()] == [7, 7]
    assert all("response_format" in body for body in api.bodies)
    assert _kinds(api) == [["image_url"]] * 2


def test_actors_on_other_machines_get_the_bytes(place: Path) -> None:
    """A path of this machine means nothing there."""
    image = {"mark": "<1>", "width": 1, "height": 1, "path": str(place / "photos" / "a.png"), "data": None}
    row = {"id": 1, "question": "q", "prompt": "<1>", "max_tokens": 8, "temperature": 0.0, "raw": False}
    batch = pa.RecordBatch.from_pylist([{**row, "images": [image]}, {**row, "id": 2}], schema=REQUESTS)
    sent = with_bytes(batch)
    assert sent.schema.equals(REQUESTS)
    assert sent.column("images").to_pylist() == [[{**image, "path": None, "data": PICTURES[0]}], None]
