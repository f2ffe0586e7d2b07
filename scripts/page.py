"""Whether the committed bundle of the page is what its sources give; `scripts/lint` runs this, `--fix` makes it so.

With Node 20.19 or later, types and bundle are made again and compared byte for byte, and the page's own tests are run.
Without it, the digests that were written down when the bundle was built still tell that it is stale, but nothing proves
that it was built from them.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "plugins" / "dataforge" / "www"
TYPES = Path("src/api/types.ts")
API = "../../../docs/openapi.json"
NODE = (20, 19)


def main(arguments: list[str]) -> int:
    """Check, or build with `--fix`; the value is the exit code."""
    node = _node()
    ready = node is not None and _installed()
    if "--fix" in arguments:
        if not ready:
            return _skipped("the page was not built", node)
        _make(PAGE / TYPES, PAGE / "dist")
        return 0
    wrong = stale()
    if not ready:
        _skipped("types and bundle of the page were not made again, only their digests were compared", node)
    elif not wrong:
        wrong = _differs()
        _run("npm", "test", "--silent")
    if wrong:
        print(f"error: {wrong}; run scripts/lint --fix where there is Node, and commit what it makes", file=sys.stderr)
    return 1 if wrong else 0


def stale() -> str:
    """Return why the bundle is not that of its sources, by the digests written down with it; "" if it may be."""
    try:
        lines = (PAGE / "dist" / "sha256.txt").read_text().splitlines()
        bundle = (PAGE / "dist" / "main.umd.cjs").read_bytes()
    except FileNotFoundError as error:
        return f"the page's bundle is not complete: {error.filename} is missing"
    said = {name: digest for digest, name in (line.split() for line in lines)}
    if said.get("sources") != digest_of_sources():
        return "the page's bundle is stale: its sources or docs/openapi.json have changed since it was built"
    if said.get("main.umd.cjs") != hashlib.sha256(bundle).hexdigest():
        return "the page's bundle was changed by hand"
    return ""


def digest_of_sources() -> str:
    """Return the digest that vite.config.ts writes down."""
    found = hashlib.sha256()
    for path in [API, "package-lock.json", "tsconfig.json", "vite.config.ts", *_below("public"), *_below("src")]:
        found.update(f"{path}\0".encode() + (PAGE / path).read_bytes() + b"\0")
    return found.hexdigest()


def _below(folder: str) -> list[str]:
    return sorted(path.relative_to(PAGE).as_posix() for path in (PAGE / folder).rglob("*") if path.is_file())


def _differs() -> str:
    with tempfile.TemporaryDirectory() as folder:
        types, dist = Path(folder) / "types.ts", Path(folder) / "dist"
        _make(types, dist)
        if types.read_bytes() != (PAGE / TYPES).read_bytes():
            return f"{TYPES} is not made from docs/openapi.json"
        names = {path.name for path in [*dist.iterdir(), *(PAGE / "dist").iterdir()]}
        other = sorted(name for name in names if _bytes(dist / name) != _bytes(PAGE / "dist" / name))
    return f"the page's bundle is not what its sources give: {', '.join(other)}" if other else ""


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _make(types: Path, dist: Path) -> None:
    _run("npx", "--no-install", "openapi-typescript", API, "--output", str(types))
    _run("npm", "run", "--silent", "check")
    _run("npx", "--no-install", "vite", "build", "--logLevel", "warn", "--emptyOutDir", "--outDir", str(dist))


def _installed() -> bool:
    """Install what the lock names, unless that was done since it changed; return whether it could be had."""
    done, lock = PAGE / "node_modules" / ".package-lock.json", PAGE / "package-lock.json"
    if done.is_file() and done.stat().st_mtime >= lock.stat().st_mtime:
        return True
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        ended = subprocess.run(command, cwd=PAGE, capture_output=True, text=True, check=False, timeout=300)
    except subprocess.TimeoutExpired:
        print("npm ci did not end within 300 seconds", file=sys.stderr)
        return False
    if "EUSAGE" in ended.stderr:
        sys.exit(f"error: package-lock.json does not fit package.json\n{ended.stderr}")
    if ended.returncode:
        print(ended.stderr, file=sys.stderr)
    return ended.returncode == 0


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=PAGE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        sys.exit(f"error: {' '.join(command)} failed")


def _node() -> str | None:
    """Return Node's version where it and npm are new enough; None elsewhere."""
    if not (node := shutil.which("node")) or not shutil.which("npm"):
        return None
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    numbers = re.match(r"v(\d+)\.(\d+)", said)
    return said if numbers and tuple(map(int, numbers.groups())) >= NODE else None


def _skipped(what: str, node: str | None) -> int:
    why = "its packages can't be had" if node else f"there is no Node {NODE[0]}.{NODE[1]} or later here"
    print(f"SKIPPED: {what}: {why}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
