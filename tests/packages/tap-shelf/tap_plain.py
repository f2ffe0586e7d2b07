"""The same tap as `tap_shelf` without an SDK; it misbehaves where its settings ask for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

TYPES = {"id": "integer", "title": "string", "price": "number", "tags": "array"}
PROPERTIES = {name: {"type": ["null", kind]} for name, kind in TYPES.items()}
SCHEMA = {"properties": {**PROPERTIES, "changed_at": {"type": "string", "format": "date-time"}}}


def main() -> None:
    """Print the catalog or the messages."""
    given = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
    config = json.loads(Path(given["--config"]).read_text())
    if "--discover" in sys.argv:
        print(
            json.dumps({"streams": [{"tap_stream_id": "books", "stream": "books", "schema": SCHEMA, "metadata": []}]})
        )
        return
    print(f"calling with token {config.get('token')}", file=sys.stderr)
    if config.get("show_environment"):
        print(" ".join(sorted(os.environ)), file=sys.stderr)
    (stream,) = json.loads(Path(given["--catalog"]).read_text())["streams"]
    chosen = {one["breadcrumb"][1] for one in stream["metadata"] if one["breadcrumb"] and one["metadata"]["selected"]}
    print(json.dumps({"type": "SCHEMA", "stream": "books", "schema": SCHEMA, "key_properties": ["id"]}))
    for book in config["books"]:
        record = {name: value for name, value in book.items() if name in chosen}
        print(json.dumps({"type": "RECORD", "stream": "books", "record": record}))
    if pid_file := config.get("hang"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(pid_file).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)
    if config.get("fail"):
        raise RuntimeError(f"refused: {config['token']}")
