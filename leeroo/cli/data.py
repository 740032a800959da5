"""The option `--data` of all commands: data folders as they are, and files of outcomes as data folders for a while."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from leeroo.cli.log import current
from leeroo.engine.errors import UsageError

if TYPE_CHECKING:
    from leeroo.engine.orchestrator.outcomes.staged import FileOutcomes


@dataclass
class Data:
    """Data folders, and what the user calls those that were made of files.

    Attributes:
        folders: All of them, in order.
        named: The names that the user gave, in order.
        files: What was read from each file, by its folder.
    """

    folders: list[Path] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    files: dict[Path, FileOutcomes] = field(default_factory=dict)

    def shown(self, line: str) -> str:
        """Return a line with the names that the user gave in place of the folders that stand for them."""
        for folder, found in self.files.items():
            line = line.replace(f"experts.parquet of {folder}", found.source).replace(str(folder), found.source)
        return line

    def say(self, line: str) -> None:
        """Print a line on standard error."""
        current().say(self.shown(line))


@contextlib.contextmanager
def open_data(sources: Sequence[str], mapped: Sequence[str] | None = None) -> Iterator[Data]:
    """Yield data folders, also for files, which are read into folders that go at the end.

    Raises:
        UsageError: a file is of no known form or wrong, or nothing is there.
    """
    from leeroo.engine.orchestrator.outcomes.columns import read_map
    from leeroo.engine.orchestrator.outcomes.files import check_map, describe, is_data_folder

    names = read_map(mapped or ())
    data = Data(named=list(sources))
    if names and all(is_data_folder(source) for source in sources):
        raise UsageError(f"--map is for files of outcomes; {', '.join(sources)} is a data folder")
    with tempfile.TemporaryDirectory(prefix="leeroo-") as place:
        for i, source in enumerate(sources):
            if is_data_folder(source):
                data.folders.append(Path(source))
                continue
            folder = Path(place) / f"data{i}"
            found = read_file(source, folder, names)
            current().say(describe(found))
            for remark in found.remarks:
                current().say(f"{source}: {remark}")
            data.folders.append(folder)
            data.files[folder] = found
        check_map(names, list(data.files.values()))
        try:
            yield data
        except UsageError as error:
            shown = data.shown(str(error))
            if shown == str(error):
                raise
            raise type(error)(shown) from error


def read_file(source: str, folder: Path, mapped: dict[str, str]) -> FileOutcomes:
    """Read a file of outcomes into a new data folder."""
    from leeroo.engine.jobs.verify import check_for, score
    from leeroo.engine.orchestrator.outcomes.files import convert

    return convert(source, folder, mapped, lambda answer, right: score(answer, right, check_for(right)))


def check_split(data: Data, split: str) -> None:
    """Check that files have the split that is to be measured.

    Raises:
        UsageError: all data are files, and none of them says which questions are for tests.
    """
    splits = {split for found in data.files.values() for split in found.splits}
    if split == "test" and data.files and len(data.files) == len(data.folders) and "test" not in splits:
        raise UsageError(
            f"no question of {', '.join(data.named)} is for tests: measure all with --split all, which is no fair test "
            "where the router learned from them, or add a column 'split' with train and test"
        )
