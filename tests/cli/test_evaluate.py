"""`leeroo evaluate` as people and programs meet it, with a router trained on recorded outcomes of real models."""

from __future__ import annotations

import json
import subprocess
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest

from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER
from leeroo.engine.orchestrator.training.learn import train
from tests.command import leeroo

pytestmark = pytest.mark.usefixtures("kept_vectors")


@pytest.fixture(scope="module")
def place(kept_vectors: None, real_place: Path) -> Path:
    """Return a folder with `data`, outcomes of nine models on 60 training and 60 test questions, and its `router`."""
    place = real_place
    train([place / "data"], [DEFAULT_ENCODER]).save(place / "router")
    return place


def evaluate(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in that folder."""
    return leeroo("evaluate", "--router", "router", "--data", "data", *arguments, cwd=place)


def test_programs_get_one_object_and_nothing_else(place: Path) -> None:
    """With --json standard output is one strict JSON object of the contract; progress goes to standard error."""
    done = evaluate(place, "--json")
    assert done.returncode == 0, done.stderr

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    found = json.loads(done.stdout, parse_constant=refuse)
    assert set(found) == {"n", "experts", "oracle", "frontier", "baselines", "pair", "aiq", "ece"}
    assert found["n"] == 60
    assert len(found["experts"]) == 9
    assert len(found["frontier"]) >= 50
    assert found["pair"]["strong"] == "gpt-4-1106-preview"
    assert "predicting 9 experts on 60 questions" in done.stderr


def test_people_get_tables(place: Path) -> None:
    """Without --json the tables are on standard output: parts of the best expert's cost, experts, measures."""
    done = evaluate(place)
    assert done.returncode == 0, done.stderr
    for part in ("60 questions, 9 experts", "Accuracy at parts of what gpt-4-1106-preview costs", "random mix"):
        assert part in done.stdout
    for name in ("llama-3-8b", "mixtral-8x7b-instruct", "oracle", "APGR", "CPT50", "CPT80", "AIQ", "ECE"):
        assert f"\n{name} " in done.stdout
    assert "predicting" not in done.stdout


def test_picture_and_report_are_written_as_well_as_the_numbers(place: Path) -> None:
    """The files are whole and named on standard error, the JSON stays alone, and only some experts are in all three."""
    done = evaluate(
        place, "--json", "--plot", "f.svg", "--report", "r.html", "--experts", "llama-3-8b,gpt-4-1106-preview"
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["experts"]) == {"llama-3-8b", "gpt-4-1106-preview"}
    assert "f.svg" in done.stderr
    assert "r.html" in done.stderr
    picture = "".join(ElementTree.parse(place / "f.svg").getroot().itertext())
    page = unescape((place / "r.html").read_text())
    for text in (picture, page):
        assert "llama-3-8b" in text
        assert "zephyr-7b-beta" not in text
    assert page.endswith("</html>\n")
    assert "60 questions of the split 'test' of data" in page


def test_another_split_and_pair_are_measured(place: Path) -> None:
    """The training split can be measured, which is noted, and the pair chosen."""
    done = evaluate(place, "--split", "train", "--pair", "zephyr-7b-beta,mixtral-8x7b-instruct", "--json")
    found = json.loads(done.stdout)
    assert found["n"] == 60
    assert (found["pair"]["weak"], found["pair"]["strong"]) == ("zephyr-7b-beta", "mixtral-8x7b-instruct")
    assert "no fair test" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--router", "nowhere"], "there is no router at nowhere"),
        (["--data", "nowhere"], "there is no data folder nowhere"),
        (["--experts", "gpt-5"], "the data has no outcomes of the expert 'gpt-5'"),
        (["--experts", "llama-3-8b,,x"], "--experts takes names of experts with commas between"),
        (["--pair", "llama-3-8b"], "--pair takes a weak and a strong expert with a comma between"),
        (["--pair", "llama-3-8b,llama-3-8b"], "--pair takes a weak and a strong expert with a comma between"),
        (["--plot", "f.png"], "f.png would be written as SVG: give it a name that ends in .svg"),
        (["--report", "no/such/r.html"], "no/such does not exist: make it first"),
        (["--report", "folder.html"], "folder.html is a folder: name a file in it"),
    ],
)
def test_wrong_input_is_one_line(place: Path, arguments: list[str], message: str) -> None:
    """An error is one line on standard error, with exit code 2, and nothing is printed or written."""
    (place / "folder.html").mkdir(exist_ok=True)
    before = sorted(place.iterdir())
    done = evaluate(place, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("leeroo: ")
    assert message in last
    assert "Traceback" not in done.stderr
    assert sorted(place.iterdir()) == before
