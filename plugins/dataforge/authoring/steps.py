"""Transforms and checks that a request spells out word by word: "rename id to order_id", "drop the column note".

Only what can be read in one way. Everything else ("get rid of what we can't use") is the model's to understand; a
missing step here forbids nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dataforge.authoring import clauses
from dataforge.authoring.base import Extracted
from dataforge.authoring.words import COLUMNS, NAMES, STOPWORDS, begins_clause, names_in

_Q = "`\"'„“”‚‘’"
_N = rf"[{_Q}]?[A-Za-z_]\w*[{_Q}]?"
_THE = r"(?:the\s+|a\s+|its\s+|all\s+|die\s+|der\s+|das\s+|den\s+|dem\s+|alle\s+)?"
_COL = r"(?:columns?\s+|fields?\s+|spalten?\s+|felder?n?\s+)?"
_TO = r"(?:to|into|as|in|zu|nach|->|→|=>|auf)"

_RENAME = re.compile(
    rf"\b(?:renam(?:e|es|ed|ing)|umbenennen|benenne|call)\s+{_THE}{_COL}(?:columns?|fields?|spalten?)?\s*:?\s*(?P<pairs>{_N}\s+{_TO}\s+{_N}(?:\s*(?:,|and|und)\s*(?:and\s+|rename\s+)?{_THE}{_COL}{_N}\s+{_TO}\s+{_N})*)",
    re.I,
)
_RENAME_DE = re.compile(
    rf"{_THE}{_COL}(?P<pairs>{_N}\s+(?:in|zu|nach)\s+{_N}(?:\s*(?:,|und)\s*{_THE}{_N}\s+(?:in|zu|nach)\s+{_N})*)\s+(?:umbenennen|umbenannt|um\b)",
    re.I,
)
_RENAME_INTO = re.compile(
    rf"(?P<old>{_N})\s+(?:umbenennen|umbenannt|renamed)\s+(?:in|zu|nach|to|as)\s+(?P<new>{_N})", re.I
)
_PAIR = re.compile(rf"(?P<old>{_N})\s+{_TO}\s+(?P<new>{_N})", re.I)
_CALL = re.compile(
    rf"\bcall\s+(?:the\s+)?(?:column\s+|field\s+)?(?P<old>{_N})\s+(?P<new>[{_Q}]?[A-Za-z]\w*_\w+[{_Q}]?)", re.I
)
_DROP = re.compile(
    rf"\b(?:drop(?:s|ped|ping)?|remove|removing|delete|leave\s+out|leaving\s+out|omit(?:ting)?|discard|without|exclude|get\s+rid\s+of|throw\s+away|strip|entferne?n?|lösche?n?|weglassen|ohne|verwirf)\s+{_THE}(?:(?:columns?|fields?|spalten?|felder)\s+(?P<names>{NAMES})|(?P<names2>{NAMES})\s+(?:columns?|fields?|spalten?))",
    re.I,
)
_DROP_MARKED = re.compile(
    rf"\b(?:drop(?:s|ped|ping)?|remove|removing|leave\s+out|leaving\s+out|omit(?:ting)?|discard|exclude|without|get\s+rid\s+of|throw\s+(?:away|out)|entferne?n?|ohne|verwirf)\s+{_THE}(?P<names>{NAMES})(?=\s*(?:[.,;:)!]|$|(?:and|und|then|dann|from|before|aus|vor|to|into|nach|als|as)\b))",
    re.I,
)
_DROP_BEHIND = re.compile(
    rf"\b(?:spalten?|felder|feld|columns?)\s+(?P<names>{NAMES})\s+(?:\w+\s+)?(?:raus\w*|weg\w*|entfernen|entfernt|löschen|streichen|rauswerfen|verwerfen|nicht\s+(?:übernehmen|mitnehmen|laden)|(?:must|should|can|has\s+to|have\s+to)\s+(?:go|disappear|be\s+(?:dropped|removed)))\b",
    re.I,
)
_KEEP = re.compile(
    rf"\b(?:(?:only\s+)?keep(?:s|ing)?(?:\s+only)?|select(?:ing)?(?:\s+only)?|only\s+(?:take|need|want|load|use|the)|just\s+(?:take|keep|the)|behalte(?:n)?(?:\s+nur)?|nur)\s+{_THE}(?:(?:columns?|fields?|spalten?|felder)\s+(?P<names>{NAMES})|(?P<names2>{NAMES})\s+(?:columns?|fields?|spalten?))",
    re.I,
)
_ONLY_BEHIND = re.compile(
    rf"\b(?:keep|take|load|want|need|columns?|behalte\w*|spalten?)\s+(?P<names3>{NAMES})\s+(?:only|reichen|genügen|suffice|are\s+enough)\b|\b(?:columns?|fields?|spalten?)\s+(?P<names>{NAMES})\s+(?:only|and\s+nothing\s+else|nothing\s+else)\b|\b(?:only|just|nur)\s+(?:the\s+|die\s+)?(?:columns?|fields?|spalten?)\s+(?P<names2>{NAMES})",
    re.I,
)
_PUT_NAMES = re.compile(
    rf"\b(?:put|write|load|take|bring|keep|send|export)\s+(?:only\s+|just\s+)?(?P<names>{NAMES})(?=\s+(?:into|in|to|from|out\s+of)\b)",
    re.I,
)
_COLUMNS_END = re.compile(
    rf"(?:[,;:(]\s*|\bwith\s+)(?:only\s+|just\s+)?(?:the\s+)?columns?:?\s+(?P<names>{NAMES})(?=\s*(?:[.;)]|$))", re.I
)
_KEEP_OF = re.compile(
    rf"\b(?:(?:keep|take|want|need|load|read)\s+(?:only|just)|only|just|nur)\s+(?:keep\s+|take\s+)?{_THE}(?P<names>{_N}(?:\s*,\s*{_N})*\s*,?\s*(?:and|und)\s+{_N})\s+(?:of|from|out\s+of|aus|von)\b",
    re.I,
)
_SHOULD_BE = re.compile(
    rf"(?P<names>{NAMES})\s+(?:columns?\s+)?(?:should|must|has\s+to|have\s+to|needs?\s+to|soll(?:en)?|muss|müssen)\s+(?:be\s+|become\s+)?(?:an?\s+|of\s+type\s+|einen?\s+|ein\s+|eine\s+|als\s+|vom\s+typ\s+)*(?P<type>whole\s+number|ganze\s+zahl|ganzzahl|[a-z]+(?:\s*\(\s*\d+\s*(?:,\s*\d+\s*)?\))?)\b",
    re.I,
)
_DEDUPLICATE = re.compile(
    rf"\b(?:de-?dup\w*|delet\w*\s+(?:the\s+|all\s+|any\s+)?(?:duplicates?|dupes)\b|duplicates?(?=\s+(?:by|on)\b)|doppelte\w*(?=\s+nach\b)|remov\w+\s+(?:the\s+|all\s+|any\s+)?(?:duplicates?|duplicated?|doubles?|doubled|dupes)\b|drop\w*\s+(?:the\s+|all\s+|any\s+)?(?:duplicates?|duplicated?|dupes)\b|(?:get\s+rid\s+of|throw\s+out|no)\s+(?:the\s+|all\s+|any\s+)?(?:duplicates?|duplicated?|doubles?|doubled|dupes)\b|(?:kick\s+out|weed\s+out|eliminat\w+|strip|filter\s+out|skip|ignore)\s+(?:the\s+|all\s+|any\s+)?(?:duplicates?|duplicated?|doubles?|doubled|dupes|repeated)\b|(?:no|without)\s+(?:duplicates?|duplicated?|doubled|repeated)\s+(?:rows|records|entries|lines)|duplikate|dubletten|doppelte\w*|dedupliziere\w*|(?:only\s+|just\s+|keep\s+)?one\s+(?:row|record|entry|line)(?=\s+(?:per|for|of\s+each)\b)|(?:nur\s+)?eine\s+zeile(?=\s+(?:je|pro)\b)|(?:keep\s+)?(?:only\s+)?(?:the\s+)?(?:latest|newest|last|most\s+recent|neueste\w*|jüngste\w*)\s+\w+\s+(?=(?:per|for\s+each|of\s+each|je|pro)\b))"
    rf"(?:\s+(?:rows?|records?|orders?|customers?|entries|einträge|zeilen|sätze|datensätze|entfernen|löschen))*"
    rf"(?:\s+(?:from|in|of|aus)(?=\s{{2,}}))?(?:\s*,?\s*(?:by|on|per|for\s+each|of\s+each|using|with\s+the\s+same|over|nach|pro|je|anhand\s+(?:von|der)|über|mit\s+gleiche[rmn])\s+(?:the\s+|key\s+|keys\s+|der\s+|columns?\s+|spalten?\s+)*(?P<names>{NAMES}))?",
    re.I,
)
_LATEST = re.compile(
    rf"\b(?:keep(?:ing)?|behalte\w*|retain(?:ing)?|where|wins?|latest|newest|most\s+recent|neueste\w*|jüngste\w*|letzte\w*)\b[^.;]{{0,45}}?\b(?:by|highest|greatest|largest|latest|newest|most\s+recent|max(?:imum)?|nach|höchste\w*|größte\w*|neueste\w*|jüngste\w*)\s+(?:(?:row|record|one|entry|zeile)\s+)?(?:the\s+|nach\s+|by\s+|according\s+to\s+)*(?P<name>{_N})",
    re.I,
)
_CAST = re.compile(
    rf"\b(?:cast(?:s|ing)?|convert(?:s|ing)?|turn(?:s|ing)?|make|change|wandle|konvertiere?n?|caste?n?|umwandeln)\s+{_THE}{_COL}(?P<names>{NAMES})\s+(?:column\s+|spalte\s+)?(?:to|into|as|an?|in|zu|nach|als)\s+(?:an?\s+|the\s+|type\s+|einen?\s+|ein\s+)*(?P<type>[A-Za-z]+(?:\s*\(\s*\d+\s*(?:,\s*\d+\s*)?\))?)",
    re.I,
)
_TYPE_MORE = re.compile(
    r"\s*(?:,\s*(?:and\s+|und\s+)?|(?:and|und)\s+)(?P<name>[A-Za-z]\w*)\s+(?:as\s+)?(?:an?|als|ein|eine)\s+(?P<type>[A-Za-z]+(?:\s*\(\s*\d+\s*(?:,\s*\d+\s*)?\))?)",
    re.I,
)
_CAST_MORE = re.compile(
    rf"\s*(?:,\s*(?:and\s+|und\s+)?|(?:and|und)\s+){_THE}{_COL}(?P<names>{NAMES})\s+(?:to|into|as|an?|in|zu|nach|als)\s+(?:an?\s+|the\s+|type\s+|einen?\s+|ein\s+)*(?P<type>[A-Za-z]+(?:\s*\(\s*\d+\s*(?:,\s*\d+\s*)?\))?)",
    re.I,
)
_TYPES = {
    "int": "integer", "integer": "integer", "ints": "integer", "integers": "integer", "bigint": "bigint", "number": "double", "numbers": "double",
    "ganzzahl": "integer", "ganzezahl": "integer", "wholenumber": "integer", "zahl": "double", "float": "double", "double": "double", "decimal": "decimal(18,2)", "numeric": "decimal(18,2)",
    "text": "varchar", "string": "varchar", "strings": "varchar", "varchar": "varchar", "date": "date", "dates": "date", "datum": "date",
    "timestamp": "timestamp", "timestamps": "timestamp", "datetime": "timestamp", "zeitstempel": "timestamp", "boolean": "boolean",
    "bool": "boolean", "booleans": "boolean", "wahrheitswert": "boolean", "timestamptz": "timestamptz", "smallint": "smallint", "real": "real", "time": "time", "uuid": "uuid",
}  # fmt: skip
_MASK = re.compile(
    rf"\b(?P<how>hash(?:es|ed|ing)?|mask(?:s|ed|ing)?|anonymi[sz]e\w*|redact(?:s|ed|ing)?|obfuscate|pseudonymi[sz]e\w*|blank\s+out|maskiere?n?|hashe?n?|anonymisiere?n?|pseudonymisiere?n?|schwärze?n?|verschleiere?n?)\s+{_THE}{_COL}(?P<names>{NAMES})",
    re.I,
)
_NULL_OUT = re.compile(
    rf"\b(?:null(?:s|ing|ed)?\s+out|set\s+to\s+null|nullify|auf\s+null\s+setzen)\s+{_THE}{_COL}(?P<names>{NAMES})|\bset\s+{_THE}{_COL}(?P<names2>{NAMES})\s+to\s+null\b",
    re.I,
)
_MASK_DE = re.compile(
    rf"(?P<names>{NAMES})\s+(?:\w+\s+)?(?P<how>unkenntlich\s+machen|unkenntlich|unleserlich\s+machen|hashen|gehasht|maskieren|maskiert|anonymisieren|pseudonymisieren|schwärzen|verschleiern|hashed|masked)\b",
    re.I,
)
_FILL = re.compile(
    rf"\b(?:fill(?:s|ing)?|replace|replacing|set|default|ersetze?n?|fülle?n?)\s+(?:(?:the\s+)?(?:null|missing|empty|blank|fehlende\w*|leere\w*)(?:s|\s+values?|\s+werte?n?)?\s+(?:in|of|for)\s+)?{_THE}(?:(?:null|missing|empty|blank|fehlende\w*|leere\w*)\s+(?:values?\s+(?:in|of|for)\s+|werte?\s+(?:in|von)\s+)?)?{_COL}(?P<name>{_N})\s+(?:nulls?\s+|values?\s+)?(?:with|by|to|as|durch|mit|auf)\s+(?P<value>-?\d+(?:\.\d+)?|[{_Q}][^{_Q}]*[{_Q}]|[A-Za-z]\w*)",
    re.I,
)
_FILL_GUARD = re.compile(r"null|missing|empty|blank|fehlend|leer|fill|füll", re.I)
_SORT = re.compile(
    rf"\b(?:sort(?:s|ed|ing)?|order(?:ed|ing)?|sortier\w*)\s+(?:it\s+|them\s+|the\s+(?:rows|result)\s+|the\s+output\s+)?(?:by|on|nach)\s+(?P<names>{NAMES})(?:\s*,?\s*(?P<way>desc(?:ending)?|asc(?:ending)?|absteigend|aufsteigend|newest\s+first|highest\s+first|largest\s+first|latest\s+first))?",
    re.I,
)
_SORT_DE = re.compile(
    rf"\bnach\s+(?P<names>{NAMES})\s+(?:(?P<way>absteigend|aufsteigend)(?:\s+(?:sortier\w*|geordnet|ordnen))?|sortier(?:en|t)|geordnet|ordnen)\b",
    re.I,
)
_SORT_WAY = re.compile(
    rf"\b(?P<way>absteigend|aufsteigend|descending|ascending)\s+(?:nach|by)\s+(?P<names>{NAMES})", re.I
)
_VALUE = rf"(?:[{_Q}](?P<quoted>[^{_Q}]*)[{_Q}]|(?P<date>\d{{4}}-\d{{2}}-\d{{2}})(?!\d)|(?P<number>-?\d+(?:[.,]\d+)?)(?!\d*[.-]\d)|(?P<bool>true|false|wahr|falsch)|(?P<word>[A-Za-z]\w*))"
_COMPARE = (
    (r"is\s+not|isn'?t|does\s+not\s+equal|not\s+equal\s+to|!=|<>|ist\s+nicht|ungleich", "<>"),
    (r"(?:is\s+|are\s+)?(?:at\s+least|no\s+less\s+than|greater\s+than\s+or\s+equal\s+to)|>=|(?:ist\s+)?mindestens|größer\s+gleich|größer\s+oder\s+gleich", ">="),
    (r"(?:is\s+|are\s+)?(?:at\s+most|no\s+more\s+than|less\s+than\s+or\s+equal\s+to)|<=|(?:ist\s+)?höchstens|kleiner\s+gleich", "<="),
    (r"(?:is\s+|are\s+)?(?:greater\s+than|more\s+than|larger\s+than|bigger\s+than|above|over|exceeds?|higher\s+than)|>|(?:ist\s+)?(?:größer\s+als|mehr\s+als|über|größer)", ">"),
    (r"(?:is\s+|are\s+)?(?:less\s+than|smaller\s+than|below|under|fewer\s+than|lower\s+than)|<|(?:ist\s+)?(?:kleiner\s+als|weniger\s+als|unter|kleiner)", "<"),
    (r"equals?(?:\s+to)?|is\s+equal\s+to|is\s+exactly|==?|is|are|has\s+the\s+value|ist\s+gleich|gleich|ist|sind|lautet|=", "="),
)  # fmt: skip
_OPERATOR = "|".join(f"(?P<op{number}>{pattern})" for number, (pattern, _) in enumerate(_COMPARE))
_WHERE_LEAD = (
    r"(?:(?:only|just|keep(?:ing)?|filter(?:s|ed|ing)?|nur|behalte\w*|filtere?n?)\b[^.;]{0,40}?\b(?:where|whose|with|in\s+which|for\s+which|to|on|having|wo|deren|bei\s+denen|mit|in\s+denen|that\s+have|which\s+have|nach|auf)"
    r"|(?:rows|records|orders|customers|zeilen|sätze|datensätze|entries|events|payments|invoices)\s+(?:where|whose|in\s+which|deren|bei\s+denen)|\bwhere\b|\bwhose\b|\bwobei\b)"
)
_FILTER = re.compile(
    rf"\b{_WHERE_LEAD}\s+(?:the\s+|der\s+|die\s+|das\s+|column\s+|spalte\s+|an?\s+)*(?P<name>{_N})\s+(?:of\s+|von\s+)?(?:{_OPERATOR})\s+{_VALUE}(?P<rest>[^.;]*)",
    re.I,
)
_OR_VALUE = re.compile(
    rf"^\s*(?:,\s*(?=[^.;]{{0,40}}\b(?:or|oder)\b)(?:or\s+|oder\s+)?|or\s+|oder\s+)(?P<value>[{_Q}][^{_Q}]*[{_Q}]|(?!a\b|an\b|the\b|is\b)[A-Za-z]\w*)(?=\s*(?:[.,;)]|$|(?:and|und|to|into|or|oder|as|nach|in|then)\b))",
    re.I,
)
_FILTER_MORE = re.compile(
    rf"^\s*(?P<and>and|or|und|oder|,\s*and)\s+(?:the\s+|whose\s+|where\s+|der\s+|die\s+)*(?P<name>{_N})\s+(?:{_OPERATOR})\s+{_VALUE}",
    re.I,
)
_DROP_ROWS = re.compile(
    rf"\b(?:drop|remove|exclude|ignore|skip|discard|filter\s+out|leave\s+out|throw\s+(?:away|out)|ohne|verwirf|entferne?|ignoriere?n?|überspringe?n?|aussortieren)\s+(?:all\s+|the\s+|any\s+|alle\s+|die\s+)*(?:[A-Za-zäöü]+)\s+(?:where|whose|with|in\s+which|wo|deren|bei\s+denen|mit|without|that\s+have|ohne)\s+(?:a\s+|an\s+|no\s+|the\s+|der\s+|die\s+)?(?P<name>{_N})\s+(?:{_OPERATOR})\s+{_VALUE}",
    re.I,
)
_NOT_NULL_ROWS = re.compile(
    rf"\b(?:drop|remove|exclude|ignore|skip|discard|filter\s+out|throw\s+(?:away|out)|leave\s+out|get\s+rid\s+of|don'?t\s+(?:want|need)|entferne?|ignoriere?n?|überspringe?n?|verwirf)\s+(?:all\s+|the\s+|any\s+|alle\s+)*(?:rows|records|orders|entries|lines|ones|those|customers|items|zeilen|sätze|datensätze)\s+(?:without|with(?:out)?\s+(?:an?\s+)?(?:empty|missing|null|no)|where\s+there\s+is\s+no|that\s+have\s+no|having\s+no|ohne|mit\s+leere[rmn])\s+(?:an?\s+|value\s+in\s+|wert\s+in\s+)?(?P<name>{_N})\b"
    rf"|\b(?:rows|records|zeilen|sätze)\s+(?:where|whose|wo|deren)\s+(?P<name2>{_N})\s+(?:is\s+|are\s+|ist\s+)(?:null|missing|empty|leer)\b",
    re.I,
)
_IS_NOT_NULL = re.compile(
    rf"\b{_WHERE_LEAD}\s+(?:the\s+)?(?P<name>{_N})\s+(?:is\s+not\s+null|is\s+not\s+empty|is\s+set|is\s+present|nicht\s+(?:null|leer)\s+ist|exists)\b",
    re.I,
)
_FILTER_NOT_NULL = re.compile(
    rf"\b(?:filter(?:\s+(?:by|on|for|to))?|only|keep|just)\s+(?:rows\s+with\s+)?(?P<name>{_N})\s+(?:is\s+)?not\s+(?:null|empty)\b",
    re.I,
)
_LIST = rf"(?P<values>[{_Q}]?\w+[{_Q}]?(?:\s*(?:,|or|and|oder|und|\|)\s*(?:or\s+|and\s+|oder\s+|und\s+)?[{_Q}]?\w+[{_Q}]?)+)"
_IN = re.compile(
    rf"\b(?:{_WHERE_LEAD}|(?:keep|take|load)\s+(?:only|just)|only|just|nur)\s+(?:the\s+|rows\s+with\s+|zeilen\s+mit\s+)?(?P<name>{_N})\s+(?:is\s+)?(?:in|either|one\s+of|any\s+of|entweder)\s*\(?{_LIST}\)?",
    re.I,
)
_ONE_OF = re.compile(
    rf"(?P<name>{_N})\s+(?:is\s+|ist\s+)?(?:one\s+of|any\s+of|eines?\s+von|eine[rs]?\s+von)\s*:?\s*\(?{_LIST}\)?", re.I
)
_IN_RANGE = re.compile(
    rf"(?P<name>{_N})\s+(?:is\s+|ist\s+|values?\s+)?(?:between|zwischen)\s+(?P<min>-?\d+(?:\.\d+)?)\s+(?:and|und)\s+(?P<max>-?\d+(?:\.\d+)?)",
    re.I,
)
_REJECT_EMPTY = re.compile(
    rf"\b(?:reject|set\s+aside|quarantine)\w*\s+(?:all\s+|the\s+|any\s+)?(?:rows|records|entries|lines|ones)\s+(?:without|with(?:out)?\s+(?:an?\s+)?(?:empty|missing|null|no)|that\s+have\s+no)\s+(?:an?\s+)?(?P<names>{NAMES})",
    re.I,
)
_UNIQUE_NAMES = re.compile(rf"(?:^|[;,:.]\s*)unique\s+(?P<names>{NAMES})(?=\s*(?:[;,.]|$))", re.I)
_DEMAND = re.compile(
    r"\b(?:must|should|check\w*|ensure|verify|assert|never|fail\w*|muss|müssen|soll(?:en)?|darf|prüf\w*|sicher\w*)\b",
    re.I,
)
_CHOICE = re.compile(r"\b(?:only|just|keep|where|filter|whose|with|nur|behalt\w*|deren|rows|zeilen)\b", re.I)
_MUST_NOT_NULL = re.compile(
    rf"(?P<names>{NAMES})\s+(?:columns?\s+|spalten?\s+)?(?:must|should|may|can|darf|dürfen|muss|müssen|sollen?)\s*(?:never\s+|nicht\s+|niemals\s+|not\s+|n'?t\s+|nie\s+)(?:be\s+)?(?:null|empty|missing|blank|leer|fehlen)\b(?P<unique>\s*(?:,|and|und)\s*(?:(?:must|should|has\s+to|muss|soll)\s+)?(?:be\s+|always\s+)*(?:unique|eindeutig))?"
    rf"|\b(?:check|ensure|make\s+sure|verify|fail(?:s)?\s+(?:if|when)|assert|prüfe?|stelle?\s+sicher|sicherstellen|abbrechen,?\s+wenn)\b(?:\s+that|\s*,?\s*dass)?\s+(?:the\s+|every\s+|any\s+|die\s+|jede\w*\s+)?(?P<names2>{NAMES})\s+(?:is|are|ist|sind)\s+(?:never\s+|always\s+|nie\s+)?(?:not\s+null|not\s+empty|null|empty|missing|set|filled|present|leer|gefüllt|nicht\s+null|nicht\s+leer)\b"
    rf"|\b(?:no|keine)\s+(?:nulls?|missing\s+values?|empty\s+values?|leeren?\s+werte|nullwerte)\s+(?:in|for|bei)\s+(?:the\s+)?(?P<names3>{NAMES})"
    rf"|\bnot[\s_-]null\s+(?:check\s+)?(?:on|for|auf|für)\s+(?P<names4>{NAMES})",
    re.I,
)
_FILLED = re.compile(
    rf"(?P<names>{NAMES})\s+(?:(?:must|should|has\s+to|have\s+to|needs?\s+to|muss|müssen|soll(?:en)?)\s+(?:always\s+|immer\s+)?(?:be\s+)?(?:filled|set|present|there|gefüllt|gesetzt|vorhanden|ausgefüllt|befüllt)(?:\s+sein)?|(?:is\s+|are\s+)?(?:never|nie(?:mals)?)\s+(?:null|empty|missing|blank|leer)|(?:not|nicht)\s+null)\b",
    re.I,
)
_BETWEEN = re.compile(
    rf"(?P<name>{_N})\s+(?:is\s+|ist\s+)?(?:between|zwischen)\s+(?P<min>-?\d+(?:\.\d+)?)\s+(?:and|und)\s+(?P<max>-?\d+(?:\.\d+)?)\s*,?\s*(?:else|otherwise|or|sonst|andernfalls|ansonsten)\s+(?:it\s+)?(?:fails?|stops?|aborts?|warns?|errors?|fehler|abbruch|abbrechen|warnen)\b",
    re.I,
)
_NEGATIVE_ROWS = re.compile(
    rf"\b(?:rows|records|ones|entries|lines|zeilen|sätze|datensätze)\s+(?:with|where|having|mit)\s+(?:an?\s+|the\s+|einem\s+|einer\s+)?(?P<sign>negative[rnms]?|positive[rnms]?)\s+(?P<name>{_N})",
    re.I,
)
_MUST_UNIQUE = re.compile(
    rf"(?P<names>{NAMES})\s+(?:columns?\s+|spalten?\s+)?(?:must|should|has\s+to|have\s+to|needs?\s+to|muss|müssen|soll(?:en)?|ist|is|are)\s+(?:be\s+|always\s+)?(?:unique|eindeutig)(?:\s+sein)?\b"
    rf"|\b(?:check|ensure|make\s+sure|verify|assert|prüfe?|stelle?\s+sicher)\b(?:\s+that|\s*,?\s*dass)?\s+(?:the\s+)?(?P<names2>{NAMES})\s+(?:is|are|ist|sind)\s+(?:unique|eindeutig)"
    rf"|\bunique(?:ness)?\s+(?:check\s+)?(?:on|of|for|in)\s+(?P<names3>{NAMES})",
    re.I,
)
_MUST_RANGE = re.compile(
    rf"(?P<name>{_N})\s+(?:values?\s+)?(?:must|should|has\s+to|have\s+to|needs?\s+to|muss|müssen|soll(?:en|te)?|is|lies?|liegt)\s*(?:always\s+|be\s+|lie\s+|stay\s+|immer\s+)*(?:between|within|in\s+the\s+range(?:\s+of)?|zwischen|from|von)\s+(?P<min>-?\d+(?:\.\d+)?)\s*(?:and|to|und|bis|-|–)\s*(?P<max>-?\d+(?:\.\d+)?)",
    re.I,
)
_MUST_MIN = re.compile(
    rf"(?P<name>{_N})\s+(?:values?\s+)?(?:must|should|has\s+to|have\s+to|needs?\s+to|muss|müssen|soll(?:en|te)?|darf|dürfen|may|can)\s*(?P<not>not|never|nicht|nie)?\s*(?:always\s+|be\s+|immer\s+)*(?:(?P<neg>negative|negativ)|(?P<pos>positive|positiv)|(?P<op>at\s+least|at\s+most|greater\s+than|more\s+than|above|less\s+than|below|over|under|>=|<=|>|<|mindestens|höchstens|größer\s+als|kleiner\s+als|über|unter)\s+(?P<value>-?\d+(?:\.\d+)?))",
    re.I,
)
_MUST_IN = re.compile(
    rf"(?P<name>{_N})\s+(?:must|should|may|can|has\s+to|muss|darf|soll)\s+(?:(?:only\s+|nur\s+)(?:be\s+|have\s+the\s+values?\s+|contain\s+)?|be\s+(?:only\s+)?(?:one\s+of\s+|either\s+|any\s+of\s+|in\s+)|(?:eines\s+von|eine\s+von|entweder)\s+)(?:one\s+of\s+|either\s+|any\s+of\s+)?:?\s*\(?{_LIST}\)?(?:\s+sein)?",
    re.I,
)
_JOIN = re.compile(
    r"\b(?:join\w*|enrich\w*|match\w*|combin\w+|look(?:ed)?\s+up|merge|verknüpf\w*|anreicher\w*|angereichert|verbinde\w*|kombinier\w*)\b",
    re.I,
)
_JOIN_ON = re.compile(
    rf"\b(?:on|by|using|via|over|über|anhand(?:\s+(?:von|der))?|per)\s+(?:the\s+|matching\s+|their\s+|common\s+|same\s+|die\s+|der\s+|das\s+|columns?\s+|spalte\s+|field\s+|key\s+)*(?P<names>{NAMES})",
    re.I,
)
_LEFT = re.compile(
    r"\bleft\b|\b(?:keep(?:ing)?|behalte\w*|also|even|auch)\b[^.;]{0,50}\b(?:without|no|ohne|unmatched|missing)\b|\beven\s+if\b|\bunmatched\b",
    re.I,
)
_DROP_DE = re.compile(
    rf"(?P<names>{NAMES})\s+(?:bitte\s+)?(?:weglassen|ausblenden|verwerfen|rauslassen)\b|\bspalten?\s+(?P<names2>{NAMES})\s+(?:entfernen|löschen|streichen)",
    re.I,
)
_LOWER_TRIM = re.compile(
    rf"\b(?:(?P<case>upper|lower)-?\s?case\s+and\s+trim|trim\s+and\s+(?P<case2>upper|lower)-?\s?case)\s+(?:the\s+|column\s+)*(?P<names>{NAMES})",
    re.I,
)
_CASE = re.compile(
    rf"\b(?:upper-?\s?case|lower-?\s?case|trim|capitali[sz]e)\s+(?:the\s+|column\s+|of\s+)*(?P<names>{NAMES})"
    rf"|\b(?:make|convert|turn|put|set)\s+(?:the\s+|column\s+)*(?P<names2>{NAMES})\s+(?:to\s+|in\s+|into\s+|all\s+)*(?P<case>upper|lower)\s?-?case",
    re.I,
)
_ADD = re.compile(
    rf"\b(?:add|make|create|build|compute|calculate|derive|berechne?n?|ergänze?n?)\s+(?:a\s+|the\s+|new\s+|another\s+|die\s+|eine\s+|neue\s+)*(?:column\s+|field\s+|spalte\s+)?(?:called\s+|named\s+|namens\s+)?(?P<name>{_N})\s*(?:,?\s*(?:which|that)\s+is|as|=|:|from|computed\s+as|is|being|als|aus)\s+(?:the\s+product\s+of\s+)?(?P<left>{_N})\s*(?P<op>times|multiplied\s+by|plus|minus|divided\s+by|\*|\+|-|/|mal|geteilt\s+durch)\s*(?P<right>{_N}|\d+(?:\.\d+)?)",
    re.I,
)
_TERM = r"(?:[A-Za-z_]\w*|\d+(?:\.\d+)?)"
_SUM = rf"(?P<value>\(*\s*{_TERM}(?:\s*[*+/-]\s*\(*\s*{_TERM}\s*\)*)+)(?!\w|\()"
_ASSIGN = re.compile(rf"(?P<name>\b[A-Za-z_]\w*)\s*(?::=|=)\s*{_SUM}", re.I)
_EQUALS = re.compile(
    rf"(?P<name>\b[A-Za-z_]\w*)\s+(?:must|should|has\s+to|muss|soll(?:te)?)\s+(?:always\s+|immer\s+)?(?:equal|be\s+equal\s+to|match|be|=|gleich|sein)\s+{_SUM}",
    re.I,
)
_SUM_WORDS = {
    "sum": "sum",
    "total": "sum",
    "summe": "sum",
    "gesamt": "sum",
    "average": "avg",
    "avg": "avg",
    "mean": "avg",
    "durchschnitt": "avg",
    "durchschnittliche": "avg",
    "durchschnittlicher": "avg",
    "durchschnittlichen": "avg",
    "maximum": "max",
    "max": "max",
    "highest": "max",
    "largest": "max",
    "minimum": "min",
    "min": "min",
    "lowest": "min",
    "smallest": "min",
    "maximale": "max",
    "minimale": "min",
}
_MEASURE = re.compile(
    rf"(?:(?P<label>{_N})\s*\(\s*)?\b(?:(?P<count>number\s+of|count\s+of|how\s+many|count(?:ing)?|anzahl(?:\s+(?:der|von))?|wie\s+viele)\s+(?:the\s+|der\s+|die\s+)?(?P<what>{_N})|(?P<fn>{'|'.join(_SUM_WORDS)})\s+(?:of\s+|von\s+|der\s+|des\s+|the\s+|über\s+)*(?P<col>{_N})(?!\w)(?!\s*(?:times\b|mal\b|multiplied|minus\b|plus\b|[*/+])))(?:\s+(?:as|als)\s+(?P<alias>{_N}))?",
    re.I,
)
_CALLS = re.compile(
    r"(?:(?P<label>[A-Za-z_]\w*)\s*(?:=|:)\s*|(?<=[,:]\s)(?P<label2>[A-Za-z_]\w*)\s+(?=(?:sum|avg|min|max|count)\())?\b(?P<fn>sum|avg|min|max|count|median)\(\s*(?P<of>\*|(?:distinct\s+)?[A-Za-z_]\w*)\s*\)(?:\s+(?:as|als)\s+(?P<alias>[A-Za-z_]\w*))?",
    re.I,
)
_GROUP = re.compile(
    rf"\b(?:grouped\s+by|group\s+by|per|for\s+each|for\s+every|by|je|pro|gruppiert\s+nach|nach)\s+(?:the\s+|each\s+|der\s+)?(?P<names>{NAMES})",
    re.I,
)
_NAMED_AFTER = re.compile(
    rf"\s*,?\s*(?:and\s+)?(?:as|als|call(?:ed)?\s+(?:it|them|that)|called|named|name\s+(?:it|them)|genannt|namens|nenne\s+(?:es|sie))\s+(?P<names>{NAMES})",
    re.I,
)
_NAMED_LATER = re.compile(
    rf"[;,(]\s*(?:(?:the\s+|new\s+)*(?:columns?|fields?)\s+(?:are\s+|is\s+|be\s+)?(?:called\s+|named\s+)?|spalten?\s+(?:heißen\s+|heißt\s+)?|call(?:ed)?\s+(?:it|them|that)\s+)(?P<names>{NAMES})",
    re.I,
)
REJECTED = re.compile(
    r"\bdead[\s-]?letters?\b|\b(?:set|put|sort)(?:s|ting)?\s+(?:\w+\s+){0,4}?(?:aside|apart)\b|\bquarantin\w+|\baussortier\w*|\bbeiseite\b",
    re.I,
)
_WARN = re.compile(r"\b(?:warn(?:ing)?|only\s+report|just\s+tell|nur\s+warnen|warnung|warnen)\b", re.I)


@dataclass(frozen=True)
class Step:
    """One transform or check as the request spells it out, and where."""

    config: Mapping[str, Any]
    start: int
    end: int


def find_steps(text: str, found: Sequence[Extracted] = ()) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Return (transforms, checks) that a request spells out, in the order in which it names them."""
    for one in found:  # what stands in a path or address is no column
        if one.kind in ("path", "url", "endpoint") or (one.kind == "table" and "." in str(one.value)):
            text = text[: one.start] + " " * (one.end - one.start) + text[one.end :]
    checks = _without_overlap(sorted(_checks(text, found), key=lambda one: one.start))
    if REJECTED.search(text) and not any(one.config.get("severity") == "reject" for one in checks):
        checks = tuple(
            replace(one, config={**one.config, "severity": "reject"})
            if one.config["type"] != "row_count" and "severity" not in one.config
            else one
            for one in checks
        )
    covered = [(one.start, one.end) for one in checks]
    reserved = {str(one.value).lower() for one in found if one.kind in ("connection", "table", "path")}
    steps = [
        one
        for one in _transforms(text, found, reserved)
        if not any(one.start < end and start < one.end for start, end in covered)
    ]
    flags = [(one.start, one.end) for one in found if one.role == "delete_flag"]
    covered += flags
    steps = [one for one in steps if not any(one.start < end and start < one.end for start, end in flags)]
    steps = _of_clauses(text, steps, covered)
    return _merged(sorted(steps, key=lambda one: one.start)), checks


def _merged(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Join neighbours that say the same thing of several columns."""
    found: list[Step] = []
    for step in steps:
        kind = step.config["type"]
        before = next((one for one in found if one.config["type"] == kind), None)
        if before and kind in ("rename", "cast", "mask", "fill_null", "derive") and step.config.get("on_error") is None:
            columns = {**before.config["columns"], **step.config["columns"]}
            found[found.index(before)] = Step({**before.config, "columns": columns}, before.start, step.end)
        elif before and kind == "drop":
            names = list(dict.fromkeys([*before.config["columns"], *step.config["columns"]]))
            found[found.index(before)] = Step({**before.config, "columns": names}, before.start, step.end)
        elif before and kind == "filter":
            where = f"{before.config['where']} and {step.config['where']}"
            if step.config["where"] not in before.config["where"]:
                found[found.index(before)] = Step({"type": "filter", "where": where}, before.start, step.end)
        elif before and kind in ("deduplicate", "sort", "limit", "select", "aggregate"):
            continue
        else:
            found.append(step)
    return tuple(found)


def _without_overlap(steps: Sequence[Step]) -> tuple[Step, ...]:
    found: list[Step] = []
    for step in steps:
        if not any(step.start < one.end and one.start < step.end for one in found):
            found.append(step)
    return tuple(found)


def _bare(name: str) -> str:
    return name.strip(_Q)


def _is_name(name: str) -> bool:
    return bool(name) and _bare(name).lower() not in STOPWORDS - COLUMNS


def _names(match: re.Match[str], *groups: str) -> list[str]:
    for group in groups:
        if match.groupdict().get(group):
            found = names_in(match[group])
            rest = match.start(group) + match[group].rfind(found[-1]) + len(found[-1]) if found else match.end(group)
            if len(found) > 1 and found[-1].lower() in COLUMNS and _GOES_ON.match(match.string, rest):
                found.pop()  # "hash the email and total the amount": a verb, no column
            elif len(found) > 1 and begins_clause(match.string, found[-1], rest):
                found.pop()
            return found
    return []


_GOES_ON = re.compile(r"\s+(?:the|of|up|per|it|them|die|der|das|den)\b", re.I)


def _transforms(text: str, found: Sequence[Extracted], reserved: set[str]) -> Iterator[Step]:
    for pattern in (_RENAME, _RENAME_DE):
        for match in pattern.finditer(text):
            pairs = {_bare(pair["old"]): _bare(pair["new"]) for pair in _PAIR.finditer(match["pairs"])}
            pairs = {old: new for old, new in pairs.items() if _is_name(old) and _is_name(new)}
            if pairs and not reserved & {name.lower() for name in pairs}:
                yield Step({"type": "rename", "columns": pairs}, *match.span())
    for match in _RENAME_INTO.finditer(text):
        if _is_name(match["old"]) and _is_name(match["new"]):
            yield Step({"type": "rename", "columns": {_bare(match["old"]): _bare(match["new"])}}, *match.span())
    for match in _CALL.finditer(text):
        if _is_name(match["old"]) and match["old"].lower() not in ("it", "this", "pipeline", "dag", "job", "table"):
            yield Step({"type": "rename", "columns": {_bare(match["old"]): _bare(match["new"])}}, *match.span())
    for match in _DROP.finditer(text):
        names = _names(match, "names", "names2")
        if (names and match["names"]) or (
            names and (len(names) > 1 or "_" in names[0] or re.search(r"(?:column|spalte|field)", match.group(), re.I))
        ):
            yield Step({"type": "drop", "columns": names}, *match.span())
    for match in _DROP_MARKED.finditer(text):
        names = _names(match, "names")
        if names and any("_" in name for name in names) and not reserved & {name.lower() for name in names}:
            yield Step({"type": "drop", "columns": names}, match.start(), match.end("names"))
    for match in _DROP_BEHIND.finditer(text):
        if names := names_in(match["names"]):
            yield Step({"type": "drop", "columns": names}, *match.span())
    for match in _DROP_DE.finditer(text):
        names = names_in(match["names"] or match["names2"], tail=True)
        if names and re.search(r"\bohne\s+$", text[: match.start()], re.I):
            yield Step({"type": "filter", "where": f"{names[0]} is not null"}, *match.span())
        elif names:
            yield Step({"type": "drop", "columns": names}, *match.span())
    yield from _derived(text)
    yield from _aggregates(text)
    for match in _ONLY_BEHIND.finditer(text):
        if names := _names(match, "names", "names2", "names3"):
            yield Step({"type": "select", "columns": names}, *match.span())
    for match in (*_PUT_NAMES.finditer(text), *_COLUMNS_END.finditer(text)):
        names = _names(match, "names")
        marked = any("_" in name for name in names) or match.re is _COLUMNS_END
        named = match.re is _COLUMNS_END and (_MEASURE.search(text) or _CALLS.search(text))  # what is computed, by name
        if len(names) > 1 and marked and not named and not reserved & {name.lower() for name in names}:
            yield Step({"type": "select", "columns": names}, *match.span())
    for match in _KEEP.finditer(text):
        names = _names(match, "names", "names2")
        if names:
            yield Step({"type": "select", "columns": names}, *match.span())
    for match in _KEEP_OF.finditer(text):
        names = names_in(match["names"])
        if len(names) > 1:
            yield Step({"type": "select", "columns": names}, *match.span())
    for match in _SHOULD_BE.finditer(text):
        names, type_ = names_in(match["names"], tail=True), _type(match["type"])
        end = match.end()
        while names and type_:
            yield Step({"type": "cast", "columns": dict.fromkeys(names, type_)}, match.start(), end)
            more = _TYPE_MORE.match(text, end)
            if more is None or (type_ := _type(more["type"])) is None:
                break
            names, end = [_bare(more["name"])], more.end()
    for match in _DEDUPLICATE.finditer(text):
        names = [name for name in _names(match, "names") if name.lower() not in reserved]
        if not names and not re.search(
            r"\b(?:rows?|records?|zeilen|duplicates?|duplikate|dubletten|dedup\w*|doppelte\w*|doubled?s?)\b",
            match.group(),
            re.I,
        ):
            continue
        config: dict[str, Any] = {"type": "deduplicate"}
        if names:
            config["keys"] = names
        latest = _LATEST.search(text, match.start())
        if (
            latest
            and _is_name(latest["name"])
            and latest.start() < match.end() + 60
            and _bare(latest["name"]) not in names
        ):
            config["order_by"] = f"{_bare(latest['name'])} desc"
            yield Step(config, match.start(), max(match.end(), latest.end()))
            continue
        yield Step(config, *match.span())
    for match in _CAST.finditer(text):
        names, type_ = _names(match, "names"), _type(match["type"])
        end = match.end()
        while names and type_:
            yield Step({"type": "cast", "columns": dict.fromkeys(names, type_)}, match.start(), end)
            more = _CAST_MORE.match(text, end)
            if more is None:
                break
            names, type_, end = _names(more, "names"), _type(more["type"]), more.end()
    for pattern in (_MASK, _MASK_DE):
        for match in pattern.finditer(text):
            names = names_in(match["names"], tail=True) if pattern is _MASK_DE else _names(match, "names")
            how = match["how"].lower()
            if names and not _is_key_phrase(text, match):
                method = (
                    "hash"
                    if how.startswith(("hash", "gehash", "pseud", "anony"))
                    else "redact"
                    if how.startswith(("redact", "blank", "schw", "unk", "unl"))
                    else "hash"
                )
                after = text[match.end() : match.end() + 40].lower()
                if "last" in after or "letzte" in after or "partial" in after or "teilweise" in after:
                    method = "partial"
                yield Step({"type": "mask", "columns": dict.fromkeys(names, method)}, *match.span())
    for match in _NULL_OUT.finditer(text):
        if names := _names(match, "names", "names2"):
            yield Step({"type": "mask", "columns": dict.fromkeys(names, "null")}, *match.span())
    for match in _FILL.finditer(text):
        if _is_name(match["name"]) and _FILL_GUARD.search(match.group()):
            yield Step(
                {"type": "fill_null", "columns": {_bare(match["name"]): _json_value(match["value"])}}, *match.span()
            )
    for match in (*_SORT_DE.finditer(text), *_SORT_WAY.finditer(text)):
        if names := names_in(match["names"]):
            down = (match["way"] or "").lower().startswith(("ab", "desc"))
            yield Step({"type": "sort", "by": [f"{name} desc" if down else name for name in names]}, *match.span())
    for match in _SORT.finditer(text):
        names = _names(match, "names")
        way = (match["way"] or "").lower()
        down = way.startswith(("desc", "abst", "newest", "highest", "largest", "latest"))
        if names and not re.search(r"dedup\w*[^.]{0,40}$", text[: match.start()], re.I):
            yield Step({"type": "sort", "by": [f"{name} desc" if down else name for name in names]}, *match.span())
    yield from _filters(text)
    for one in found:
        if one.kind == "number" and one.role == "limit" and one.sure:
            yield Step({"type": "limit", "count": one.value}, one.start, one.end)


def _of_clauses(text: str, steps: Sequence[Step], covered: Sequence[tuple[int, int]]) -> list[Step]:
    """Return the steps with those that follow from how a clause is built, which go before what they overlap."""
    strong = [*clauses.fills(text), *clauses.cases(text)]
    kept = [step for step in steps if not _overlaps(step, strong) or step.config["type"] == "derive"]
    taken = [one for one in kept if one.config["type"] in ("filter", "derive", "aggregate", "deduplicate")]
    more = [
        one
        for one in clauses.conditions(text)
        if not _overlaps(one, [*taken, *strong])
        and not any(one.start < end and start < one.end for start, end in covered)
    ]
    figure = next((one for one in kept if one.config["type"] == "aggregate"), None)
    for one in clauses.tops(text):
        if any(one.config["type"] == step.config["type"] for step in kept):
            continue
        if not one.open:
            more.append(one)
        elif figure and figure.config["columns"]:
            way = one.config["by"][0]
            column = list(figure.config["columns"])[-1]
            more.append(replace(one, config={"type": "sort", "by": [f"{column} desc" if way == "desc" else column]}))
    added = [Step(one.config, one.start, one.end) for one in (*strong, *more)]
    if any(one.config["type"] == "limit" for one in added) and not any(
        one.config["type"] == "sort" for one in (*kept, *added)
    ):
        added = [one for one in added if one.config["type"] != "limit"]  # the first of what, only the model can tell
    return [*kept, *added]


def _overlaps(one: Step | clauses.Clause, others: Sequence[Step | clauses.Clause]) -> bool:
    return any(one.start < other.end and other.start < one.end for other in others)


def _is_key_phrase(text: str, match: re.Match[str]) -> bool:
    return re.search(r"\b(?:key|schlüssel)\s*$", text[: match.start()], re.I) is not None


def _type(text: str) -> str | None:
    plain = re.sub(r"\s+", "", text.lower())
    head = plain.partition("(")[0]
    if "(" in plain:
        return plain if head in ("decimal", "numeric", "varchar") else None
    return _TYPES.get(head)


def _json_value(text: str) -> Any:
    if text[:1] in _Q:
        return _bare(text)
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return {"zero": 0, "null": 0, "true": True, "false": False}.get(text.lower(), text)


def _sentence_before(text: str, start: int) -> str:
    """Return what a sentence says before a place."""
    stop = max((match.end() for match in re.finditer(r"[;!?\n]|\.\s", text[:start])), default=0)
    return text[stop:start]


def _values(match: re.Match[str]) -> list[str]:
    """Return the values of a list, without the words between them."""
    values = [_bare(value) for value in re.findall(rf"[{_Q}]?\w+[{_Q}]?", match["values"])]
    return [value for value in values if value.lower() not in ("or", "and", "oder", "und", "be")]


def _filters(text: str) -> Iterator[Step]:
    for match in _IN_RANGE.finditer(text):
        before = _sentence_before(text, match.start())
        if _is_name(match["name"]) and _CHOICE.search(before[-25:]) and not _DEMAND.search(before[-60:]):
            where = f"{_bare(match['name'])} between {match['min']} and {match['max']}"
            yield Step({"type": "filter", "where": where}, *match.span())
    for match in _IN.finditer(text):
        values = _values(match)
        if _is_name(match["name"]) and len(values) > 1:
            yield Step(
                {"type": "filter", "where": f"{_bare(match['name'])} in ({', '.join(map(_literal, values))})"},
                *match.span(),
            )
    taken: list[tuple[int, int]] = []
    for match in _FILTER_NOT_NULL.finditer(text):
        if _is_name(match["name"]):
            taken.append(match.span())
            yield Step({"type": "filter", "where": f"{_bare(match['name'])} is not null"}, *match.span())
    for match in _IS_NOT_NULL.finditer(text):
        if _is_name(match["name"]):
            taken.append(match.span())
            yield Step({"type": "filter", "where": f"{_bare(match['name'])} is not null"}, *match.span())
    for match in _NOT_NULL_ROWS.finditer(text):
        name = match["name"] or match["name2"]
        dropping = match["name"] or re.search(
            r"(?:drop|remove|exclude|ignore|skip|discard|filter\s+out|entfern|ignorier|überspring)\w*\s+(?:all\s+|the\s+|any\s+|alle\s+|die\s+)*$",
            text[: match.start()],
            re.I,
        )
        if dropping and _is_name(name):
            taken.append(match.span())
            yield Step({"type": "filter", "where": f"{_bare(name)} is not null"}, *match.span())
    for pattern, negate in ((_DROP_ROWS, True), (_FILTER, False)):
        for match in pattern.finditer(text):
            if any(match.start() < end and start < match.end("name") + 3 for start, end in taken):
                continue
            one = _comparison(match, negate=negate)
            if one is None:
                continue
            where, end = one, match.start("rest") if not negate else match.end()
            if not negate:
                where, end = _one_of_several(text, where, end)
                while more := _FILTER_MORE.match(text[end:]):
                    further = _comparison(more, negate=False)
                    if further is None:
                        break
                    joint = "or" if more["and"].lower() in ("or", "oder") else "and"
                    further, end = _one_of_several(text, further, end + more.end())
                    where = f"{where} {joint} {further}"
            taken.append((match.start(), end))
            yield Step({"type": "filter", "where": where}, match.start(), end)


def _one_of_several(text: str, where: str, end: int) -> tuple[str, int]:
    """Return a comparison that goes on with further values, and where it ends: "country is DE or AT"."""
    others: list[str] = []
    while " = '" in where and (other := _OR_VALUE.match(text[end:])):
        others.append(_literal(_bare(other["value"])))
        end += other.end()
    if not others:
        return where, end
    left, _, first = where.partition(" = ")
    return f"{left} in ({', '.join([first, *others])})", end


def _comparison(match: re.Match[str], *, negate: bool) -> str | None:
    name = _bare(match["name"])
    number = next((n for n in range(len(_COMPARE)) if match[f"op{n}"]), None)
    if number is None or not _is_name(name):
        return None
    operator = _COMPARE[number][1]
    if negate:
        operator = {"=": "<>", "<>": "=", ">": "<=", "<": ">=", ">=": "<", "<=": ">"}[operator]
    if match["number"] is not None:
        return f"{name} {operator} {match['number'].replace(',', '.')}"
    if match["date"] is not None:
        return f"{name} {operator} '{match['date']}'"
    if operator not in ("=", "<>"):
        return None
    if match["quoted"] is not None:
        return f"{name} {operator} {_literal(match['quoted'])}"
    if match["bool"]:
        value = match["bool"].lower() in ("true", "wahr")
        return f"{name} {operator} {str(value).lower()}"
    word = match["word"]
    if word.lower() in ("null", "missing", "empty", "leer"):
        return f"{name} is {'not ' if operator == '<>' else ''}null"
    if word.lower() in STOPWORDS or word.lower() in _NO_VALUES:
        return None
    return f"{name} {operator} {_literal(word)}"


_NO_VALUES = frozenset(
    "at least most more less than greater set present unique never always in either between older newer positive negative above below".split()
)


def _literal(text: str) -> str:
    if re.fullmatch(r"-?\d+(?:\.\d+)?", text):
        return text
    return "'" + text.replace("'", "''") + "'"


def _severity(text: str, match: re.Match[str]) -> dict[str, Any]:
    sentence = text[max(0, match.start() - 40) : match.end() + 40]
    if REJECTED.search(text[max(0, match.start() - 60) : match.end() + 60]):
        return {"severity": "reject"}
    return {"severity": "warn"} if _WARN.search(sentence) else {}


def _checks(text: str, found: Sequence[Extracted]) -> Iterator[Step]:
    for match in _MUST_NOT_NULL.finditer(text):
        names = _names(match, "names", "names2", "names3", "names4")
        if names:
            yield Step({"type": "not_null", "columns": names, **_severity(text, match)}, match.start(), match.end())
            if match["unique"]:
                yield Step({"type": "unique", "columns": names, **_severity(text, match)}, match.end(), match.end())
    for match in _FILLED.finditer(text):
        if re.search(
            r"\b(?:filter\w*|only|where|keep|just|nur|wo)\s*(?:\w+\s+){0,2}$",
            text[max(0, match.start() - 25) : match.start()],
            re.I,
        ):
            continue
        if names := names_in(match["names"], tail=True):
            begin = match.start() + match["names"].rfind(names[0])
            yield Step({"type": "not_null", "columns": names, **_severity(text, match)}, begin, match.end())
    for match in _NEGATIVE_ROWS.finditer(text):
        if _is_name(match["name"]):
            severity = _severity(text, match)
            if severity.get("severity") == "reject":
                limits = {"min": 0} if match["sign"].lower().startswith("neg") else {"max": 0}
                yield Step({"type": "range", "column": _bare(match["name"]), **limits, **severity}, *match.span())
    for match in _BETWEEN.finditer(text):
        if _is_name(match["name"]):
            limits = {"min": _json_value(match["min"]), "max": _json_value(match["max"])}
            yield Step(
                {"type": "range", "column": _bare(match["name"]), **limits, **_severity(text, match)}, *match.span()
            )
    for match in _EQUALS.finditer(text):
        if _is_name(match["name"]) and _is_arithmetic(match["value"]):
            expression = f"{match['name']} = {' '.join(match['value'].split())}"
            yield Step({"type": "expression", "expression": expression, **_severity(text, match)}, *match.span())
    for match in _REJECT_EMPTY.finditer(text):
        if names := _names(match, "names"):
            yield Step({"type": "not_null", "columns": names, "severity": "reject"}, *match.span())
    for match in _UNIQUE_NAMES.finditer(text):
        if names := _names(match, "names"):
            yield Step({"type": "unique", "columns": names, **_severity(text, match)}, *match.span())
    for match in (*_IN_RANGE.finditer(text), *_ONE_OF.finditer(text)):
        before = _sentence_before(text, match.start())
        if not _is_name(match["name"]) or not _DEMAND.search(before) or _CHOICE.search(before[-25:]):
            continue
        column = {"column": _bare(match["name"])}
        if "values" in match.groupdict():
            yield Step(
                {"type": "accepted_values", **column, "values": _values(match), **_severity(text, match)}, *match.span()
            )
        else:
            limits = {"min": _json_value(match["min"]), "max": _json_value(match["max"])}
            yield Step({"type": "range", **column, **limits, **_severity(text, match)}, *match.span())
    for match in _MUST_UNIQUE.finditer(text):
        names = _names(match, "names", "names2", "names3")
        if names:
            yield Step({"type": "unique", "columns": names, **_severity(text, match)}, *match.span())
    for match in _MUST_RANGE.finditer(text):
        if _is_name(match["name"]):
            limits = {"min": _json_value(match["min"]), "max": _json_value(match["max"])}
            yield Step(
                {"type": "range", "column": _bare(match["name"]), **limits, **_severity(text, match)}, *match.span()
            )
    for match in _MUST_MIN.finditer(text):
        if not _is_name(match["name"]):
            continue
        config: dict[str, Any] = {"type": "range", "column": _bare(match["name"])}
        if match["neg"] and match["not"]:
            config["min"] = 0
        elif match["pos"] and not match["not"]:
            config |= {"min": 0, "exclusive": True}
        elif match["value"]:
            operator = match["op"].lower()
            low = operator.startswith(("at least", "gr", "more", "above", "over", ">", "mind", "über"))
            low = low != bool(match["not"])
            config["min" if low else "max"] = _json_value(match["value"])
            if not operator.startswith(("at ", ">=", "<=", "mind", "höch")) and not match["not"]:
                config["exclusive"] = True
        else:
            continue
        yield Step({**config, **_severity(text, match)}, *match.span())
    for match in _MUST_IN.finditer(text):
        values = [_bare(value) for value in re.findall(rf"[{_Q}]?\w+[{_Q}]?", match["values"])]
        values = [value for value in values if value.lower() not in ("or", "and", "oder", "und", "be")]
        if _is_name(match["name"]) and len(values) > 1 and not set(map(str.lower, values)) & STOPWORDS:
            yield Step(
                {"type": "accepted_values", "column": _bare(match["name"]), "values": values, **_severity(text, match)},
                *match.span(),
            )
    for one in found:
        if one.kind == "number" and one.role == "min_rows":
            warns = {"severity": "warn"} if _WARN.search(text[max(0, one.start - 12) : one.end + 12]) else {}
            yield Step({"type": "row_count", "min": one.value, **warns}, one.start, one.end)


@dataclass(frozen=True)
class Join:
    """A join whose columns a request spells out. `how` is "" for the default, `columns` what to take of the other."""

    start: int
    end: int
    how: str
    on: list[str] | dict[str, str]
    columns: list[str]


def find_joins(text: str) -> list[Join]:
    """Return the joins whose columns a request spells out, in its order."""
    joins: list[Join] = []
    lead = _JOIN.search(text)
    if lead is None and (lead := _ANTI.search(text)) is None:
        return joins
    stop = re.search(r"[;!\n]|\.\s", text[lead.end() :])
    end = lead.end() + stop.start() if stop else len(text)
    pairs = [*_JOIN_PAIR.finditer(text, lead.start())]
    if pairs and all(_is_name(pairs[0][key]) for key in ("one", "other")):
        on: list[str] | dict[str, str] = {_bare(pairs[0]["one"]): _bare(pairs[0]["other"])}
        return [Join(lead.start(), pairs[0].end(), _how(text, lead.start(), end), on, _taken(text, lead.end()))]
    found = [
        (match, names)
        for match in _JOIN_ON.finditer(text, lead.end(), end)
        if (names := [name for name in _names(match, "names") if name.lower() not in _NO_COLUMNS])
    ]
    if not found and (behind := _JOIN_BEHIND.search(text)) and (names := names_in(behind["names"])):
        found, lead = [(behind, names)], behind
        end = behind.end() + (re.search(r"[;!?\n]|\.\s|$", text[behind.end() :]) or behind).start()
    for number, (match, names) in enumerate(found):
        begin = lead.start() if number == 0 else found[number - 1][0].end()
        until = found[number + 1][0].start() if number + 1 < len(found) else end
        how = _how(text, begin if number == 0 else match.start(), until)
        joins.append(Join(begin, match.end(), how, names, _taken(text, match.end(), until)))
        if number + 1 < len(found) and not re.search(
            r"\b(?:with|mit|to|join)\b", text[match.end() : found[number + 1][0].start()], re.I
        ):
            break
    return joins


def _how(text: str, start: int, end: int) -> str:
    part = text[max(0, start - 10) : end]
    if _ANTI.search(text):
        return "anti"
    return "left" if _LEFT.search(part) else ""


def _taken(text: str, start: int, end: int | None = None) -> list[str]:
    """Return the columns that are to be taken of the other source: "take name and grade"."""
    match = _TAKE.search(text, start, len(text) if end is None else end)
    names = names_in(match["names"]) if match else []
    return names if all("_" in name for name in names) or len(names) > 1 else []


_TAKE = re.compile(
    rf"\b(?:take|taking|add(?:ing)?|bring(?:ing)?\s+over|übernimm|hole)\s+(?:only\s+|just\s+|the\s+)*(?P<names>{NAMES})(?=\s*(?:[.,;)]|$|from\b|of\b|over\b|aus\b|and\s+(?:write|load|put|keep|replace|store)))",
    re.I,
)
_ANTI = re.compile(
    r"\b(?:which|what|find|list|welche\w*|those|the\s+ones|only)\b(?:[^.?;]|\.(?=\w)){0,80}\b(?:(?:do|does|did|are|were|is)(?:\s+not|n't)\s+(?:appear|occur|exist|show\s+up|in|found|have|listed)|have\s+no|has\s+no|had\s+no|no\s+\w+\s+in|never|are\s+not\s+in|aren't\s+in|not\s+(?:in|found|present)|missing\s+(?:in|from)|without\s+a\s+(?:match|partner)|kein\w*|nie|nicht\s+(?:in|vorkommen))\b",
    re.I,
)
_JOIN_PAIR = re.compile(
    rf"(?:\b(?:match\w*|compar\w+|join\w*|on|where|über|wobei)\s+|(?<=\())(?:the\s+)?(?:[\w]+\.)?(?P<one>{_N})\s+(?:(?:of|from|in|von|aus)\s+(?:the\s+)?\w+\s+)?(?:with|to|against|equals?|=|mit|gegen)\s+(?:the\s+)?(?:[\w]+\.)?(?P<other>[A-Za-z]\w*_\w+|[A-Za-z]\w*(?=\s+(?:of|from|in|von|aus)\b))(?!\s*[./]\w)",
    re.I,
)
_JOIN_BEHIND = re.compile(
    rf"\b(?:über|anhand(?:\s+(?:von|der))?|nach|by|on|via)\s+(?:the\s+|die\s+|der\s+|spalte\s+)*(?P<names>{NAMES})\s+(?:verbinden|verbunden|verknüpfen|verknüpft|zusammenführen|kombinieren|joinen|gejoint|joined|matched|combined|abgleichen)\b",
    re.I,
)


_NO_COLUMNS = frozenset("duckdb postgres parquet csv json hand api connection monday".split())


def _aggregates(text: str) -> Iterator[Step]:
    """Yield the aggregate that a sentence spells out: measures, and what they are grouped by."""
    for sentence in re.finditer(r"[^;!?\n]+?(?=[;!?\n]|\.\s|\.$|$)", text):
        part, base = sentence.group(), sentence.start()
        calls = [*_CALLS.finditer(part)]
        measures = [
            match
            for match in _MEASURE.finditer(part)
            if _is_measure(match)
            and not re.search(r"\d\s*$", part[: match.start()])
            and not any(match.start() < call.end() and call.start() < match.end() for call in calls)
        ]
        if not measures and not calls:
            continue
        groups = [
            match
            for match in _GROUP.finditer(part)
            if names_in(match["names"])
            and not re.match(r"\s+of\s+[A-Za-z_]|\(", part[match.end() :])
            and not re.search(
                r"(?:sort\w*|order(?:ed)?|upsert|merge|dedup\w*|join\w*|key\w*|limit\w*|partition\w*|increment\w*|divided|multiplied)\s+(?:\w+\s+){0,3}$",
                part[: match.start()],
                re.I,
            )
        ]
        if not groups:
            continue
        group = groups[0]
        starts = [
            one.start("count") if one.groupdict().get("count") else one.start("fn") for one in (*measures, *calls)
        ]
        until = min((at for at in starts if group.start() < at < group.end()), default=None)
        keys = names_in(
            re.sub(r"(?:\s+(?:and|und)|,)\s*$", "", part[group.start("names") : until].rstrip())
            if until
            else group["names"]
        )
        columns: dict[str, str] = {}
        for match in measures:
            label = _bare(match["alias"] or match["label"] or "")
            if match["count"]:
                what = _bare(match["what"])
                columns[
                    label
                    if label and _is_name(label)
                    else what
                    if _is_name(what) and what not in keys and what.lower() not in _NOT_COUNTED
                    else "anzahl"
                    if match["count"].lower().startswith(("anz", "wie"))
                    else "count"
                ] = "count(*)"
            else:
                function, column = _SUM_WORDS[match["fn"].lower()], _bare(match["col"])
                if not _is_name(column) or column in keys:
                    continue
                columns[
                    label if label and _is_name(label) else f"{'total' if function == 'sum' else function}_{column}"
                ] = f"{function}({column})"
        for call in calls:
            name = (
                call["alias"]
                or call["label"]
                or call["label2"]
                or f"{call['fn'].lower()}_{re.sub(r'[^A-Za-z_]', '', call['of']) or 'all'}"
            )
            if _is_name(name):
                columns[_bare(name)] = f"{call['fn'].lower()}({call['of']})"
        if columns:
            spans = [(one.start(), one.end()) for one in (*measures, *calls, group)]
            behind = base + max(end for _, end in spans)
            if (named := _NAMED_AFTER.match(text, behind)) or (named := _NAMED_LATER.search(text, behind)):
                labels = _names(named, "names")
                if len(labels) == len(columns):
                    columns = dict(zip(labels, columns.values(), strict=True))
                    spans.append((named.start() - base, named.end() - base))
            yield Step(
                {"type": "aggregate", "group_by": keys, "columns": columns},
                base + min(s for s, _ in spans),
                base + max(e for _, e in spans),
            )
            return


_NOT_COUNTED = frozenset("je pro per by for in nach und and from aus of".split())


def _is_measure(match: re.Match[str]) -> bool:
    if match["count"]:
        return True
    return _is_name(match["col"]) and match["col"].lower() not in ("number", "anzahl", "count", "first", "last", "of")


def _is_arithmetic(text: str) -> bool:
    """Return whether a text is a whole sum or product of columns and numbers."""
    if text.count("(") != text.count(")"):
        return False
    return all(_is_name(one) for one in re.findall(r"[A-Za-z_]\w*", text)) and re.search(r"[A-Za-z]", text) is not None


def _derived(text: str) -> Iterator[Step]:
    for match in _LOWER_TRIM.finditer(text):
        function = (match["case"] or match["case2"]).lower()
        if names := _names(match, "names"):
            yield Step(
                {"type": "derive", "columns": {name: f"{function}(trim({name}))" for name in names}}, *match.span()
            )
            return
    for match in _ASSIGN.finditer(text):
        if _is_name(match["name"]) and _is_arithmetic(match["value"]):
            where = _sentence_before(text, match.start())[-25:]
            if not re.search(r"\b(?:where|only|just|nur|wo|if|wenn|when)\s*(?:\w+\s+){0,2}$", where, re.I):
                yield Step(
                    {"type": "derive", "columns": {_bare(match["name"]): " ".join(match["value"].split())}},
                    *match.span(),
                )
    for match in _CASE.finditer(text):
        names = _names(match, "names", "names2")
        word = (match["case"] or match.group().split()[0]).lower()
        function = (
            "trim"
            if word.startswith("trim")
            else "lower"
            if word.startswith("lower")
            else "upper"
            if word.startswith("upper")
            else ""
        )
        if names and function:
            yield Step({"type": "derive", "columns": {name: f"{function}({name})" for name in names}}, *match.span())
    for match in _ADD.finditer(text):
        operator = {"t": "*", "m": "*", "p": "+", "d": "/", "g": "/"}.get(match["op"][0].lower(), match["op"])
        operator = "-" if match["op"].lower() == "minus" else operator
        names = [_bare(match[key]) for key in ("name", "left", "right")]
        if all(_is_name(name) for name in names):
            yield Step({"type": "derive", "columns": {names[0]: f"{names[1]} {operator} {names[2]}"}}, *match.span())
