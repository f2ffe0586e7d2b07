"""What a request says beyond doubt, found without a model: each value with its place in the text. English and German.

Nothing here guesses: what is ambiguous is left out, or marked as not `sure`, and then binds nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dataforge.authoring import schedules
from dataforge.authoring.base import Extracted, ExtractedKind
from dataforge.authoring.words import AND, GLUE, NAMES, STOPWORDS, begins_clause, names_in
from dataforge.components.fields import NAME, check_table

_QUOTE = "`\"'„“”‚‘’«»"
_EXTENSIONS = "csv|tsv|txt|json|jsonl|ndjson|parquet|pq|duckdb|db|sqlite"
_ZIPPED = r"(?:\.(?:gz|bz2|xz|zst|zip))?"
_URL = re.compile(r"\bhttps?://[^\s,;<>\"'`]+", re.I)
_S3 = re.compile(r"\b(?:s3|gs|gcs|abfss?|file|upload)://[^\s,;<>\"'`]*[^\s,;<>\"'`.)]", re.I)
_PATH = re.compile(
    rf"(?<![\w:/@.])((?:[\w*?\[\]${{}}:%-][\w*?\[\]${{}}:%.-]*/)*[\w*?\[\]${{}}:%-][\w*?\[\]${{}}:%.-]*\.(?:{_EXTENSIONS}){_ZIPPED})(?![\w/])",
    re.I,
)
_FOLDER = re.compile(r"(?<![\w:/@.])((?:[A-Za-z_*][\w*.${}:%-]*/)+)(?![\w/])")
_ENDPOINT = re.compile(r"(?<![\w:/.<])(/[A-Za-z][\w{}-]*(?:/[\w{}.-]+)*/?)(?![\w>])")
_LONG_TABLE = re.compile(r"(?<![\w./@:-])([A-Za-z_]\w*)\.([A-Za-z_]\w*\.[A-Za-z_]\w*)(?![\w/@]|\.\w|\()")
_TABLE = re.compile(r"(?<![\w./@:-])([A-Za-z_]\w*\.[A-Za-z_]\w*)(?![\w/@]|\.\w|\()")
_NAMED_TABLE = re.compile(
    rf"\b(?:tables?|tabellen?|views?)\s+(?:called\s+|named\s+|namens\s+)?[{_QUOTE}]?(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?)[{_QUOTE}]?",
    re.I,
)
_TABLE_NAMED = re.compile(rf"[{_QUOTE}]?\b(?P<name>[A-Za-z_]\w*)[{_QUOTE}]?(?:\s+|-)(?:tables?|tabelle)\b", re.I)
_CONNECTION = re.compile(
    rf"\b(?:connections?|conn(?:ection)?[_ ]?id|verbindung(?:en)?)\s+(?:called\s+|named\s+|namens\s+|id\s+|is\s+)?[{_QUOTE}]?(?P<name>[A-Za-z][\w.-]*\w)[{_QUOTE}]?",
    re.I,
)
_NAMED_CONNECTION = re.compile(
    rf"[{_QUOTE}]?\b(?P<name>[A-Za-z][\w-]*\w)[{_QUOTE}]?(?:\s+|-)(?:connection|verbindung)\b", re.I
)
_DAG_ID = re.compile(
    rf"\b(?:dag|dag[_ -]?id|pipeline|job|workflow|flow)\s*(?:id|name)?\s*(?:is|should\s+be|soll|heißt|heisst|:|=)?\s*(?:called|named|namens|mit\s+(?:dem\s+)?namen|genannt|heißen)\s+(?:it\s+)?[{_QUOTE}]?(?P<a>[A-Za-z][\w.-]*\w)[{_QUOTE}]?"
    rf"|\b(?:call|name|nenn[et]*)\s+(?:it|this|the\s+(?:dag|pipeline|job)|sie|es|ihn|das|die\s+pipeline|den\s+dag)\s+[{_QUOTE}]?(?P<b>[A-Za-z][\w.-]*\w)[{_QUOTE}]?"
    rf"|\bdag_id\s*(?:is|=|:)?\s*[{_QUOTE}]?(?P<c>[A-Za-z][\w.-]*\w)[{_QUOTE}]?"
    rf"|\b(?:pipeline|dag)\s+[{_QUOTE}](?P<d>[A-Za-z][\w.-]*\w)[{_QUOTE}]"
    rf"|\b(?:pipeline|dag)\s+(?P<e>[A-Za-z]\w*_\w+)\b"
    rf"|\b(?:soll|sollte)\s+[{_QUOTE}]?(?P<f>[A-Za-z][\w.-]*\w)[{_QUOTE}]?\s+hei(?:ß|ss)en\b",
    re.I,
)
_TAG = rf"[{_QUOTE}]?[A-Za-z_][\w-]*[{_QUOTE}]?"
_TAGS = re.compile(
    rf"\b(?:tag(?:s|ged|ge)?|labels?|labell?ed|schlagw(?:ort|örter|orten|orte)|getaggt)\b\s*(?:it\s+|them\s+|the\s+(?:pipeline|dag|job)\s+)?(?:with|as|mit|als|by|:|=|are|is|should\s+be)?\s*(?:the\s+)?(?:tags?\s+)?(?P<names>{_TAG}(?:{AND}{_TAG})*)",
    re.I,
)
_OWNER = re.compile(
    rf"\b(?:owned\s+by|for\s+(?:the\s+)?team|owner\s*(?:is|:|=|should\s+be)?|(?:eigentümer(?:in)?|besitzer(?:in)?|verantwortlich(?:er)?)\s*(?:ist|sind|:|=)?)\s*(?:the\s+|team\s+|das\s+team\s+)*[{_QUOTE}]?(?P<a>[A-Za-z][\w.-]*(?:@[\w.-]+\w)?)[{_QUOTE}]?",
    re.I,
)
_DISPOSITIONS: tuple[tuple[str, str, str], ...] = (
    (
        r"remember(?:s|ing)?\s+(?:every|all|each)\s+(?:the\s+)?(?:change|version|state)\w*|every\s+change\s+(?:is\s+)?(?:kept|remembered|recorded)|scd[\s-]*(?:type[\s-]*)?(?:2|ii|two)|slowly[\s-]+changing|type[\s-]*2\s+(?:history|dimension)|(?:keep(?:s|ing)?|track(?:s|ing)?|preserv(?:e|ing)|retain(?:s|ing)?)\s+(?:the\s+|a\s+|full\s+|all\s+|every\s+|its\s+|their\s+|whole\s+)*(?:change\s+)?(?:history|versions?|old\s+versions?|changes\s+over\s+time)|histori(?:si|z)(?:e|ier|ing)\w*|with\s+(?:full\s+)?history\b|mit\s+(?:voller\s+)?historie|(?:historie|alte\s+(?:stände|versionen)|alle\s+versionen)\s+(?:behalten|aufbewahren|erhalten|führen|mitführen)|versionier\w+",
        "merge",
        "scd2",
    ),
    (
        r"delete[\s_-]+(?:and[\s_-]+)?(?:re)?-?insert|(?:delet|remov)\w*\s+(?:the\s+|all\s+|its\s+|their\s+)*(?:old|existing|previous|earlier)\s+\w+(?:\s+first)?\s*,?\s*(?:and\s+|then\s+)+(?:re-?)?insert\w*|(?:alte[nr]?|bestehende[nr]?|vorhandene[nr]?)\s+\w+\s+(?:zuerst\s+)?löschen\s+und\s+(?:die\s+)?(?:neue[nr]?\s+)?(?:\w+\s+)?einfügen",
        "merge",
        "delete_insert",
    ),
    (
        r"upsert(?:s|ed|ing)?|(?:keep|stay|hold|keeps)\b(?:[^.;]|\.(?=\w)){0,60}?\bin\s+sync|merg(?:e|es|ed|ing)|insert\s+or\s+update|update\s+or\s+insert|updat(?:e|ing)\s+(?:the\s+)?(?:existing|known|changed)|(?:existing|known)\s+(?:rows|records|ones|orders|customers|entries)\s+(?:are\s+|get\s+|should\s+be\s+|must\s+be\s+)?(?:updated|overwritten|brought)|bring(?:s|ing)?\s+\w+(?:\s+\w+)?\s+up\s+to\s+date|zusammenführen|einmischen|(?:bestehende|vorhandene|bekannte|geänderte)\s+(?:zeilen|sätze|datensätze|einträge|\w+)\s+(?:werden\s+|sollen\s+)?(?:aktualisier\w*|überschr\w+)|aktualisier(?:en|t)\s+(?:oder|und|bzw\.?|beziehungsweise)\s+(?:neue?\s+)?(?:einfüg|ergänz|neu|anleg|hinzufüg|anhäng)\w*|(?:anhand|über)\s+(?:von\s+|der\s+|des\s+|die\s+)?\w+\s+(?:aktualisier\w+|abgleichen)|abgleichen",
        "merge",
        "",
    ),
    (
        r"append(?:s|ed|ing)?|(?:just|only|simply|always)\s+add(?:s|ed|ing)?|(?:stick|put|tack|stuck|added?)\s+[^.;]{0,40}?\b(?:to|at|on|onto)\s+the\s+end|never\s+(?:delete|remove|lose|overwrite)\s+(?:any\s+|the\s+)?(?:old|existing|earlier)|hinten\s+(?:dran|anhängen)|add(?:s|ed|ing)?\s+(?:the\s+)?(?:new\s+|fresh\s+|all\s+)?(?:rows|records|data|them|it|lines)\s+to|add(?:ed)?\s+to\s+the\s+end|add(?:s|ed|ing)?\s+(?:\w+\s+)?to\s+(?:what(?:'s|\s+is)|the\s+ones|those)\s+(?:already\s+)?(?:there|in\s+it|loaded|stored)|(?:keep|leav)\w*\s+what(?:'s|\s+is)\s+(?:already\s+)?there|pile\s+up|anhäng\w*|anfüg\w*|angehängt|hinzufüg\w*|hinzugefügt|dran(?:hängen|gehängt)|hänge?n?\b(?:[^.;]|\.(?=\w)){0,90}?\ban(?=\s*(?:[,.;]|$))|hänge?\s+\w+(?:\s+\w+)?\s+an\b|fortschreib\w*",
        "append",
        "",
    ),
    (
        r"replac(?:e|es|ed|ing)(?!\s+(?:null|missing|empty|nulls|nan))|overwrit(?:e|es|ing|ten)|full\s+(?:refresh|reload|load)|truncat(?:e|es|ed|ing)(?:\s+and\s+(?:re)?load)?|from\s+scratch|wip(?:e|es|ing)\s+(?:and|the|it)|swap\s+out\s+the|rebuild(?:s|ing)?\s+(?:the|it)|(?:re)?creat(?:e|ing)\s+(?:the\s+)?table\s+(?:anew|again|afresh)|fresh(?:ly)?\s+(?:copy|load|each|every|jede\w*)|afresh|anew|start\s+(?:over|fresh)|snapshot|ersetz(?:en|t|e)|überschr(?:eib\w+|ieben)|komplett\s+neu|vollständig\s+neu|jedes\s+mal\s+neu|neu\s+(?:aufbauen|aufgebaut|befüll\w+)|vollabzug|austausch\w*",
        "replace",
        "",
    ),
)
_KEYS = re.compile(
    rf"\b(?:primary\s+keys?|business\s+keys?|natural\s+keys?|merge\s+keys?|unique\s+keys?|keyed|keys?|match(?:ed|ing)?|identified|identify|told\s+apart|tell\s+(?:them|rows|\w+)\s+apart|same|unterschieden|primärschlüssel|schlüssel(?:n)?|identifiziert)\b\s*(?:columns?\s+|field\s+|spalten?\s+)?(?:is|are|being|=|:|on|by|ist|sind|über|anhand(?:\s+von)?|durch|nach|the|rows|them|as|auf)*\s*(?:the\s+|der\s+|die\s+|column\s+|columns\s+|spalten?\s+)*(?P<names>{NAMES})",
    re.I,
)
_MERGE_BY = re.compile(
    rf"\b(?:upsert(?:s|ed|ing)?|merg(?:e|es|ed|ing)|sync\w*|insert\s+or\s+update|scd[\s-]*(?:type\s*)?2|type[\s-]*(?:2|ii)|changing\s+dimensions?|history|zusammenführen|abgleichen|aktualisier\w+|einmischen)\b(?:[^.;]|\.(?=\w)){{0,60}}?\b(?:by|on|using|via|per|based\s+on|über|anhand(?:\s+(?:von|der|des))?|nach|per)\s+(?:the\s+|its\s+|their\s+|der\s+|die\s+|primary\s+key\s+|key\s+|column\s+|spalte\s+|schlüssel\s+)*(?P<names>{NAMES})",
    re.I,
)
_BY_MERGE = re.compile(
    rf"\b(?:by|on|over|über|anhand(?:\s+(?:von|der|des))?|nach|per)\s+(?:the\s+|der\s+|die\s+|spalte\s+|column\s+|schlüssel\s+|key\s+)*(?P<names>{NAMES})\s+(?:upsert\w*|merge[nd]?\b|aktualisier\w+|zusammenführ\w+|abgleich\w+|abgegl\w+|einmisch\w+)",
    re.I,
)
_IDENTIFIES = re.compile(
    rf"\b(?P<names>{NAMES})\s+(?:is|are|ist|sind)?\s*(?:what\s+|the\s+column\s+that\s+|the\s+one\s+that\s+)?(?:identif(?:y|ies)|tells?\s+(?:\w+\s+){{1,3}}apart|(?:is|are)\s+the\s+(?:primary\s+|business\s+|unique\s+)?key|(?:ist|sind)\s+der\s+schlüssel|identifiziert)\b",
    re.I,
)
_INCREMENTAL = re.compile(
    r"\b(?:incremental(?:ly)?|inkrementell(?:e[rsnm]?)?|cursor(?:[_ ]field)?|watermark|high[- ]water[- ]mark|(?:only\s+)?(?:the\s+|all\s+)?(?:new|changed|newer|newly\s+\w+|updated|modified|recent)(?:\s*(?:,|and|or|/)\s*\w+)?\s+(?:\w+)|changed\s+since|nur\s+(?:die\s+)?(?:neue[nrs]?|geänderte[nrs]?|neuere[nr]?)(?:\s+(?:und|oder)\s+\w+)?(?:\s+\w+)?|(?:neue|geänderte)(?:\s+(?:und|oder)\s+(?:neue|geänderte))?\s+\w+|deltas?|since\s+(?:the\s+)?last\s+(?:run|load|time)|seit\s+dem\s+letzten\s+(?:lauf|mal|laden)|fortlaufend)\b",
    re.I,
)
_CURSOR = re.compile(
    rf"\b(?:by|on|using|via|field|column|based\s+on|according\s+to|per|watch(?:ing)?|increasing|growing|cursor(?:[_ ]field)?|watermark|look(?:ing)?\s+at|über|anhand(?:\s+(?:von|der|des))?|nach|per|spalte|feld|anhand|ist|:|=)\s*(?:is\s+|the\s+|its\s+|an?\s+|der\s+|die\s+|das\s+|column\s+|field\s+|spalte\s+|feld\s+|cursor\s+|as\s+|increasing\s+)*(?P<name>[{_QUOTE}]?[A-Za-z_]\w*[{_QUOTE}]?)",
    re.I,
)
_CURSOR_AFTER = re.compile(
    rf"[{_QUOTE}]?\b(?P<name>[A-Za-z]\w*)[{_QUOTE}]?\s+(?:as\s+(?:the\s+|a\s+|its\s+)?(?:cursor|watermark|high[- ]water[- ]mark)|is\s+(?:the|our)\s+(?:cursor|watermark)|als\s+(?:cursor|wasserzeichen))\b",
    re.I,
)
_NEWER_THAN = re.compile(
    rf"\b(?:newer|later|greater|higher|younger|neuer|später|größer|jünger)\s+(?:than|als)\s+(?:the\s+|der\s+|die\s+|das\s+)?(?:last|latest|highest|greatest|previous|newest|maximum|max|letzte[rnsm]?|höchste[rnsm]?|größte[rnsm]?)\s+(?:seen\s+|known\s+|loaded\s+|stored\s+|geladene[rnsm]?\s+|bekannte[rnsm]?\s+)?(?P<name>[{_QUOTE}]?[A-Za-z_]\w*[{_QUOTE}]?)",
    re.I,
)
_FOR_EACH = re.compile(
    rf"\b(?:for\s+(?:each|every)|per|of\s+each|je|pro|für\s+jede[nrs]?)\s+(?P<name>[{_QUOTE}]?[A-Za-z]\w*_\w+[{_QUOTE}]?)(?=[^.;]{{0,80}}\b(?:delet|remov|lösch))",
    re.I,
)
_CURSOR_BRACKETED = re.compile(
    rf"\b(?:new|changed|newer|updated|modified|neue[nrs]?|geänderte[nrs]?|aktualisierte[nrs]?)\s+(?:\w+\s+){{1,6}}\((?:by\s+|via\s+|über\s+|column\s+|field\s+|see\s+|nach\s+|spalte\s+|siehe\s+)?(?P<name>[{_QUOTE}]?[A-Za-z]\w*_\w+[{_QUOTE}]?)\)",
    re.I,
)
_SINCE_LAST = re.compile(r"\b(?:last|previous|letzte[nm]?|vorige[nm]?)\s+(?:run|load|time|go|lauf|mal|laden)\b", re.I)
_LOOKBACK = re.compile(
    r"\b(?:look(?:ing|s)?[\s-]?back|overlap(?:ping)?|überlappung|rückblick|reread(?:ing)?|re-read(?:ing)?|late\s+(?:arriving\s+)?(?:records|rows|data))\b[^.;]{0,30}?\b(?P<n>\d+)\s*(?P<unit>minutes?|min|hours?|h|days?|d|minuten?|stunden?|tage?n?|weeks?|wochen?)\b"
    r"|\b(?P<n2>\d+)[\s-]*(?P<unit2>minutes?|min|hours?|h|days?|d|minuten?|stunden?|tage?n?|weeks?|wochen?)[\s-]+(?:of\s+)?(?:look[\s-]?back|overlap|überlappung|rückblick)\b",
    re.I,
)
_LIMIT = re.compile(
    r"\b(?:limit(?:ed)?(?:\s+(?:it|the\s+result|of|to|auf))*|at\s+most|no\s+more\s+than|(?:only\s+)?(?:keep\s+)?(?:the\s+)?(?:first|top)|maximal|höchstens|nur\s+die\s+ersten|die\s+ersten|die\s+obersten)\s+(?P<n>\d[\d,._]*)\b(?!\s*(?:%|percent|minutes?|hours?|days?|times|retries|pages?|mal\b|uhr|requests|of\s+(?:each|every|the)\s+month|tage|stunden|minuten))(?:\s*(?P<what>rows?|records?|lines?|zeilen|sätze|datensätze|einträge|results?))?",
    re.I,
)
_AT_LEAST = re.compile(
    r"\b(?:at\s+least|no\s+fewer\s+than|a\s+minimum\s+of|minimum|mindestens|wenigstens|more\s+than|fewer\s+than|less\s+than|weniger\s+als)\s+(?P<n>\d[\d,._]*|one|a|eine?)\s+(?:rows?|records?|lines?|zeilen?|sätze|satz|datensätze|datensatz|einträge)\b",
    re.I,
)
_NOT_EMPTY = re.compile(
    r"\b(?:fail(?:s)?|stop|abort|error|complain|alarm|abbrechen|fehl\w*|scheitern|warn)\b[^.;]{0,30}\b(?:if|when|wenn|falls)\s+(?:there\s+(?:is|are)\s+|it\s+is\s+|(?:the\s+)?(?:file|table|source|result|answer)\s+is\s+|es\s+)?(?:empty|no\s+(?:rows|records|data)|nothing|keine\s+(?:zeilen|daten|sätze))\b|\b(?:result|table|load|ergebnis|tabelle)\s+(?:must|should|may|darf|soll)\s+(?:not|never|nicht|nie)\s+(?:be\s+)?(?:empty|leer)\b|\bat\s+least\s+one\s+row\b",
    re.I,
)
_RETRIES = re.compile(
    r"\b(?:retr(?:y|ies|ied)\s+(?:it\s+|each\s+\w+\s+)?(?:up\s+to\s+|at\s+most\s+|bis\s+zu\s+)?(?P<a>\d{1,2}|once|twice)(?:\s*(?:times|x))?|(?P<b>\d{1,2})\s+(?:retries|re-?tries|wiederholung(?:en)?|wiederholungsversuche|neuversuche|further\s+tries)|(?:bis\s+zu\s+)?(?P<c>\d{1,2})\s*(?:mal|x)\s+(?:wiederhol\w+|erneut\s+versuch\w+))\b",
    re.I,
)
_RETRY_DELAY = re.compile(
    r"\b(?:wait(?:ing)?|delay(?:\s+of)?|pause|with|after|im\s+abstand\s+von|warte(?:n|zeit)?)\s+(?:of\s+)?(?P<n>\d+)\s*(?P<unit>s|sec(?:ond)?s?|m|min(?:ute)?s?|minuten?|sekunden?|h|hours?|stunden?)\b[^.;]{0,25}\b(?:in\s+between|between\s+(?:the\s+|two\s+)?(?:re)?tr|apart|zwischen\s+(?:den\s+)?(?:versuch|wieder)|retr(?:y|ies)|tries|versuche)",
    re.I,
)
_DELIMITERS = (
    (r"semi-?colons?(?:[\s-]+(?:separated|delimited|as\s+(?:the\s+)?(?:delimiter|separator)))?|semikolons?|strichpunkt\w*", ";"),
    (r"tab(?:ulator)?s?[\s-]*(?:separated|delimited|getrennt\w*)|separated\s+by\s+tabs?|tabulator\w*|\btsv\b", "\t"),
    (r"(?:delimiter|separator|trennzeichen|separated\s+by|getrennt\s+durch)\s*(?:is|ist|=|:)?\s*[`\"'„]?;(?=\W)", ";"),
    (r"(?:delimiter|separator|trennzeichen|separated\s+by|getrennt\s+durch)\s*(?:is|ist|=|:)?\s*[`\"'„]?\|(?=\W)", "|"),
    (r"pipes?[\s-]*(?:separated|delimited|getrennt\w*|characters?)|separated\s+by\s+pipes?", "|"),
)  # fmt: skip
_ENCODING = re.compile(
    r"\b(?P<a>latin-?1|iso-?8859-?(?:1|15)|cp-?1252|windows-?1252|utf-?16|utf-?8|shift[_-]?jis|cp-?437)\b", re.I
)
_NULLS = re.compile(
    rf"[{_QUOTE}]?(?P<a>\bN/?A\b|\bNULL\b|\bn/a\b|(?<!\w)-(?!\w)|\bNaN\b)[{_QUOTE}]?\s+(?:means?|stands?\s+for|is|are|marks?|counts?\s+as|bedeutet|steht\s+für|heißt)\s+(?:null|missing|no\s+value|empty|kein(?:en)?\s+wert|fehlend\w*|leer)",
    re.I,
)
_CATCHUP = re.compile(
    r"\b(?:catch(?:ing)?[\s-]?up|backfill(?:ing|ed)?|make\s+up\s+for\s+missed|(?:days|runs|intervals)\s+(?:that\s+(?:were|are)\s+)?missed|nachhol\w*|rückwirkend|missed\s+(?:runs|intervals|days))\b",
    re.I,
)
_NO_CATCHUP = re.compile(
    r"\bcatch[\s-]?up\s*(?:is\s+|=\s*|:\s*)?(?:off|false|disabled|no|aus)\b|\b(?:no|not|without|don'?t|do\s+not|kein(?:e|en)?|nicht|ohne)\s+(?:a\s+)?(?:catch(?:ing)?[\s-]?up|backfill\w*|nachhol\w*)",
    re.I,
)
_SOURCE_WORDS = r"from|sync(?:s|hroni[sz]e\w*)?|(?:rows|records|content|lines)\s+of|(?:zeilen|daten)\s+(?:aus|von)|out\s+of|read(?:s|ing)?|load(?:s|ing)?|fetch(?:es|ing)?|pull(?:s|ing)?|extract(?:s|ing)?|take(?:s)?|import(?:s|ing)?|get(?:s|ting)?|copy|copies|ingest(?:s|ing)?|grab|query|source|aus|von|vom|lies|lese?n?|lade[nt]?|hole?n?|kopiere?n?|quelle|nimm|zieh\w*|importiere?n?|export"
_TARGET_WORDS = r"into|to|onto|write(?:s)?|writing|store(?:s|d)?|sav(?:e|es|ing)|land(?:s)?|in|put|dump(?:s)?|destination|target|as|nach|ins|in\s+die|in\s+der|in\s+das|schreib\w*|speicher\w*|ablegen|ziel|als|zu|zur|zum|deliver|publish|replace|overwrite|fill|update|refresh|rebuild|append|upsert|ersetze?|überschreibe?|befülle?"
_ROLE = re.compile(rf"\b(?:(?P<source>{_SOURCE_WORDS})|(?P<destination>{_TARGET_WORDS}))\b", re.I)
_TYPES: tuple[tuple[str, str, str], ...] = (
    (r"postgres(?:ql)?|pg\b", "postgres", ""),
    (r"duck-?db", "duckdb", "destination"),
    (r"parquet", "parquet", ""),
    (r"csvs?|excel-export|comma[- ]separated", "csv", ""),
    (r"nd-?json|json\s?lines|jsonl|newline[- ]delimited\s+json", "ndjson", ""),
    (r"rest(?:ful)?[\s-]+(?:api|service|endpoint|schnittstelle)|(?:web|http|json)[\s-]*(?:api|service|schnittstelle|endpoint)|api|endpoint|webhook", "http", "source"),
    (r"mysql|mariadb|sql\s?server|mssql|snowflake|sqlite|oracle", "sql", ""),
    (r"json", "json", "source"),
)  # fmt: skip


def extract(text: str, connections: Iterable[str] | Mapping[str, str] = ()) -> tuple[Extracted, ...]:
    """Return all values that a request states, in order of their places.

    `connections` are the ids that exist, with their types where these are known.
    """
    types = connections if isinstance(connections, Mapping) else {}
    connections = tuple(connections)
    queries = [*_queries(text)]
    text = without(text, queries)
    found: list[Extracted] = [*queries, *schedules.find(text)]
    found += _addresses(text)
    found += _identity(text)
    found += _connections(text, connections, found)
    found += _tables(text, found, connections, types)
    found += _types(text, found)
    found += _dispositions(text)
    found += _keys(text, [str(one.value) for one in found if one.kind in ("connection", "table", "component")])
    found += _numbers(text)
    places = [(one.start, one.end) for one in found if one.kind in ("path", "url", "endpoint", "table", "connection")]
    found = [
        one
        for one in found
        if one.kind not in ("primary_key", "cursor")
        or not any(one.start < end and start < one.end for start, end in places)
    ]
    whole = [str(one.value) for one in found if one.kind == "path" and "://" in str(one.value)]
    found = [
        one
        for one in found
        if one.kind != "path" or not any(path.endswith(f"/{one.value}") and path != one.value for path in whole)
    ]
    said = [
        (one.start, one.end) for one in found if one.kind == "text" and one.role in ("pagination", "records", "query")
    ]
    pages = [(one.start, one.end) for one in found if one.role == "pagination"]
    found = [one for one in found if one.role != "limit" or not any(s <= one.start < e for s, e in pages)]
    found = [one for one in found if one.kind != "table" or not any(s <= one.start and one.end <= e for s, e in said)]
    once = {(one.kind, one.start, one.end, one.role): one for one in reversed(found)}
    return tuple(sorted(once.values(), key=lambda one: (one.start, one.end, one.kind)))


_SELECT = re.compile(r"\bselect\s[^;\n]+?\sfrom\s+[\w.\"]+[^;\n]*", re.I)
_PLACE_BEHIND = re.compile(r"\s+(?:on|in|from|against|via|over|aus|über|auf)\s+(?:the\s+)?[\w-]+\s*$", re.I)
_QUERY_ENDS = re.compile(
    r"\s*[—–`]|\s+-\s+|\.(?=\s|$)|\s*,?\s+(?:and|then|und|dann)\s+(?:then\s+)?(?:put|write|load|store|save|send|append|replace|upsert|merge|fill|schreib\w*|lade|speicher\w*|leg\w*)\b|\s+(?:into|nach)\s",
    re.I,
)


def _queries(text: str) -> Iterator[Extracted]:
    """Yield a SELECT that a request gives word for word."""
    if (match := _SELECT.search(text)) is None:
        return
    value = match.group()
    if stop := _QUERY_ENDS.search(value):
        value = value[: stop.start()]
    value = value.rstrip(" ,.\"'`")
    from sqlglot import exp, parse_one
    from sqlglot.errors import SqlglotError

    for _ in range(3):
        try:
            tree = parse_one(value)
        except SqlglotError:
            tree = None
        if isinstance(tree, exp.Select):
            yield Extracted(value, "text", match.start(), match.start() + len(value), "query")
            return
        shorter = _PLACE_BEHIND.sub("", value)
        if shorter == value:
            return
        value = shorter


def without(text: str, found: Iterable[Extracted]) -> str:
    """Return a text with the queries in it blanked out; all else stays in its place."""
    for one in found:
        if one.role == "query":
            text = text[: one.start] + " " * (one.end - one.start) + text[one.end :]
    return text


def of(
    found: Iterable[Extracted], kind: ExtractedKind, role: str | None = None, *, sure: bool = False
) -> list[Extracted]:
    """Return those of one kind, and of one role when that is given."""
    return [one for one in found if one.kind == kind and role in (None, one.role) and (one.sure or not sure)]


def duration(number: str, unit: str) -> str:
    """Return a duration such as "2d" for a number and a unit in words."""
    low = unit.lower()
    for short, starts in (("w", ("w",)), ("d", ("d", "tag")), ("h", ("h", "stu")), ("m", ("m",)), ("s", ("s",))):
        if low.startswith(starts):
            return f"{int(number)}{short}"
    return f"{int(number)}s"


def role_at(text: str, start: int) -> str:
    """Return "source" or "destination" by the nearest word before a place that says which; "" when none does."""
    sentence = max(text.rfind(mark, 0, start) for mark in (". ", ";", "\n", "! ", "? "))
    before = text[max(sentence + 1, start - 90) : start]
    if re.search(r"\b(?:an|nach|into|onto)\s+(?:the\s+|die\s+|das\s+|der\s+|den\s+)?$", before, re.I):
        return "destination"
    if re.search(
        r"\b(?:sync\w*|in\s+sync|abgleich\w*|gleiche)\b[^.;]*\b(?:with|to|mit)\s+(?:the\s+|der\s+)?$", before, re.I
    ):
        return "destination"
    nearest, last = "", ""
    for match in _ROLE.finditer(before):
        word = match.group().lower()
        if word in ("in", "as", "als", "zu", "get", "gets", "take") and match.end() < len(before) - 25:
            continue
        if word in ("load", "loads", "loading", "lade", "laden", "ladet", "export") and nearest:
            continue
        if word == "to" and re.search(
            r"\b(?:according|compared|compare|belong\w*|relat\w+|similar|due|up|next|equal|want|wants|need|needs|have|has|had|like|going|able|is|ought|try|how|used)\s+$",
            before[: match.start()],
            re.I,
        ):
            continue
        reads = re.match(
            r"grab|read|fetch|pull|get|tak|extract|hol|lies|les|rows|records|content|lines|zeilen|daten", last, re.I
        )
        if word in ("in", "im") and nearest == "source" and reads:
            continue  # "everything in", "the rows in": still what is read
        nearest, last = ("source" if match["source"] else "destination"), word
    if re.search(r"(?:->|→|=>)[^,]*$", before):
        return "destination"
    return nearest


def _clean(text: str) -> str:
    return text.strip(_QUOTE + " .,;:!?()")


def _addresses(text: str) -> Iterator[Extracted]:
    taken: list[tuple[int, int]] = []

    def free(match: re.Match[str]) -> bool:
        if any(match.start() < end and start < match.end() for start, end in taken):
            return False
        taken.append(match.span())
        return True

    for match in _URL.finditer(text):
        if free(match):
            value = match.group().rstrip(".)!?:")
            yield Extracted(value, "url", match.start(), match.start() + len(value), role_at(text, match.start()))
    for match in _S3.finditer(text):
        if free(match):
            yield Extracted(match.group(), "path", match.start(), match.end(), role_at(text, match.start()))
    for match in _PATH.finditer(text):
        if free(match):
            database = match.group().lower().endswith((".duckdb", ".db"))
            role = "database" if database else role_at(text, match.start())
            yield Extracted(match[1], "path", match.start(1), match.end(1), role)
    for match in _FOLDER.finditer(text):
        if free(match):
            yield Extracted(match[1], "path", match.start(1), match.end(1), role_at(text, match.start()))
    for match in _ENDPOINT.finditer(text):
        if free(match):
            yield Extracted(match[1], "endpoint", match.start(1), match.end(1), "source")


def _connections(text: str, known: Sequence[str], found: Sequence[Extracted]) -> Iterator[Extracted]:
    taken = [(one.start, one.end) for one in found if one.kind in ("path", "url", "endpoint", "tag", "dag_id", "owner")]
    seen: set[tuple[int, int]] = set()
    for name in sorted(known, key=len, reverse=True):
        for match in re.finditer(rf"(?<![\w./-]){re.escape(name)}(?![\w/-]|\.\w)", text, re.I):
            inside = any(start <= match.start() and match.end() <= end for start, end in (*taken, *seen))
            plain = name.isalpha() and name.lower() in _PLAIN_WORDS
            if not inside and not plain:
                seen.add(match.span())
                yield Extracted(name, "connection", match.start(), match.end(), role_at(text, match.start()))
    for match in (*_CONNECTION.finditer(text), *_NAMED_CONNECTION.finditer(text)):
        value, span = match["name"], match.span("name")
        if value.lower() in STOPWORDS or value.lower() in _NO_CONNECTION or not re.match(NAME, value):
            continue
        exact = next((name for name in known if name.lower() == value.lower()), value)
        if not any(start <= span[0] and span[1] <= end for start, end in (*taken, *seen)):
            seen.add(span)
            yield Extracted(exact, "connection", *span, role_at(text, span[0]))


_PLAIN_WORDS = frozenset("orders customers data source target file files table api".split())
_NO_CONNECTION = frozenset(
    "sqlite mysql mariadb snowflake oracle mssql server duckdb sql rest and or airflow database postgres postgresql http https aws s3 api new existing secure encrypted ssl tls internet network the "
    "in and und to von is ist with for zu zur".split()
)


def _tables(
    text: str, found: Sequence[Extracted], known: Sequence[str], types: Mapping[str, str]
) -> Iterator[Extracted]:
    taken = [(one.start, one.end) for one in found if one.kind in ("path", "url", "endpoint", "connection")]
    seen: set[int] = set()
    for match in _LONG_TABLE.finditer(text):
        if named := next((name for name in known if name.lower() == match[1].lower()), None):
            role = role_at(text, match.start())
            yield Extracted(named, "connection", *match.span(1), role)
            yield Extracted(match[2], "table", *match.span(2), role)
    for match in _TABLE.finditer(text):
        value = match[1]
        last = value.rsplit(".", 1)[1].lower()
        before = text[max(0, match.start() - 30) : match.start()].lower()
        if any(start < match.end() and match.start() < end for start, end in taken):
            continue
        if re.match(r"\s*=\s*\w+\.\w", text[match.end() :]) or re.search(r"\w\.\w+\s*=\s*$", text[: match.start()]):
            continue  # columns of a join
        if last in _NOT_TABLES or (re.search(_DOTTED, before) and not _of_database(before, known)):
            continue
        try:
            check_table(value)
        except ValueError:
            continue
        seen.add(match.start())
        role = role_at(text, match.start())
        first, _, rest = value.partition(".")
        if named := next((name for name in known if name.lower() == first.lower()), None):
            yield Extracted(named, "connection", match.start(1), match.start(1) + len(first), role)
            yield Extracted(rest, "table", match.start(1) + len(first) + 1, match.end(1), role)
        else:
            yield Extracted(value, "table", *match.span(1), role)
    yield from _bare_tables(text, taken, seen, known, types)
    for match in (*_NAMED_TABLE.finditer(text), *_TABLE_NAMED.finditer(text)):
        value, span = match["name"], match.span("name")
        if span[0] in seen or value.lower() in STOPWORDS or value.lower() in _NO_TABLE_NAMES:
            continue
        if any(start < span[1] and span[0] < end for start, end in taken):
            continue
        if "." in value and value.rsplit(".", 1)[1].lower() in _NOT_TABLES:
            continue
        seen.add(span[0])
        yield Extracted(value, "table", *span, role_at(text, span[0]))


def _holds_tables(name: str, types: Mapping[str, str]) -> bool:
    """Return whether a connection leads to a database, by its type or, where that is not known, by its name."""
    if name in types:
        return types[name] not in ("http", "https", "aws", "s3", "google_cloud_platform", "wasb", "fs", "file")
    return re.search(r"api|http|s3|bucket|service", name, re.I) is None and name.lower() not in _PLAIN_WORDS


def _may_be_table(text: str, value: str, span: tuple[int, int], seen: set[int]) -> bool:
    """Return whether a word beside a connection is a table's name, and not what should be done."""
    low = value.lower()
    if low in GLUE or (re.search(r"(?:ed|ing|ly)$", low) and "_" not in low) or span[0] in seen:
        return False
    if (
        re.match(r"(?:en|t)\b", low[-2:])
        and re.search(r"\s$", text[: span[0]])
        and re.match(r"\s*(?:[,.;]|$)", text[span[1] :])
    ):
        return value[0].isupper() or "_" in value  # a German verb at the end
    return re.match(r"\s+(?:by|on|up|out|off|down|over)\b", text[span[1] :], re.I) is None


def _bare_tables(
    text: str, taken: Sequence[tuple[int, int]], seen: set[int], known: Sequence[str], types: Mapping[str, str]
) -> Iterator[Extracted]:
    """Yield names that stand beside a database as a table does: "into duckdb orders", "append to orders in duckdb"."""
    places = "|".join(["duck-?db", r"postgres(?:ql)?", *map(re.escape, sorted(known, key=len, reverse=True))])
    name = rf"[{_QUOTE}]?(?P<name>[A-Za-z_]\w*)[{_QUOTE}]?"
    bases = "|".join(map(re.escape, sorted((one for one in known if _holds_tables(one, types)), key=len, reverse=True)))
    before = re.compile(
        rf"(?<!\w)(?:into|to|onto|in|of|replac\w+|overwrit\w+|fill|land\w*|both|nach|an|und|and|->|→)\s+(?:the\s+|both\s+in\s+)?(?:{places})\s+(?:table\s+)?{name}(?!\s*[/.]\w)",
        re.I,
    )
    after = re.compile(
        rf"\b(?:into|to|onto|replac\w+|overwrit\w+|fill|as|an|nach)\s+(?:the\s+|table\s+)*{name}\s+(?:in|of|on|\(|mit)\s*(?:the\s+)?(?:{places})\b",
        re.I,
    )
    beside = re.compile(
        rf"(?<![\w.])(?:(?:{bases})(?:'s)?\s+(?:table\s+|tabelle\s+)?{name}(?!\s*[/.]\w)(?!\w)|(?:{bases})\s*\(\s*(?:table\s+|tabelle\s+)?(?P<inside>[A-Za-z]\w*)\s*\))",
        re.I,
    )
    ahead = re.compile(
        rf"\b(?:cop(?:y|ies)|loads?|moves?|takes?|brings?|syncs?|pulls?|reads?|exports?|imports?|transfers?|ingests?|fetch(?:es)?|gets?|kopiere\w*|lade|übertrage\w*|hole|importiere|exportiere)\s+(?:the\s+|all\s+|table\s+|die\s+|tabelle\s+)*{name}\s+(?:table\s+)?(?:from|out\s+of|aus|von)\s+(?:the\s+|der\s+)?(?:{bases})(?![\w.]|\s*[.(]\s*\w|\s+(?:table\s+)?[a-z]\w*\.[a-z])",
        re.I,
    )
    for pattern in (before, after, *((beside, ahead) if bases else ())):
        for match in pattern.finditer(text):
            group = "inside" if pattern is beside and match["inside"] else "name"
            span, value = match.span(group), match[group]
            if pattern in (beside, ahead) and not _may_be_table(text, value, span, seen):
                continue
            if (
                span[0] in seen
                or value.lower() in STOPWORDS | _NO_TABLE_NAMES
                or value.lower() in {one.lower() for one in known}
            ):
                continue
            if re.fullmatch(
                r"duckdb|parquet|csv|json|ndjson|postgres(?:ql)?|tables?|tabelle|database|datenbank|file|api|schema",
                value,
                re.I,
            ):
                continue
            if any(start < span[1] and span[0] < end for start, end in taken):
                continue
            seen.add(span[0])
            role = "source" if pattern is ahead else "destination"
            if pattern is beside or (pattern is before and re.match(r"(?:and|und|both|an?d?)\b", match.group(), re.I)):
                role = role_at(text, match.start())
            yield Extracted(value, "table", span[0], span[1], role)


def _of_database(before: str, known: Sequence[str]) -> bool:
    """Return whether a name follows a connection: "in warehouse under sales.orders"."""
    lead = re.search(r"([\w-]+)\s+(?:unter|under|in|as|als)\s+[`\"']?$", before)
    return lead is not None and lead[1] in {name.lower() for name in known if not name.endswith("api")}


_DOTTED = r"(?:records?|under|path|inside|pfad|unter|key|below|within|token\s+in|link\s+in|list|liste|page)\s+(?:is\s+|are\s+|at\s+|in\s+|steht\s+|[`\"'])*$"
_RECORDS = re.compile(
    rf"\b(?:records?|lists?|liste|items|rows|entries|data|daten|einträge|datensätze|array|results?)\s+(?:of\s+\w+\s+)?(?:is\s+|are\s+|steht\s+|stehen\s+|liegt\s+|liegen\s+|sit\s+|live\s+|comes?\s+)?(?:under|in|inside|unter|at|below|within)\s+(?:the\s+key\s+|the\s+list\s+|key\s+|dem\s+schlüssel\s+)?[{_QUOTE}]?(?P<path>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)[{_QUOTE}]?",
    re.I,
)
_SITS = re.compile(
    rf"\b(?:they|it|which|rows|records|sie|die)\s+(?:sit|sits|are|live|come|stehen|liegen|is)\s+(?:under|in|inside|unter|below)\s+(?:the\s+key\s+)?[{_QUOTE}]?(?P<path>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)",
    re.I,
)
_IN_LIST = re.compile(r"\bin\s+the\s+list\s+(?P<path>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)", re.I)
_NOT_TABLES = frozenset(f"{_EXTENSIONS}|gz|com|org|net|io|de|ai|dev|local|internal|m|e|g".split("|"))
_NO_TABLE_NAMES = frozenset(
    "one this that same new existing postgres postgresql duckdb target source destination whole full entire each every another "
    "resulting final output input staging quelle ziel neue neuen bestehende ganze ganzen jede jeden with mit into to in is of for from on "
    "end start front back replace append overwrite update fill create write read load copy move called named by and die der das eine einer dimension fact history".split()
)


def _types(text: str, found: Sequence[Extracted]) -> Iterator[Extracted]:
    taken = [(one.start, one.end) for one in found if one.kind in ("path", "url", "connection", "table")]
    seen: list[tuple[int, int]] = []
    for pattern, type_, only in _TYPES:
        for match in re.finditer(rf"(?<![\w/.])(?:{pattern})(?![\w/]|\.\w)", text, re.I):
            if any(start < match.end() and match.start() < end for start, end in (*taken, *seen)):
                continue
            seen.append(match.span())
            role = role_at(text, match.start())
            if only and role and role != only:
                role = only if type_ != "json" else role
            name = {"json": "ndjson"}.get(type_, type_) if role == "destination" else type_
            if role == "source" and name == "ndjson":
                name = "json"
            yield Extracted(name, "component", match.start(), match.end(), role or only, bool(role or only))


def _dispositions(text: str) -> Iterator[Extracted]:
    matches: list[tuple[int, int, str, str]] = []
    for pattern, value, strategy in _DISPOSITIONS:
        for match in re.finditer(rf"(?<!\w)(?:{pattern})(?!\w)", text, re.I):
            negated = re.search(
                r"\b(?:not|never|don'?t|without|nicht|nie|kein\w*|ohne|instead\s+of|rather\s+than|statt)\s+(?:\w+\s+)?$",
                text[: match.start()],
                re.I,
            )
            if not negated and not any(match.start() < end and start < match.end() for start, end, _, _ in matches):
                matches.append((match.start(), match.end(), value, strategy))
    values = {value for _, _, value, _ in matches}
    for start, end, value, strategy in matches:
        # "merge two files and replace the table" says two things; a destination can have but one
        sure = len(values) == 1 or bool(strategy)
        yield Extracted(value, "disposition", start, end, "destination", sure)
        if strategy:
            yield Extracted(strategy, "merge_strategy", start, end, "destination")


def _keys(text: str, taken: Iterable[str] = ()) -> Iterator[Extracted]:
    primary = False
    for pattern in (_KEYS, _MERGE_BY, _BY_MERGE):
        for match in pattern.finditer(text):
            names = names_in(match["names"])
            if len(names) > 1 and begins_clause(text, names[-1], match.end("names")):
                names.pop()
            if names and not primary:
                primary = True
                yield Extracted(tuple(names), "primary_key", *match.span("names"), "destination")
    if not primary and (named := _IDENTIFIES.search(text)) and (found := names_in(named["names"], tail=True)):
        yield Extracted(tuple(found), "primary_key", *named.span("names"), "destination")
    if not primary and (batch := _FOR_EACH.search(text)):
        yield Extracted((_clean(batch["name"]),), "primary_key", *batch.span("name"), "merge_key")
    if cursor := _cursor(text, taken):
        yield cursor
    if late := _LOOKBACK.search(text):
        number, unit = (late["n"], late["unit"]) if late["n"] else (late["n2"], late["unit2"])
        yield Extracted(duration(number, unit), "number", late.start(), late.end(), "lookback")


def _cursor(text: str, taken: Iterable[str]) -> Extracted | None:
    """Return the column by which a request wants to read new records only."""
    reserved = {name.lower() for name in taken}
    for match in (*_CURSOR_AFTER.finditer(text), *_NEWER_THAN.finditer(text), *_CURSOR_BRACKETED.finditer(text)):
        if (name := _clean(match["name"])).lower() not in STOPWORDS | reserved:
            return Extracted(name, "cursor", *match.span("name"), "source")
    for lead in _INCREMENTAL.finditer(text):
        end = (
            len(text) if (stop := re.search(r"[;!?\n]|\.\s", text[lead.end() :])) is None else lead.end() + stop.start()
        )
        explicit = re.match(r"incr|inkr|cursor|water|high|only|nur|since|seit|delta", lead.group(), re.I)
        explicit = (
            explicit
            or re.match(r"\s+(?:only|nur)\b", text[lead.end() :], re.I)
            or _SINCE_LAST.search(text, lead.start(), min(end, lead.end() + 25))
        )
        for match in _CURSOR.finditer(text, max(lead.start(), lead.end() - 8), min(end, lead.end() + 110)):
            name = _clean(match["name"])
            if name.lower() in STOPWORDS or name.lower() in reserved:
                continue
            if re.search(
                r"(?:upsert|merge|key|schlüssel|match|join|identif|dedup\w*|unique|abgleich\w*|aktualisier\w*|verknüpf\w*)\w*\s+(?:\w+\s+){0,2}$",
                text[: match.start()],
                re.I,
            ):
                continue
            timely = bool(_TIMELY.search(name))
            if timely or (explicit and "_" in name):
                return Extracted(name, "cursor", *match.span("name"), "source", timely or bool(explicit))
    return None


_TIMELY = re.compile(
    r"_(?:at|on|ts|date|time|datum|am|zeit|seq|no)$|updated|modified|changed|created|timestamp|geaendert|geändert|^id$|seq|version|zeit|datum|stamp|erstellt",
    re.I,
)


def _identity(text: str) -> Iterator[Extracted]:
    for match in _DAG_ID.finditer(text):
        group = next(name for name in "abcdef" if match[name])
        value = match[group].rstrip(".-")
        if (
            value.lower() not in STOPWORDS
            and re.match(NAME, value)
            and value.lower() not in ("that", "which", "to", "die", "der", "das")
        ):
            yield Extracted(value, "dag_id", match.start(group), match.start(group) + len(value))
            break
    for match in _TAGS.finditer(text):
        start = match.start("names")
        for name in names_in(match["names"], plain=True, also=_RHYTHMS):
            at = text.find(name, start)
            yield Extracted(name, "tag", at, at + len(name))
    if owner := _OWNER.search(text):
        match = owner
        if match["a"].lower() not in STOPWORDS:
            yield Extracted(
                match["a"].rstrip("."), "owner", match.start("a"), match.start("a") + len(match["a"].rstrip("."))
            )


_NO_HEADER = re.compile(
    r"\b(?:no|without(?:\s+an?)?|has\s+no|ohne|keine)\s+(?:header(?:\s+(?:row|line))?|kopfzeile|column\s+names|überschrift(?:en)?)\b",
    re.I,
)
_DELETE_FLAG = re.compile(
    r"\b(?:delet|remov)\w*\s+(?:the\s+|all\s+|those\s+)?(?:rows|records|ones|entries)\s+(?:where|with|flagged|marked|whose)\s+(?:as\s+)?(?P<a>(?:is_|was_)?[A-Za-z]*(?:delet|remov|gelöscht|inactiv|cancel)\w*)(?:\s+(?:is\s+)?(?:set|true|on))?"
    r"|\b(?:rows|records|ones|entries|zeilen)\s+(?:flagged|marked|markiert|mit|with|where)\s+(?:as\s+|durch\s+|als\s+)?(?P<b>(?:is_|was_|ist_)[A-Za-z]\w*)(?:\s+(?:is\s+)?(?:set|true))?\s+(?:must|should|are|have\s+to|shall|sollen|müssen|werden)\s+(?:to\s+)?(?:be\s+|auch\s+|dort\s+)*(?:disappear|vanish|deleted|removed|go|verschwinden|gelöscht)",
    re.I,
)
_FREEZE = re.compile(
    r"\b(?:new|additional|unknown|further|changed|extra)\s+(?:or\s+\w+\s+)?columns?\b[^.;,]{0,40}?\b(?:fail\w*|stop\w*|abort\w*|refus\w*|reject\w*|not\s+allowed|error)\b"
    r"|\b(?:fail|stop|abort)\w*\s+(?:if|when|on)\s+(?:there\s+(?:is|are)\s+)?(?:an?\s+)?(?:new|additional|unknown|changed|extra)\s+columns?\b"
    r"|\b(?:schema|columns?|structure)\s+(?:is|are|must|should|stays?|remains?)\s+(?:be\s+|stay\s+)?(?:frozen|fixed)\b|\bfreeze\s+(?:the\s+)?(?:schema|columns|structure)\b"
    r"|\b(?:neue|zusätzliche|unbekannte|geänderte)\s+spalten\b[^.;,]{0,40}?\b(?:fehler\w*|abbruch|abbrechen|fehlschlagen|scheitern|verboten|nicht\s+erlaubt)\b",
    re.I,
)
_ASIDE = r"(?:dead[\s-]?letters?|set\s+(?:\w+\s+){0,3}aside|aside|quarantin\w+|aussortier\w*|beiseite\w*|reject\w*)"
_SHARE = r"(?:at\s+most|no\s+more\s+than|up\s+to|maximum|max|höchstens|maximal|bis\s+zu)\s+"
_DEAD_SHARE = re.compile(
    rf"\b{_ASIDE}\b[^.;]{{0,40}}?\b{_SHARE}(?P<a>\d+(?:[.,]\d+)?)\s*(?:%|percent|prozent)"
    rf"|\b{_SHARE}(?P<b>\d+(?:[.,]\d+)?)\s*(?:%|percent|prozent)[^.;]{{0,40}}?\b{_ASIDE}\b",
    re.I,
)
_PARAM = re.compile(
    rf"\b(?:parameter|param)\s+(?:called\s+|named\s+|namens\s+)?[{_QUOTE}]?(?P<name>[A-Za-z_]\w*)[{_QUOTE}]?(?:\s*[,(]?\s*(?:(?:with\s+(?:the\s+)?)?default(?:s|ing)?(?:\s+value)?(?:\s+(?:is|to|of))?|standard(?:wert)?(?:\s+ist)?|vorgabe)\s*[:=]?\s*(?P<value>[{_QUOTE}][^{_QUOTE}]*[{_QUOTE}]|[\w.-]+)\)?)"
    rf"|\b(?:run|trigger|lauf)\s*-?\s*parameter\s+[{_QUOTE}]?(?P<name2>[A-Za-z_]\w*)[{_QUOTE}]?",
    re.I,
)
_RHYTHMS = frozenset("hourly daily nightly weekly monthly".split())


def _numbers(text: str) -> Iterator[Extracted]:
    if match := _LIMIT.search(text):
        strong = bool(match["what"]) or match.group().lower().startswith(("limit", "top", "the top"))
        yield Extracted(_number(match["n"]), "number", match.start("n"), match.end("n"), "limit", strong)
    if match := _AT_LEAST.search(text):
        value = 1 if match["n"].lower() in ("one", "a", "ein", "eine") else _number(match["n"])
        if re.match(r"more", match.group(), re.I):
            value += 1
        yield Extracted(value, "number", match.start("n"), match.end("n"), "min_rows")
    elif match := _NOT_EMPTY.search(text):
        yield Extracted(1, "number", match.start(), match.end(), "min_rows")
    if match := _RETRIES.search(text):
        word = match["a"] or match["b"] or match["c"]
        yield Extracted(
            {"once": 1, "twice": 2}.get(word.lower()) or int(word), "number", match.start(), match.end(), "retries"
        )
    if match := _RETRY_DELAY.search(text):
        yield Extracted(
            duration(match["n"], match["unit"]), "number", match.start("n"), match.end("unit"), "retry_delay"
        )
    for pattern, mark in _DELIMITERS:
        if found := re.search(rf"(?<!\w)(?:{pattern})(?!\w)", text, re.I):
            yield Extracted(mark, "text", found.start(), found.end(), "delimiter")
            break
    for match in (*_RECORDS.finditer(text), *_IN_LIST.finditer(text), *_SITS.finditer(text)):
        path = match["path"]
        if (
            path.lower() not in STOPWORDS
            and ("." in path or re.search(r"(?:api|endpoint|endpunkt|schnittstelle|json)", text, re.I))
            and path.lower() not in _NO_RECORDS
        ):
            last = path.rsplit(".", 1)[-1].lower()
            if last not in _NOT_TABLES:
                yield Extracted(
                    path,
                    "text",
                    *match.span("path"),
                    "records",
                    "." in path or match.group().lower().startswith(("record", "list", "liste")),
                )
                break
    yield from _paging(text)
    if match := _REQUESTS.search(text):
        yield Extracted(int(match["n"]), "number", match.start(), match.end(), "requests_per_second")
    if match := _ENCODING.search(text):
        yield Extracted(match["a"].lower(), "text", match.start(), match.end(), "encoding")
    if match := _NULLS.search(text):
        yield Extracted(match["a"], "text", match.start("a"), match.end("a"), "null_value")
    if match := _NO_HEADER.search(text):
        yield Extracted(False, "text", match.start(), match.end(), "header")
    if match := _DELETE_FLAG.search(text):
        yield Extracted(match["a"] or match["b"], "text", match.start(), match.end(), "delete_flag")
    if match := _FREEZE.search(text):
        yield Extracted("freeze", "text", match.start(), match.end(), "schema_contract")
    if match := _DEAD_SHARE.search(text):
        share = float((match["a"] or match["b"]).replace(",", ".")) / 100
        if 0 < share <= 1:
            yield Extracted({"max_share": share}, "text", match.start(), match.end(), "dead_letters")
    for match in _PARAM.finditer(text):
        if (name := match["name"] or match["name2"]).lower() not in STOPWORDS:
            given = _clean(match["value"] or "")
            default: object = int(given) if given.isdigit() else given or None
            kind = "integer" if isinstance(default, int) else "string"
            yield Extracted(
                {name: default if default is not None else {"type": kind}}, "text", match.start(), match.end(), "param"
            )
            break
    if (match := _CATCHUP.search(text)) and not _NO_CATCHUP.search(text):
        yield Extracted(True, "text", match.start(), match.end(), "catchup")


_PAGING: tuple[tuple[str, str], ...] = (
    (r"\blink[\s-]+headers?\b|\blink-header\b", "link_header"),
    (
        r"\boffset(?:[\s-]+(?:and|und|/)[\s-]+limit|[\s-]+(?:based\s+)?(?:paging|pagination|parameter))\b|\blimit[\s-]+(?:and|und|/)[\s-]+offset\b",
        "offset",
    ),
    (
        r"\bpage[\s-]+(?:number|parameter|numbers|nummer)\b|\bpage\s+by\s+page\b|\bparameter\s+[`\"']?page[`\"']?\b|\bseitenweise\b|\bseite\s+für\s+seite\b|\bpaginated\s+by\s+page\b",
        "page",
    ),
)
_NEXT_URL = re.compile(
    r"\bnext\s+(?:page|url|link)\b[^.;]{0,25}?\b(?:under|in|at|is|unter)\s+[`\"']?(?P<path>[a-z_]\w*(?:\.[a-z_]\w*)+)|[`\"']?(?P<path2>[a-z_]\w*\.next\w*)\b",
    re.I,
)


_REQUESTS = re.compile(
    r"\b(?:(?:at\s+most|no\s+more\s+than|max(?:imum|imal)?|höchstens|up\s+to)\s+)?(?P<n>\d{1,4})\s+(?:requests?|calls?|anfragen|aufrufe)\s*(?:per|a|each|pro|je|/)\s*(?:second|sekunde|s\b)",
    re.I,
)
_PAGE_AND_SIZE = re.compile(
    r"[`\"'(]?\b(?P<param>page|page_number|pageno)[`\"']?\s*(?:,|and|und|/|&)\s*[`\"']?(?P<size_param>per_?page|page_?size|size|limit|page_limit)\b[`\"']?\s*(?:[=:(]\s*|of\s+|with\s+|von\s+|mit\s+)?(?:(?P<size>\d+)|[,)]*\s*(?P<size2>\d+)\s+(?:a|per|each|je|pro)\b)?",
    re.I,
)
_OFFSET_AND_LIMIT = re.compile(
    r"\boffset\b[`\"']?\s*(?:,|and|und|/|&)\s*[`\"']?limit\b[`\"']?\s*(?:=|of|:|von)?\s*(?P<size>\d+)?", re.I
)
_NEXT_CURSOR = re.compile(
    r"\bcursor\b[^.;]{0,40}?\b(?:in|under|at|is|unter|from|steht\s+in)\s+[`\"']?(?P<path>[a-z_]\w*(?:\.[a-z_]\w*)+)[`\"']?[^.;]{0,30}?\b(?:as|in|into|to|als|an)\s+(?:the\s+|den\s+)?(?:query\s+)?(?:parameter\s+)?[`\"']?(?P<param>[a-z]\w*)",
    re.I,
)


def _paging(text: str) -> Iterator[Extracted]:
    """Yield how an API gives its pages, where a request says so."""
    if found := _NEXT_CURSOR.search(text):
        value = {"type": "cursor", "path": found["path"], "param": found["param"]}
        yield Extracted(value, "text", found.start(), found.end(), "pagination")
        return
    if found := _NEXT_URL.search(text):
        path = found["path"] or found["path2"]
        if not re.search(rf"{re.escape(path)}[^.;]{{0,40}}\bparameter\b", text, re.I):
            yield Extracted({"type": "next_url", "path": path}, "text", found.start(), found.end(), "pagination")
        return
    if sized := _PAGE_AND_SIZE.search(text):
        value = {"type": "page", "param": sized["param"], "size_param": sized["size_param"]}
        size = sized["size"] or sized["size2"]
        yield Extracted(
            {**value, **({"size": int(size)} if size else {})}, "text", sized.start(), sized.end(), "pagination"
        )
        return
    if spaced := _OFFSET_AND_LIMIT.search(text):
        size = {"limit": int(spaced["size"])} if spaced["size"] else {}
        value = {"type": "offset", **size}
        yield Extracted(value, "text", spaced.start(), spaced.end(), "pagination", sure=bool(size))
        return
    for pattern, type_ in _PAGING:
        if match := re.search(pattern, text, re.I):
            yield Extracted({"type": type_}, "text", match.start(), match.end(), "pagination", type_ == "link_header")
            return


_NO_RECORDS = frozenset("duckdb postgres the csv parquet json page pages api table order".split())


def _number(text: str) -> int:
    return int(re.sub(r"[,._]", "", text) or 0)
