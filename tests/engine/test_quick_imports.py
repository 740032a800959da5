"""What makes imports quicker gives what would have been found, and leaves nothing changed."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

from leeroo.engine.process.imports import package_names, quick_transformers


def test_the_packages_of_modules_are_those_that_python_finds() -> None:
    """Each module has the packages that the slower function finds, and all that transformers asks for are there."""
    slow, quick = importlib.metadata.packages_distributions(), package_names()
    assert {name: set(slow[name]) for name in quick} == {name: set(packages) for name, packages in quick.items()}
    assert quick["PIL"] == ["pillow"]
    assert {"torch", "transformers", "tokenizers", "numpy", "yaml"} <= quick.keys()


def test_nothing_stays_changed() -> None:
    """After the import, and after one that failed, Python's own function is back."""
    right = importlib.metadata.packages_distributions

    def fail() -> None:
        with quick_transformers():
            assert importlib.metadata.packages_distributions is package_names
            raise ImportError

    with pytest.raises(ImportError):
        fail()
    assert importlib.metadata.packages_distributions is right


@pytest.mark.parametrize(("ours", "found"), [(True, "None"), (False, "no")])
def test_only_processes_of_ours_do_without_scikit_learn(ours: bool, found: str) -> None:
    """A program of somebody else imports everything that transformers wants; an imported scikit-learn stays."""
    script = (
        "import sys; from leeroo.engine.process.imports import own_process, quick_transformers\n"
        f"if {ours}: own_process()\n"
        "with quick_transformers(): print(sys.modules.get('sklearn', 'no'))\n"
        "import sklearn\n"
        "with quick_transformers(): assert sys.modules['sklearn'] is sklearn\n"
        "assert sys.modules['sklearn'] is sklearn\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == found
