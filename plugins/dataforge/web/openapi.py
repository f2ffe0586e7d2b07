"""The API's description, as docs/openapi.json holds it."""

from __future__ import annotations

import json
from typing import Any

from fastapi.openapi.utils import get_openapi

from dataforge.web.app import PREFIX, make_app
from dataforge.web.door import OPEN
from dataforge.web.problems import MEDIA_TYPE

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "For programs; it does not change."},
        "detail": {"type": "string", "description": "For people."},
    },
}


def document() -> dict[str, Any]:
    """Return the OpenAPI document: every route behind the door needs a Bearer token or Airflow's cookie."""
    app = make_app()
    found = get_openapi(
        title=app.title, version="1", description=app.description, routes=app.routes,
        servers=[{"url": PREFIX, "description": "below Airflow's API server"}],
    )  # fmt: skip
    components = found.setdefault("components", {})
    for name in ("HTTPValidationError", "ValidationError"):
        components.get("schemas", {}).pop(name, None)
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "From Airflow's POST /auth/token."},
        "cookie": {"type": "apiKey", "in": "cookie", "name": "_token"},
    }
    told = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, methods in found["paths"].items():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            if path not in OPEN:
                operation["security"] = [{"token": []}, {"cookie": []}]
                operation["responses"]["default"] = {"description": "What is wrong (RFC 9457).", "content": told}
    return found


def as_json() -> str:
    """Return it as text in a stable order."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"
