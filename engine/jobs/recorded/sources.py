"""Recorded outcomes as users have them: data folders as they are, and files and data frames as such for a while."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.feedback import export_feedback
from leeroo.engine.jobs.verify import check_for, score
from leeroo.engine.listeners import LineListener
from leeroo.engine.orchestrator.outcomes.columns import read_map
from leeroo.engine.orchestrator.outcomes.files import check_map, convert, describe, is_data_folder
from leeroo.engine.orchestrator.outcomes.staged import FileOutcomes
from leeroo.engine.store.store import Store
from leeroo.engine.tables.frames import from_frame

# A data folder, a file of outcomes, or a data frame of them.
Source = Any


@dataclass
class Data:
    """Data folders, and what the user calls those that were made of files and frames.

    Attributes:
        listener: Receives lines about what is read.
        named: The names that the user gave, in order.
        folders: All of them, in order.
        files: What was read from each file, by its folder.
    """

    listener: LineListener
    named: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    files: dict[Path, FileOutcomes] = field(default_factory=dict)

    def shown(self, line: str) -> str:
        """Return a line with the names that the user gave in place of the folders that stand for them."""
        for folder, found in self.files.items():
            line = line.replace(f"experts.parquet of {folder}", found.source).replace(str(folder), found.source)
        return line

    def say(self, line: str) -> None:
        """Pass on a line."""
        self.listener(self.shown(line))


def names_of(sources: Sequence[Source]) -> list[str]:
    """Return what each source is called: its path, or a data frame by its place."""
    frames = [source for source in sources if not isinstance(source, str | Path)]
    number = iter(range(1, len(frames) + 1))
    return [
        str(source)
        if isinstance(source, str | Path)
        else f"data frame {next(number)}"
        if len(frames) > 1
        else "the data frame"
        for source in sources
    ]


@contextlib.contextmanager
def open_data(sources: Sequence[Source], mapped: Sequence[str] = (), say: LineListener | None = None) -> Iterator[Data]:
    """Yield data folders, also for files and data frames, which are read into folders that go at the end.

    Args:
        sources: Data folders, files and data frames.
        mapped: Names of columns, as `read_map` takes them.
        say: Called with lines about what was read.

    Raises:
        UsageError: a file is of no known form or wrong, or nothing is there.
    """
    names = read_map(mapped)
    data = Data(say or (lambda _: None), names_of(sources))
    if names and all(map(_is_folder, sources)):
        raise UsageError(f"map= is for files of outcomes; {', '.join(data.named)} is a data folder")
    with tempfile.TemporaryDirectory(prefix="leeroo-") as place:
        for i, source in enumerate(sources):
            if _is_folder(source):
                data.folders.append(Path(source))
            else:
                _convert(data, i, source, Path(place) / f"data{i}", names)
        check_map(names, list(data.files.values()))
        try:
            yield data
        except UsageError as error:
            shown = data.shown(str(error))
            if shown == str(error):
                raise
            raise type(error)(shown) from error


def _is_folder(source: Source) -> bool:
    return isinstance(source, str | Path) and is_data_folder(str(source))


def _convert(data: Data, i: int, source: Source, folder: Path, mapped: dict[str, str]) -> None:
    """Read a file or a data frame into a new data folder, and say what was recognised."""
    rows = None if isinstance(source, str | Path) else from_frame(source)
    found = read_file(data.named[i], folder, mapped, rows)
    data.listener(describe(found))
    for remark in found.remarks:
        data.listener(f"{found.source}: {remark}")
    data.folders.append(folder)
    data.files[folder] = found


def read_file(
    source: str, folder: Path, mapped: dict[str, str], rows: pa.RecordBatchReader | None = None
) -> FileOutcomes:
    """Read a file of outcomes into a new data folder, or rows that are called so."""
    return convert(source, folder, mapped, lambda answer, right: score(answer, right, check_for(right)), rows)


def check_split(data: Data, split: str) -> None:
    """Check that files have the split that is to be measured.

    Raises:
        UsageError: there is no such split, or all data are files, and none says which questions are for tests.
    """
    if split not in ("train", "test", "all"):
        raise UsageError(f"split= is 'train', 'test' or 'all', not {split!r}")
    splits = {split for found in data.files.values() for split in found.splits}
    if split == "test" and data.files and len(data.files) == len(data.folders) and "test" not in splits:
        raise UsageError(
            f"no question of {', '.join(data.named)} is for tests: measure all with split= all, which is no fair test "
            "where the router learned from them, or add a column 'split' with train and test"
        )


@contextlib.contextmanager
def with_feedback(data: Data, store: Path | None) -> Iterator[list[Path]]:
    """Yield the data folders, and one with the feedback that is kept in a store.

    Raises:
        UsageError: there is neither, or no such store.
    """
    if store is None:
        if not data.folders:
            raise UsageError(
                "there is nothing to learn from: name recorded outcomes (data=), or an answer store (store=)"
            )
        yield data.folders
        return
    if not (store / "answers.sqlite").is_file():
        raise UsageError(f"there is no answer store {store}")
    with tempfile.TemporaryDirectory(prefix="leeroo-") as place, contextlib.closing(Store(store)) as opened:
        folder = Path(place) / "feedback"
        outcomes = export_feedback(opened, None, folder)
        if not data.folders and not outcomes:
            raise UsageError(f"the answer store {store} holds no feedback: give some (leeroo feedback), or name data=")
        data.say(f"{outcomes:,} outcomes from the feedback in {store}")
        yield [*data.folders, folder]
