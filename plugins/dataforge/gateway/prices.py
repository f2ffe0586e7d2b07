"""What a million tokens of a model cost: as the connection says, nothing for local ones, else by `genai-prices`."""

from __future__ import annotations

from dataforge.gateway.base import Model
from dataforge.gateway.connections import Extra

_FREE = ("ollama", "scripted")


def price_of(model: Model, extra: Extra) -> tuple[float | None, float | None]:
    """Return (price of the prompt, price of the answer) for a million tokens; None where it is not known."""
    if extra.price_in is not None or extra.price_out is not None:
        return extra.price_in or 0.0, extra.price_out or 0.0
    if model.provider in _FREE:
        return 0.0, 0.0
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        return None, None
    million = 1_000_000
    try:
        found = calc_price(Usage(input_tokens=million, output_tokens=million), model.name, provider_id=model.provider)
    except (LookupError, ValueError):
        return None, None
    return float(found.input_price), float(found.output_price)
