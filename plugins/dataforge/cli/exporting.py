"""`export`: a pipeline as a plain Airflow module that runs without DataForge."""

from __future__ import annotations

import argparse
import sys
import textwrap

from dataforge.cli.loading import load_one


def export(arguments: argparse.Namespace) -> int:
    """Print or write the module; what it does differently goes to standard error. 1 where parts must be written."""
    from dataforge.exports.columns import Known, ask
    from dataforge.exports.module import export as export_config

    config = load_one(arguments.path, arguments.dag_id).config
    known = dict.fromkeys(config.inputs, Known(trouble="offline")) if arguments.offline else ask(config)
    exported = export_config(config, known)
    if arguments.output:
        arguments.output.write_text(exported.text, encoding="utf-8")
    else:
        print(exported.text, end="")
    for title, parts in (("left out", exported.notes), ("to be written by hand", exported.missing)):
        for part in parts:
            print(textwrap.fill(f"{title}: {part}", 110, subsequent_indent="  "), file=sys.stderr)
    return 1 if exported.missing else 0
