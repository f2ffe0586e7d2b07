"""What a config can never hold, told from the request before any model is asked: code, commands, secrets, hosts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dataforge.authoring.base import Extracted
from dataforge.authoring.catalogue import Catalogue
from dataforge.components.secret_shapes import secret_shape

_CODE = re.compile(
    r"\b(?:(?:run|execute|call|start|use|write|add|include|embed|insert|ausführen|führe|starte|schreibe?|einbauen|nutze|verwende)\b[^.;\n]{0,40}?\b(?:python|bash|shell|powershell|javascript|java|lambda|jinja)(?!\w)(?:\s*-?\s*(?:script|code|function|snippet|command|program|operator|callable|skript|funktion|befehl|programm|template))?"
    r"|(?:python|bash|shell)(?:operator|\s+operator|\s+task|[- ]?(?:script|skript|code|snippet|command|befehl))"
    r"|(?:custom|own|arbitrary|eigene[nrs]?)\s+(?:python\s+)?(?:code|script|function|operator|udf|skript|funktion)"
    r"|(?:shell|terminal|os|system)\s*-?\s*(?:command|befehl)s?"
    r"|(?:import\s+os|os\.system|subprocess|eval\s*\(|exec\s*\(|__import__|rm\s+-rf|curl\s+\S|wget\s+\S|/bin/(?:sh|bash)|chmod\s|sudo\s)"
    r"|(?:drop|truncate|alter|grant|revoke)\s+(?:the\s+)?(?:table|database|schema|role|user)s?\b(?!\s*and\s*(?:re)?load))",
    re.I,
)
_NO_CODE = re.compile(
    r"\b(?:without|no|don'?t\s+(?:want|use|need)|ohne|kein(?:en)?)\s+(?:any\s+|own\s+)?(?:python|bash|shell|code|script|skript)",
    re.I,
)
_SECRETS = re.compile(
    r"\b(?:show|print|tell|give|reveal|display|output|dump|expose|export|list|read|write|store|save|copy|send|leak|put|include|use|with|zeig\w*|gib|nenne?|drucke?|verrate?|speicher\w*|kopiere?|schreib\w*|ausgeben)\b[^.;\n]{0,50}?\b(?:passwords?|passwort|passwörter|kennwort|kennwörter|credentials?|zugangsdaten|api[- ]?keys?|secrets?|geheimnisse?|access[- ]?keys?|private[- ]?keys?|tokens?|fernet\s+key|connection\s+strings?)\b",
    re.I,
)
_SECRET_COLUMN = re.compile(
    r"\b(?:columns?|fields?|spalten?|mask\w*|hash\w*|drop\w*|remov\w*|redact\w*|without|exclude|ohne|next[_ ]token|page[_ ]token|maskier\w*|entfern\w*|lösch\w*|pagina\w*|cursor)\b",
    re.I,
)
_GIVEN_SECRET = re.compile(
    r"\b(?:password|passwort|kennwort|pwd|api[- ]?key|token|secret|geheimnis)\s*(?:is|=|:|ist|lautet)\s*[\"'`]?(?P<value>[^\s\"'`,;]{4,})",
    re.I,
)
_URI_SECRET = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@", re.I)
_PROMPT = re.compile(
    r"\b(?:system|hidden|initial|secret)[\s-]*(?:prompt|instructions)\b"
    r"|\b(?:your|deine?n?)\s+(?:\w+\s+){0,2}(?:instructions|prompts?|rules|guidelines|anweisungen|regeln|systemprompt)\b",
    re.I,
)
_HOST = re.compile(
    r"\b(?:(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?|(?:host|server|rechner)\s+(?:is\s+|=\s*|named\s+|called\s+)?(?P<host>[a-z0-9][\w-]*(?:\.[\w-]+)+))\b",
    re.I,
)


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused, where, and what would do instead."""

    reason: str
    instead: str
    start: int
    end: int


def refusals(text: str, found: Sequence[Extracted], catalogue: Catalogue) -> list[Refusal]:
    """Return everything in a request that no config can hold; an empty list when there is nothing."""
    refused: list[Refusal] = []
    if (match := _CODE.search(text)) and not _NO_CODE.search(text):
        instead = (
            "say what the rows should become; transforms are SQL expressions, and a component in a package can do more"
        )
        refused.append(Refusal("a config can't hold code or commands, and none is run", instead, *match.span()))
    given = _URI_SECRET.search(text) or _GIVEN_SECRET.search(text)
    if given is None:
        given = next(
            (word for word in re.finditer(r"\S{16,}", text) if secret_shape(word.group().strip("\"'`,;.()"))), None
        )
    if given:
        instead = "put it into an Airflow connection and name that connection"
        refused.append(Refusal("the request holds what looks like a secret; a config can't", instead, *given.span()))
    if (match := _SECRETS.search(text)) and not given and not _SECRET_COLUMN.search(match.group()):
        around = text[max(0, match.start() - 30) : match.end() + 20]
        named = re.match(
            r"\s*(?:table|report|usage|column|field|page|file|log|\w*\.\w+|tabelle|spalte|feld|datei)\b",
            text[match.end() :],
            re.I,
        )
        if not _SECRET_COLUMN.search(around) and not named:
            instead = "name the Airflow connection; what is in it stays there"
            refused.append(Refusal("secrets of connections can't be read, shown or written", instead, *match.span()))
    for one in found:
        if one.kind == "url" and catalogue.by_host(str(one.value)) is None:
            instead = "add an Airflow connection of type http with that base URL, and name it"
            refused.append(
                Refusal(f"a config can't name a host ({_host(str(one.value))})", instead, one.start, one.end)
            )
    if not any(one.kind == "url" for one in found) and (match := _HOST.search(text)):
        instead = "add an Airflow connection that leads there, and name it"
        refused.append(Refusal(f"a config can't name a host ({match.group()})", instead, *match.span()))
    return refused


def asks_for_prompt(text: str) -> bool:
    """Return whether a request wants to see our own instructions."""
    return _PROMPT.search(text) is not None


def _host(url: str) -> str:
    return url.split("://", 1)[-1].split("/", 1)[0].rsplit("@", 1)[-1]
