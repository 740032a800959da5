"""Refuse a checkout without symbolic links, whose package would lack most code; all else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup

_LINKED = ("engine", "sql", "udfs")

if not all((Path(__file__).parent / "leeroo" / name).is_dir() for name in _LINKED):
    raise SystemExit(
        "This checkout of Leeroo has no symbolic links: leeroo/engine is a file. Run 'git config core.symlinks true' "
        "and 'git checkout -f' where the file system has them, or install a release: pip install leeroo"
    )
setup()
