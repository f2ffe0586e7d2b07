"""Words of a request: names of columns in it, lists of names, and the words that are no names."""

from __future__ import annotations

import re

STOPWORDS = frozenset(
    """a an and are as at be been before by can column columns data date day do does each every field fields for from get
    go has have hour how i if in into is it its just keep key last let like load make me merge my need new no not null of
    off on once one only or our out over per please primary put read row rows run same should so some such table take than
    that the their them then there these they this those time to two under up use using via want was we what when where
    which who will with without would write you your all any but id's everything nothing value values name named called
    records record file files job pipeline dag week weeks month year minute minutes hours days monday tuesday wednesday
    thursday friday saturday sunday incremental incrementally append appending upsert merge merging replace overwrite replacing
    hourly daily weekly monthly nightly schedule scheduled write writes load loads keeping drop filter rename sort limit
    mask hash join deduplicate cast remove removing sorted sorting filtered everything tag tags owner retry retries start
    starting fill filling convert converting set sets change add adds adding derive compute calculate aggregate group count
    sum average total ensure check verify make sure must should may replaced fail warn call name run runs running read
    reading take store storing save put entfernen hashen maskieren umbenennen füllen sortieren speichern schreiben lesen
    schreibe schreib lade lies hole speichere ersetze anhängen weglassen behalten ausblenden hochladen anhängen kopieren laden löschen behalten prüfen filtern gruppieren berechnen starting also only just no none unique null empty eindeutig
    leer sobald inkrementell anhängen ersetzen überschreiben täglich stündlich wöchentlich monatlich
    delete reject throw discard skip ignore exclude trim uppercase lowercase leave between within zwischen newest latest oldest aber alle allem allen aller als am an auf aus bei bis bitte da das dass daten dem den der des die dies diese dieser doch
    dort du durch ein eine einem einen einer eines er es für gegen haben hat ich im in ins ist ja jede jeden jeder kein keine
    können man mein mir mit muss nach neu neue neuen nicht noch nur oder pro schon sein sich sie sind soll sollen spalte
    spalten tabelle tag tage über um und uns unter vom von vor war was wenn wer werden wie wir wird wo zu zum zur zeile
    zeilen uhr stunde stunden minuten sowie dann danach""".split()
)
GLUE = STOPWORDS | frozenset(
    """want wants need needs take takes bring brings move moves copy copies put puts pull pulls fetch fetches get gets ingest
    import imports export exports sync syncs transfer build create make made pipeline flow process source target destination
    database db warehouse file files folder csv parquet json ndjson duckdb postgres postgresql api endpoint http connection
    table tables data dataset rows records every day daily with using there here called named result results output input
    lines content contents stuff thing things whole full all please thanks thank hello hi dear everything way form format
    landing lands land goes go come comes onto new empty first then afterwards finally also just fresh again existing
    utc time zone timezone runs scheduled job dag incremental load loaded loads write written writes read reads stored
    tagged tag tags owner key keys column columns by at in on of merge replace append daten datei dateien tabelle quelle
    ziel bitte danke soll sollen möchte brauche hole holen nimm nehmen übertrage übertragen kopiere kopieren importiere
    exportiere verbindung zeile zeilen sätze jeden jede tag täglich uhr ergebnis schreibe lade lies mal zeit deutscher
    otherwise sonst rejected through liegen liegt raus rein hol holt wait were mirror spiegeln komplett header since until after seit hey thx german deutsche enough already inside well send turn could bilden too together stream dabei davon daraus jeweils hinein rein existing order""".split()
)
"""Words that say nothing by themselves of what should become of the rows."""
_QUOTES = "`\"'„“”‚‘’"
COLUMNS = frozenset(
    "name date time value total count sum average year month day week key id type number status order group first last hours minutes days".split()
)
"""Words that are also common names of columns: no names by themselves, but where a phrase wants a column."""
_NAME = rf"[{_QUOTES}]?[A-Za-z_][A-Za-z0-9_]*[{_QUOTES}]?"
AND = r"(?:\s*,\s*(?:and\s+|und\s+)?|\s+(?:and|und|plus|sowie|&)\s+|\s*/\s*|\s*\+\s*)(?:the\s+|also\s+|die\s+|der\s+)?"
NAMES = rf"{_NAME}(?:{AND}{_NAME})*"
"""A pattern for a list of names: `a, b and c`."""


def names_in(text: str, *, plain: bool = False, tail: bool = False, also: frozenset[str] = frozenset()) -> list[str]:
    """Return the names of a list, up to the first word that can't be one; with `tail`, those after the last such word.

    `also` are words that may be names here all the same. Without `plain`, a long unquoted word in a list of names with underscores is no name.
    """
    found: list[str] = []
    if tail and (restart := re.search(r"(?:\band|\bund|\bsowie)\s+[^,]+,\s*(?=[^,]+$)", text)):
        text = text[restart.end() :]  # "a und b, c hashen": the list ended with its "und"
    for part in re.split(AND, text):
        name = part.strip(_QUOTES + " ")
        if not name or (name.lower() in STOPWORDS - COLUMNS - also and part[0] not in _QUOTES):
            if tail:
                found = []
                continue
            break
        if (
            not plain
            and found
            and "_" in found[0]
            and "_" not in name
            and part[0] not in _QUOTES
            and "," not in text
            and len(name) > 12
        ):
            break
        found.append(name)
    return found


_AFTER_LIST = re.compile(
    r"\s*(?:$|[.,;:)!?\]\"'`]|(?:from|in|of|and|or|to|into|as|by|with|before|then|for|on|at|is|are|was|were|must|should|may|can|has|have|columns?|fields?|out|aus|in|von|"
    r"und|oder|nach|als|zu|mit|vor|dann|ist|sind|muss|müssen|soll|sollen|darf|spalten?|per|each|every|if|when|where|wenn|so|but|aber|using|via|only|\w*en)\b)",
    re.I,
)


def begins_clause(text: str, name: str, end: int) -> bool:
    """Return whether the last word of a list that ends there begins a new clause: "hash ssn, leave 3 rows"."""
    before = text[: end - len(name)].rstrip().rstrip(_QUOTES)
    plain = re.fullmatch(r"[a-zäöüß]+", name) is not None and text[end - 1 : end] not in _QUOTES
    if not plain or not before.endswith(","):
        return False
    follows = text[end : end + 30]
    if re.search(r"[A-Za-z]_\w+\s*,$", before) and re.match(r"\s+[a-zäöü]+en\b", follows):
        return True  # "kunden_id, bestehende aktualisieren"
    return _AFTER_LIST.match(follows) is None or re.match(r"\s+out\b", follows, re.I) is not None


def names(text: str) -> list[str]:
    """Return everything in a text that may be the name of a column or table, in order, each once."""
    found = re.findall(r"[A-Za-z_äöüÄÖÜß][A-Za-z0-9_äöüÄÖÜß]*", text)
    return list(dict.fromkeys(word for word in found if word.lower() not in STOPWORDS))
