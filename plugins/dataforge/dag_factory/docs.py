"""The documentation of a pipeline's DAG: what it does in words, its config, its compiled SQL.

Airflow renders it as Markdown in the browser. Text of a config stands in it only as code, between fences or ticks
longer than any run of ticks inside, so that it can't become markup, a link, an image or a heading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dataforge.components.base import ComponentConfig
from dataforge.config.delivery import Delivery, letter
from dataforge.config.pipeline import AllAssets, AnyAsset, AssetExpression, PipelineConfig

PLACE_FIELDS = ("connection", "path", "url", "endpoint", "database", "table", "query", "bucket", "key")
"""Fields that say where a source or destination is, in the order in which a person would tell them."""

_OUTCOMES = {"fail": "stops the run", "warn": "warns", "reject": "sets rows aside"}


def render(config: PipelineConfig, *, text: str, sql: str = "", file: str = "") -> str:
    """Return the Markdown of a pipeline; `text` is its config as JSON, `sql` may be empty."""
    parts = [summary(config, file), "### Config", fenced(text, "json")]
    if sql:
        parts += ["### Compiled SQL", fenced(sql, "sql")]
    return "\n\n".join(parts) + "\n"


def fenced(text: str, language: str) -> str:
    """Return `text` as a code block that nothing in it can end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    fence = "`" * max(3, _longest_ticks(text) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def inline(text: str, limit: int = 120) -> str:
    """Return `text` as code within a line; line breaks and tabs become spaces, texts over the limit are cut."""
    text = " ".join(text.split())
    text = text if len(text) <= limit else f"{text[: limit - 1]}…"
    ticks = "`" * (_longest_ticks(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text or ' '}{pad}{ticks}"


def _longest_ticks(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def summary(config: PipelineConfig, file: str = "") -> str:
    """Return what a pipeline reads, does, checks and writes, as a Markdown list."""
    lines = []
    if config.description:
        lines += [fenced(config.description, "text") if "\n" in config.description else inline(config.description), ""]
    for name, source in config.inputs.items():
        lines.append(f"- **Reads** {_component(source)}" + ("" if config.source else f" as {inline(name)}"))
    if config.transforms:
        steps = " → ".join(inline(step.type) for step in config.transforms)
        lines.append(f"- **Transforms** {steps}")
    for check in config.checks:
        lines.append(f"- **Checks** {_check(check)} ({_OUTCOMES[check.severity]})")
    for target in config.outputs:
        lines.append(f"- **Writes** {_component(target)}, {inline(target.write_disposition)}")
    lines.append(f"- **Guarantees** {' / '.join(_guarantee(one) for one in letter(config))}")
    lines.append(f"- **Runs** {_schedule(config)}")
    if owner := config.owner or config.default_args.owner:
        lines.append(f"- **Owner** {inline(owner)}")
    if file:
        lines.append(f"- **File** {inline(file)}")
    return "\n".join(lines)


def _component(part: ComponentConfig) -> str:
    places = [str(getattr(part, name)) for name in PLACE_FIELDS if isinstance(getattr(part, name, None), str)]
    return " ".join([inline(part.type), *map(inline, places[:3])])


def _guarantee(one: Delivery) -> str:
    return f"{one.words} ({inline(one.letter)}): {inline(one.reason, 500)}"


def _check(part: ComponentConfig) -> str:
    fields = part.model_dump(mode="json", exclude={"type", "severity"}, exclude_defaults=True)
    return " ".join([inline(part.type), *(inline(f"{name}: {value}") for name, value in fields.items())])


def _schedule(config: PipelineConfig) -> str:
    wanted = config.schedule
    if wanted is None:
        return "when triggered by hand"
    if isinstance(wanted, str):
        return f"{inline(wanted)}, time zone {inline(config.timezone)}"
    joint = " or " if isinstance(wanted, AnyAsset) else " and "
    return "when updated: " + joint.join(inline(name) for name in _asset_names(wanted))


def _asset_names(wanted: AssetExpression) -> Iterator[str]:
    if isinstance(wanted, AnyAsset | AllAssets):
        for inner in wanted.any if isinstance(wanted, AnyAsset) else wanted.all:
            yield from _asset_names(inner)
    else:
        yield wanted.asset
