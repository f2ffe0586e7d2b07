"""`mcp`: the tools for assistants of other makers, over the Model Context Protocol."""

from __future__ import annotations

import argparse
import os

from dataforge.cli.deploying import _actor
from dataforge.cli.usage import UsageError
from dataforge.settings import ENV_PREFIX, get_settings


def mcp(arguments: argparse.Namespace) -> int:
    """Serve the tools on standard input and output until the client hangs up."""
    from dataforge.authoring.models import open_models
    from dataforge.authoring.tools import Tools
    from dataforge.mcp.server import serve

    if arguments.configs is not None:
        if not arguments.configs.is_dir():
            raise UsageError(f"there is no folder {str(arguments.configs)!r}")
        os.environ[f"{ENV_PREFIX}CONFIGS_FOLDER"] = str(arguments.configs.resolve())
        get_settings.cache_clear()
    settings = get_settings()
    models = open_models()
    write = arguments.allow_write or settings.mcp_allow_write
    serve(
        Tools(
            settings.configs_folder, _actor(), (lambda: None) if arguments.no_model else (lambda: models), write=write
        )
    )
    return 0
