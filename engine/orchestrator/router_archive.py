"""A router in one file: a zip of its folder with a card for people, to be sent to others and imported there.

Nothing in it is executed, and nothing of it is written anywhere but in the router's new folder.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from pathlib import Path

from leeroo.engine.errors import OutputError, RouterError
from leeroo.engine.orchestrator.router_folder import (
    ADAPTER,
    CARD_FOR_PEOPLE,
    FILES,
    NUMBERS,
    RouterCard,
    check_place,
    load,
)
from leeroo.engine.tables.outputs import new_file, new_folder

# All that a file may hold once unpacked: an adapter of a large model takes a few hundred megabytes.
_MOST_BYTES = 2 * 1024**3
_OF_ADAPTER = re.compile(rf"{ADAPTER}/[A-Za-z0-9_][A-Za-z0-9._-]*")
# All that zipfile raises for files that are damaged, encrypted, or packed in ways it does not know.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError)


def export_router(folder: Path, out: Path) -> None:
    """Pack a router's folder into a zip file. A card is written for it where it has none.

    Raises:
        RouterError: the folder is not a whole router.
        OutputError: the file cannot be written there.
    """
    card, _ = load(folder)
    parts = [folder / name for name in FILES if (folder / name).is_file()]
    if card.adapter:
        parts += sorted(each for each in (folder / ADAPTER).iterdir() if each.is_file())
    with new_file(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as packed:
        for each in parts:
            packed.write(each, each.relative_to(folder).as_posix())
        if folder / CARD_FOR_PEOPLE not in parts:
            packed.writestr(CARD_FOR_PEOPLE, card_text(card))


def import_router(file: Path, out: Path) -> RouterCard:
    """Unpack a router into a new folder, once it is found to be whole.

    Raises:
        RouterError: the file is not a packed router, is damaged, or holds anything else.
        OutputError: the folder cannot be written, or something that is not a router is in the way.
    """
    check_place(out)
    parts = _read(file)
    try:
        with new_folder(out) as fresh:
            for name, content in parts.items():
                (fresh / name).parent.mkdir(exist_ok=True)
                (fresh / name).write_bytes(content)
            try:
                return load(fresh)[0]
            except RouterError as error:
                raise RouterError(str(error).replace(str(fresh), str(file))) from error
    except OSError as error:
        raise OutputError(f"the router cannot be written to {out}: {error.strerror or error}") from error


def card_text(card: RouterCard) -> str:
    """Return a card in Markdown: what a router was learned from, and how well it predicts there."""
    training = card.training
    rows = [
        f"| {name} | {each.outcomes:,} | {each.mean_score:.3f} | {each.log_loss:.4f} | {each.rate_log_loss:.4f} "
        f"| {each.ece:.3f} |"
        for name, each in training.experts.items()
    ]
    return "\n".join(
        [
            "# A router of Leeroo\n",
            f"Learned from {training.outcomes:,} outcomes on {training.questions:,} questions, with the encoders "
            f"{', '.join(card.encoders)}. Losses are cross-validated on these questions.\n",
            "| expert | outcomes | mean score | log loss | log loss of the mean score | calibration error |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _read(file: Path) -> dict[str, bytes]:
    """Return the parts of a packed router by name; the names are known ones, so that none leads elsewhere."""
    try:
        with zipfile.ZipFile(file) as packed:
            entries = [entry for entry in packed.infolist() if entry.filename != f"{ADAPTER}/"]
            _check(file, entries)
            parts = {entry.filename: packed.read(entry) for entry in entries}
        if NUMBERS in parts:
            with zipfile.ZipFile(io.BytesIO(parts[NUMBERS])) as numbers:
                _check_size(file, numbers.infolist())
    except FileNotFoundError as error:
        raise RouterError(f"there is no file {file}: name one that leeroo router export wrote") from error
    except _UNREADABLE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RouterError(
            f"{file} is not a router that leeroo router export wrote, or it is damaged ({reason}): export it again"
        ) from error
    return parts


def _check(file: Path, entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    for name in names:
        if name not in FILES and not _OF_ADAPTER.fullmatch(name):
            raise RouterError(f"{file} holds {name[:200]!r}, which is no part of a router: nothing of it was imported")
        if names.count(name) > 1:
            raise RouterError(f"{file} holds {name!r} twice: export the router again")
    _check_size(file, entries)


def _check_size(file: Path, entries: list[zipfile.ZipInfo]) -> None:
    if sum(entry.file_size for entry in entries) > _MOST_BYTES:
        raise RouterError(f"{file} would unpack to more than {_MOST_BYTES / 1024**3:g} GiB: no router is that large")
