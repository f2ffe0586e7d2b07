"""Schedules, time zones and dates in plain English and German, read without a model.

A small model gets "every weekday at 6" wrong one time in three; this is right or finds nothing. What is read are a
frequency, days and times of day, wherever in the request they stand; together they make one schedule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache

from dataforge.authoring.base import Extracted
from dataforge.config.pipeline import PRESETS, check_schedule

_WORDS = {
    **{word: n for n, word in enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())},
    **{
        word: n
        for n, word in enumerate("null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf".split())
        if n
    },
    "ein": 1,
    "eine": 1,
    "einen": 1,
    "einer": 1,
    "other": 2,
    "second": 2,
    "zweite": 2,
    "zweiten": 2,
    "fuenf": 5,
    "zwoelf": 12,
    "fifteen": 15,
    "twenty": 20,
    "thirty": 30,
    "fünfzehn": 15,
    "zwanzig": 20,
    "dreißig": 30,
    "third": 3,
    "fourth": 4,
    "dritte": 3,
    "dritten": 3,
}
_NUMBER = r"\d{1,4}|" + "|".join(sorted(_WORDS, key=len, reverse=True))
_DAYS = {
    0: r"sun(?:day)?s?|sonntags?|so",
    1: r"mon(?:day)?s?|montags?|mo",
    2: r"tue(?:s(?:day)?)?s?|dienstags?|di",
    3: r"wed(?:nesday)?s?|mittwochs?|mi",
    4: r"thu(?:r(?:s(?:day)?)?)?s?|donnerstags?|do",
    5: r"fri(?:day)?s?|freitags?|fr",
    6: r"sat(?:urday)?s?|samstags?|sonnabends?|sa",
}
_LONG_DAYS = {
    0: r"sundays?|sonntags?",
    1: r"mondays?|montags?",
    2: r"tuesdays?|dienstags?",
    3: r"wednesdays?|mittwochs?",
    4: r"thursdays?|donnerstags?",
    5: r"fridays?|freitags?",
    6: r"saturdays?|samstags?|sonnabends?",
}
_ANY_DAY = "|".join(_LONG_DAYS.values())
_SHORT_DAY = "|".join(_DAYS.values())
_MONTHS = {
    1: "january|januar|jänner|jan",
    2: "february|februar|feb",
    3: "march|märz|maerz|mar|mär",
    4: "april|apr",
    5: "may|mai",
    6: "june|juni|jun",
    7: "july|juli|jul",
    8: "august|aug",
    9: "september|sept|sep",
    10: "october|oktober|oct|okt",
    11: "november|nov",
    12: "december|dezember|dec|dez",
}
_MONTH = "|".join(_MONTHS.values())

_CRON = re.compile(
    r"(?<![\w*/,.-])((?:[\d*][\d*/,-]*\s+){2}(?:[\dL*][\d*/,L-]*\s+){1}(?:[\w*][\w*/,-]*\s+){1}[\w*#?][\w*/,#?-]*)(?![\w*/])"
)
_PRESET = re.compile(
    r"(?<!\w)@(?:once|continuous|hourly|daily|weekly|monthly|quarterly|yearly|annually|midnight)\b", re.I
)
_INTERVAL = re.compile(r"\bevery\s+\d+\s?(?:s|m|h|d|w)\b", re.I)

_EVERY = re.compile(
    rf"\b(?:(?:once\s+)?every|each|alle|jede[nrs]?|im\s+abstand\s+von)\s+(?:(?P<n>{_NUMBER})(?:st|nd|rd|th|\.)?\s*[- ]?\s*|(?:full|single|volle[nrs]?)\s+)?"
    r"(?P<unit>seconds?|secs?|sekunden?|minutes?|mins?|minuten?|hours?|hrs?|stunden?|days?|tage?n?|tag|nights?|nacht|nächte"
    r"|mornings?|morgen|evenings?|abende?|weeks?|wochen?|months?|monate?n?|quarters?|quartale?|years?|jahre?n?)\b"
    r"(?!\s*(?:old|alt|of\s+data))",
    re.I,
)
_QUARTER_HOUR = re.compile(
    r"\b(?:every|each|alle|jede)\s+(?:(?P<n>quarter|half|viertel|halbe)(?:\s+of\s+an|\s+an)?[\s-]*(?:hour|stunden?))\b",
    re.I,
)
_TIMES_A_DAY = re.compile(
    r"\b(?P<n>twice|two\s+times|three\s+times|four\s+times|six\s+times|zweimal|dreimal|viermal|2x|3x|4x|2\s+mal|3\s+mal|4\s+mal)\s*"
    r"(?:a|per|each|every|am|pro|jeden|/)?\s*(?P<day>day|daily|tag|täglich|taeglich)\b",
    re.I,
)
_ADVERBS: tuple[tuple[str, str], ...] = (
    (
        r"hourly|once\s+(?:an|per|every)\s+hour|einmal\s+(?:pro|in\s+der)\s+stunde|stündlich(?:e[rsnm]?)?|stuendlich",
        "hour",
    ),
    (
        r"daily|täglich(?:e[rsnm]?)?|taeglich|day\s+by\s+day|tagesaktuell|once\s+a\s+day|once\s+per\s+day|einmal\s+(?:am|pro)\s+tag",
        "day",
    ),
    (r"nightly|nächtlich(?:e[rsnm]?)?|overnight|over\s+night|über\s+nacht|nachts", "night"),
    (r"in\s+the\s+mornings?|mornings|morgens|in\s+der\s+frühe", "morning"),
    (r"weekly|wöchentlich(?:e[rsnm]?)?|woechentlich|once\s+a\s+week|einmal\s+(?:in\s+der|pro)\s+woche", "week"),
    (r"monthly|monatlich(?:e[rsnm]?)?|once\s+a\s+month|einmal\s+(?:im|pro)\s+monat", "month"),
    (r"quarterly|vierteljährlich|quartalsweise|once\s+a\s+quarter", "quarter"),
    (r"yearly|annually|jährlich|once\s+a\s+year|einmal\s+im\s+jahr", "year"),
)
_FIGURES = r"(?:revenue|sales|totals?|reports?|sums?|averages?|figures|numbers|statistics|stats|counts?|turnover|temperatures?|extremes|overviews?|umsatz|umsätze|summen?|berichte?|zahlen|werte|salary|rents?|active\s+users)\b"
_WEEKDAYS = re.compile(
    r"\b(?:(?:every|each|jeden|an?)\s+)?(?:week[\s-]?days?|working\s+days?|workdays?|business\s+days?|werktags|werktäglich"
    r"|werktagen?|wochentags|arbeitstags?|arbeitstagen|arbeitstäglich|jeden\s+werktag|an\s+werktagen)\b",
    re.I,
)
_WEEKEND = re.compile(
    r"\b(?:(?:on\s+|at\s+|every\s+|am\s+|jedes\s+)?(?:the\s+)?week-?ends?|(?:am|jedes)\s+wochenende|wochenends)\b", re.I
)
_DAY_RANGE = re.compile(rf"\b(?P<from>{_SHORT_DAY})\.?\s*(?:-|–|to|through|thru|bis)\s*(?P<to>{_SHORT_DAY})\b\.?", re.I)
_DAY_LIST = re.compile(
    rf"\b(?:(?:every|each|on|jeden|am|an|immer)\s+)?(?P<days>(?:{_ANY_DAY})(?:\s*(?:,|and|und|&|\+|/|or|oder|as\s+well\s+as|sowie)\s*(?:on\s+|every\s+|am\s+)?(?:{_ANY_DAY}))*)\b",
    re.I,
)
_MONTH_DAY = re.compile(
    r"\b(?:on\s+|am\s+|every\s+|each\s+|jeden\s+|immer\s+)?(?:the\s+)?(?:(?P<first>first|ersten?)|(?P<last>last|letzten?)|(?P<n>\d{1,2})(?:st|nd|rd|th|\.)?(?P<more>(?:\s*(?:,|and|und|&)\s*(?:the\s+|am\s+|den\s+|on\s+)*\d{1,2}(?:st|nd|rd|th|\.))*))"
    r"\s+(?:day\s+|tag\s+|calendar\s+day\s+)?(?:of\s+)?(?:(?:each|every|the|a|per|des|eines|jeden|jedes|im|pro)\s+)?(?:month|monats?)\b",
    re.I,
)
_EACH_MONTH_ON = re.compile(
    r"\b(?:monthly|every\s+month|each\s+month|monatlich|jeden\s+monat)\W+(?:on|am|at)\s+(?:the\s+)?(?:(?P<first>first|ersten?)|(?P<n>\d{1,2})(?:st|nd|rd|th|\.))(?!\s*(?:uhr|:|am|pm|a\.m|p\.m))",
    re.I,
)
_CLOCK = (
    r"(?:(?P<half>half\s+past|halb)\s+(?P<halfof>{n})"
    r"|(?P<quarter>quarter\s+(?:past|to)|viertel\s+(?:nach|vor))\s+(?P<quarterof>{n})"
    r"|(?P<word>noon|midday|midnight|mitternacht|mittags?)"
    r"|(?P<h>\d{{1,2}}|{w})(?:(?:[:.]|\s?h\s?)(?P<m>[0-5]\d))?(?::[0-5]\d)?\s*(?P<ampm>a\.?m\.?|p\.?m\.?)?\s*(?P<uhr>uhr|o'?clock|h\b|hours)?(?:\s*(?P<part>in\s+the\s+morning|in\s+the\s+afternoon|in\s+the\s+evening|at\s+night|morgens|früh|vormittags|nachmittags|abends|nachts))?)"
    r"(?:\s*(?P<part2>in\s+the\s+morning|in\s+the\s+afternoon|in\s+the\s+evening|at\s+night|morgens|nachmittags|abends))?"
)
_CLOCK = _CLOCK.format(
    n=_NUMBER, w="|".join(word for word in _WORDS if word not in ("other", "second", "ein", "eine", "einen", "einer"))
)
_LEAD = r"(?:at|um|@|gegen|around|about|by|jeweils\s+um|kurz\s+nach|shortly\s+after|immer\s+um|ab)"
_TIME = re.compile(rf"\b{_LEAD}\s+(?:around\s+|about\s+|ca\.?\s+|circa\s+)?{_CLOCK}", re.I)
_AT_TIME = re.compile(
    rf"\b(?:at|um|jeweils\s+um)\s+(?:\d{{1,2}}:[0-5]\d|\d{{1,2}}\s*(?:am|pm|a\.m|p\.m|uhr|o'?clock)|(?:{_NUMBER})\s+(?:uhr|o'?clock)|\d{{1,2}}(?:\s*(?:,|and|und)\s*\d{{1,2}})+\s*(?:am|pm|uhr|o'?clock)|noon|midnight|mitternacht)",
    re.I,
)
_MORE_TIME = re.compile(rf"\s*(?:,|and|und|&|as\s+well\s+as|sowie|or)\s*(?:at\s+|um\s+|again\s+at\s+)?{_CLOCK}", re.I)
_BARE_TIME = re.compile(
    r"(?<![\w:.-])(?P<h>\d{1,2})(?:(?:[:.])(?P<m>[0-5]\d))?\s*(?:(?P<ampm>a\.?m\b\.?|p\.?m\b\.?)|(?P<uhr>uhr\b|o'?clock\b))|(?<![\w:.-])(?P<h2>[01]?\d|2[0-3]):(?P<m2>[0-5]\d)(?![\d:])|\b(?P<word>noon|midnight|mitternacht)\b",
    re.I,
)
_BETWEEN = re.compile(
    r"\b(?:between|from|zwischen|von)\s+(?P<a>\d{1,2})(?::00)?\s*(?P<pa>am|pm)?\s*(?:uhr\s*)?(?:and|to|until|till|-|–|und|bis)\s+(?P<b>\d{1,2})(?::00)?\s*(?P<pb>am|pm)?\s*(?P<unit>uhr|o'?clock|h\b)?",
    re.I,
)
_MINUTE_PAST = re.compile(
    r"\b(?:at|zur)\s+minute\s+(?P<m3>[0-5]?\d)\b|\b(?:at\s+)?(?P<m>[0-5]?\d)\s+(?:minutes?|min)\s+(?:past|after)\s+(?:the|every|each)\s+(?:full\s+)?hour\b|\b(?P<m2>[0-5]?\d)\s+minuten\s+nach\s+(?:der\s+)?(?:jeder\s+)?(?:vollen\s+)?stunde\b",
    re.I,
)
_MANUAL = re.compile(
    r"\b(?:(?:only\s+)?on\s+demand|manual(?:ly)?(?:\s+(?:triggered|started|only|runs?))?|by\s+hand|no\s+schedule|without\s+(?:a\s+)?schedule|unscheduled"
    r"|only\s+when\s+(?:i|we|someone)\s+(?:start|trigger|run)s?\s+it|(?:i|we)(?:'ll|\s+will)\s+(?:start|trigger|run)\s+it(?:\s+(?:myself|ourselves))?"
    r"|von\s+hand|manuell(?:e[rnms]?)?|händisch|auf\s+zuruf|bei\s+bedarf|ohne\s+(?:zeitplan|plan|schedule)|kein(?:en)?\s+(?:zeitplan|schedule))\b",
    re.I,
)
_ONCE = re.compile(
    r"\b(?:just\s+once|only\s+once|run\s+(?:it\s+)?once|one[- ]time\s+(?:load|import|copy|run|job)|one-off|einmalig(?:e[rsnm]?)?|nur\s+einmal|ein\s+einziges\s+mal)\b",
    re.I,
)

_TRIGGER = re.compile(
    r"\b(?:whenever|when|as\s+soon\s+as|every\s+time|each\s+time|after|once|sobald|immer\s+wenn|jedes\s+mal,?\s+wenn|nachdem|wenn)\s+(?:the\s+|die\s+|das\s+)?(?:asset\s+|table\s+|tabelle\s+)?(?P<asset>[`\"'„]?[A-Za-z]\w*/[\w./-]*\w[`\"'“]?)\s+(?:is|was|has\s+been|gets?|changes?|wurde|wird|ist|sich|aktualisiert|geladen|geschrieben|geändert)\b",
    re.I,
)
_ZONES = {
    r"(?:german|deutsche[rsn]?|berlin(?:er)?|frankfurt(?:er)?|munich|münchner|hamburger)\s+(?:local\s+)?(?:time|zeit|ortszeit)|MEZ|MESZ|\bCES?T\b": "Europe/Berlin",
    r"(?:swiss|zurich|zürich|schweizer)\s+(?:time|zeit)": "Europe/Zurich",
    r"(?:austrian|vienna|wiener|österreichische[rsn]?)\s+(?:time|zeit)": "Europe/Vienna",
    r"(?:uk|british|london(?:er)?)\s+(?:time|zeit)": "Europe/London",
    r"(?:paris(?:er)?|french)\s+(?:time|zeit)": "Europe/Paris",
    r"(?:new\s+york(?:er)?|(?:us\s+)?eastern)\s+(?:standard\s+|daylight\s+)?(?:time|zeit)|\bE[SD]T\b": "America/New_York",
    r"(?:chicago|(?:us\s+)?central)\s+(?:standard\s+|daylight\s+)?time": "America/Chicago",
    r"(?:denver|(?:us\s+)?mountain)\s+(?:standard\s+|daylight\s+)?time": "America/Denver",
    r"(?:los\s+angeles|san\s+francisco|(?:us\s+)?pacific)\s+(?:standard\s+|daylight\s+)?time|\bP[SD]T\b": "America/Los_Angeles",
    r"(?:tokyo|japan(?:ese)?)\s+(?:time|zeit)": "Asia/Tokyo",
    r"(?:indian?)\s+(?:standard\s+)?time": "Asia/Kolkata",
    r"(?:sydney|australian\s+eastern)\s+time": "Australia/Sydney",
    r"(?:china|beijing|shanghai)\s+(?:standard\s+)?time": "Asia/Shanghai",
}
_IANA = re.compile(
    r"(?<![\w/.])(?P<zone>(?:Africa|America|Antarctica|Asia|Atlantic|Australia|Europe|Indian|Pacific|Etc)/[A-Za-z_+-]+(?:/[A-Za-z_]+)?|UTC|GMT)(?![\w/])"
)
_CITY = re.compile(
    r"\b(?P<city>[A-Z][a-zäöü]+(?:[ _][A-Z][a-z]+)?)(?:er)?\s+(?:local\s+)?(?:time|Zeit|Ortszeit)\b|\b(?i:time\s?zone|zeitzone)\s*(?:of|is|:|=|von)?\s*(?P<city2>[A-ZÄÖÜ][\w]+(?:[ _][A-Z]\w+)?)\b"
)

_TIME_IN = re.compile(
    r"\d\s*(?:am|pm|a\.m\.|p\.m\.|[Uu]hr)?\s+\(?(?:in\s+)?(?P<city2>[A-ZÄÖÜ][a-zäöü]+(?:\s[A-Z][a-z]+)?)(?=\s*(?:[,.;)]|$|[a-z(]))"
)
_ISO = re.compile(r"(?<![\w/.-])(\d{4})-(\d{2})-(\d{2})(?:[T ]\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:\d{2})?)?(?![\w-])")
_DOTTED = re.compile(r"(?<![\w.])(\d{1,2})\.(\d{1,2})\.(\d{4})(?![\w.]\d)")
_DAY_MONTH = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th|\.)?\s+(?:of\s+)?({_MONTH})\.?,?\s+(\d{{4}})\b", re.I)
_MONTH_DAY_YEAR = re.compile(rf"\b({_MONTH})\.?\s+(\d{{1,2}})(?:st|nd|rd|th)?,?\s+(\d{{4}})\b", re.I)
_MONTH_YEAR = re.compile(rf"\b({_MONTH})\s+(\d{{4}})\b", re.I)
_STARTS = re.compile(
    r"\b(?:start(?:s|ing)?(?:\s+date)?|begin(?:s|ning)?|first\s+run|from|as\s+of|effective|beginn(?:t|end)?|startdatum|start|ab|erstmals|backfill(?:ing)?(?:\s+from)?|catch(?:ing)?\s+up\s+from)\b[\s:=]*(?:on|is|at|from|with|the|dem|am|vom|zum|date|ist|since)?[\s:=]*(?:on|the|dem|am)?\s*$",
    re.I,
)
_ENDS = re.compile(
    r"\b(?:until|till|end(?:s|ing)?(?:\s+date)?|through|last\s+run|bis(?:\s+zum)?|enddatum|endet)\b[\s:=]*(?:on|is|at|the|am|den|zum)?\s*$",
    re.I,
)


_RUNS_FROM = re.compile(
    r"\b(?:daily|hourly|weekly|monthly|nightly|(?:every|each)\s+\w+|täglich|stündlich|wöchentlich|monatlich|jed\w+\s+\w+)\s*,?\s+(?:from|as\s+of)\s+$",
    re.I,
)


@dataclass(frozen=True)
class _Span:
    value: tuple[str, ...]
    start: int
    end: int


def find(text: str) -> list[Extracted]:
    """Return schedule, time zone and dates of a request, each with its place."""
    found = [*_zone(text), *_dates(text)]
    taken = [(one.start, one.end) for one in found if one.kind != "timezone"]
    if schedule := _schedule(text, taken):
        found.insert(0, schedule)
    return found


def mentions_time(text: str) -> bool:
    """Return whether a request speaks of when to run, in whatever words."""
    unit = r"(?:\w+\s+)?(?:seconds?|minutes?|hours?|days?|nights?|mornings?|evenings?|weeks?|weekdays?|months?|quarters?|years?|time|\w+days?|sekunden?|minuten?|stunden?|tage?|nacht|morgen|abend|woche|monat|quartal|jahr|\w+tag)"
    words = rf"(?:every|each|jede[nrs]?|alle)\s+{unit}|daily|weekly|monthly|hourly|nightly|o'?clock|schedule|cron|täglich|stündlich|uhr|whenever|as\s+soon\s+as|sobald|immer\s+wenn|noon|midnight"
    text = re.sub(rf"\b(?:hourly|daily|weekly|monthly)\s+{_FIGURES}", "", text, flags=re.I)
    return re.search(rf"\b(?:{words})\b", text, re.I) is not None


def _schedule(text: str, taken: list[tuple[int, int]]) -> Extracted | None:
    for match in (*_PRESET.finditer(text), *_CRON.finditer(text), *_INTERVAL.finditer(text)):
        value = {"@annually": "@yearly", "@midnight": "@daily"}.get(match.group().lower(), match.group())
        value = value.rstrip(",;-")
        value = " ".join(value.split()) if not value.startswith("@") else value.lower()
        if _is_schedule(value):
            return Extracted(value, "schedule", match.start(), match.end())
    if trigger := _TRIGGER.search(text):
        asset = trigger["asset"].strip("`\"'„“")
        if "/" in asset:
            return Extracted({"asset": asset}, "schedule", trigger.start(), trigger.end())
    spoken = _spoken(text, taken)
    if spoken:
        return spoken
    for pattern, said in ((_MANUAL, None), (_ONCE, "@once")):
        if found := pattern.search(text):
            return Extracted(said, "schedule", found.start(), found.end())
    return None


def _is_schedule(value: str) -> bool:
    try:
        check_schedule(value)
    except ValueError:
        return False
    return value in PRESETS or " " in value


def _spoken(text: str, taken: list[tuple[int, int]]) -> Extracted | None:
    """Return the schedule that a frequency, days and times of day make together."""
    spans: list[tuple[int, int]] = []

    def note(match: re.Match[str]) -> None:
        spans.append((match.start(), match.end()))

    days, day_match = _days(text)
    month_day: str | None = None
    month_match = _MONTH_DAY.search(text) or _EACH_MONTH_ON.search(text)
    if month_match:
        groups = month_match.groupdict()
        number = 1 if groups["first"] else int(groups["n"]) if groups.get("n") else None
        if number is None and groups.get("last"):
            month_day = "L"
        elif number is not None and 1 <= number <= 31:
            more = [int(each) for each in re.findall(r"\d+", groups.get("more") or "")]
            month_day = ",".join(map(str, sorted({number, *more}))) if all(1 <= each <= 31 for each in more) else None
    unit, count, unit_match = _frequency(text)
    past = _MINUTE_PAST.search(text)
    times, sure_times = _times(text, [*taken, *([month_match.span()] if month_match else [])])
    if not (days or month_day or unit or past):
        if not (times and _AT_TIME.search(text)) or _MANUAL.search(text) or _ONCE.search(text):
            return None
        return (
            Extracted(
                _compose("day", 1, None, None, times, None, None)[0],
                "schedule",
                min(span.start for span in sure_times),
                max(span.end for span in sure_times),
                "",
                sure=False,
            )
            if len({minute for _, minute in times}) == 1
            else None
        )
    for match in (day_match, month_match if month_day else None, unit_match, past):
        if match:
            note(match)
    spans += [(span.start, span.end) for span in sure_times]
    window = None
    if unit in ("minute", "hour") and (between := _BETWEEN.search(text)):
        first, last = _hour(int(between["a"]), between["pa"] or between["pb"]), _hour(int(between["b"]), between["pb"])
        if (between["unit"] or between["pb"] or days) and 0 <= first < last <= 23:
            window = f"{first}-{last}"
            note(between)
            times = [time for time in times if not (first == time[0] or last == time[0])]
    value, sure = _compose(
        unit, count, days, month_day, times, window, int(past["m"] or past["m2"] or past["m3"]) if past else None
    )
    if value is None or not _is_schedule(value):
        return None
    return Extracted(value, "schedule", min(s for s, _ in spans), max(e for _, e in spans), "", sure)


def _compose(
    unit: str | None,
    count: int,
    days: str | None,
    month_day: str | None,
    times: list[tuple[int, int]],
    window: str | None,
    past: int | None,
) -> tuple[str | None, bool]:
    """Return (schedule, whether all of it was said)."""
    if unit in ("minute", "second"):
        if unit == "second":
            return f"every {count}s", True
        if 60 % count == 0 and count < 60:
            step = "*" if count == 1 else f"*/{count}"
            return f"{step} {window or '*'} * * {days or '*'}", True
        if count % 60 == 0 and count // 60 <= 12 and 24 % (count // 60) == 0:
            return f"0 */{count // 60} * * {days or '*'}", True
        return (f"every {count}m", True) if not (days or window) else (None, False)
    if unit == "hour" or (past is not None and unit is None):
        minute = past if past is not None else 0
        if count == 1 and not (window or days or minute):
            return "@hourly", True
        if 24 % count == 0 or window:
            hours = f"{window or '*'}/{count}" if count > 1 else window or "*"
            return f"{minute} {hours} * * {days or '*'}", True
        return (f"every {count}h", True) if not days else (None, False)
    sure = True
    if not times and unit in ("night", "morning", "evening"):
        times = [{"night": (2, 0), "morning": (6, 0), "evening": (18, 0)}[unit]]
        sure = False
    if unit == "times":
        if not times:
            return f"0 */{24 // count} * * {days or '*'}" if 24 % count == 0 else None, False
        sure = len(times) == count
    minutes = {minute for _, minute in times}
    if len(minutes) > 1:
        return None, False
    clock = f"{min(minutes)} {','.join(str(hour) for hour in sorted({hour for hour, _ in times}))}" if times else "0 0"
    if month_day:
        return (f"{clock} {month_day} * *" if (times or month_day != "1") else "@monthly"), sure
    if days:
        return f"{clock} * * {days}", sure and bool(times)
    if unit in ("day", "night", "morning", "evening", "times") and count > 1 and unit != "times":
        return (f"{clock} */{count} * *" if times else f"every {count}d"), True
    if unit in ("day", "night", "morning", "evening", "times"):
        return (f"{clock} * * *" if times else "@daily"), sure
    if unit == "week":
        if count > 1:
            return (None if times else f"every {count}w"), True
        return (f"{clock} * * 1" if times else "@weekly"), sure and not times
    if unit == "month":
        return (f"{clock} 1 * *" if times else "@monthly"), sure
    if unit == "quarter":
        return (f"{clock} 1 */3 *" if times else "@quarterly"), sure
    if unit == "year":
        return (f"{clock} 1 1 *" if times else "@yearly"), sure
    return None, False


def _days(text: str) -> tuple[str | None, re.Match[str] | None]:
    if match := _DAY_RANGE.search(text):
        first, last = _day(match["from"]), _day(match["to"])
        long = (
            re.fullmatch(_ANY_DAY, match["from"], re.I)
            or "-" in match.group()
            or "–" in match.group()
            or match["from"][:1].isupper()
        )
        if first is not None and last is not None and long:
            if first == 1 and last == 0:
                return None, None
            return (f"{first}-{last}" if first < last else f"{first}-6,0-{last}"), match
    if match := _WEEKDAYS.search(text):
        return "1-5", match
    if match := _DAY_LIST.search(text):
        names = re.findall(_ANY_DAY, match["days"], re.I)
        numbers = sorted({day for day in map(_day, names) if day is not None})
        return ",".join(map(str, numbers)), match
    if match := _WEEKEND.search(text):
        spared = re.search(
            r"\b(?:except|but\s+not|not|without|außer|nicht|ohne)\s+(?:on\s+|at\s+|the\s+|am\s+|an\s+)*$",
            text[: match.start()],
            re.I,
        )
        return ("1-5" if spared else "0,6"), match
    return None, None


def _day(name: str) -> int | None:
    return next((day for day, pattern in _DAYS.items() if re.fullmatch(pattern, name, re.I)), None)


def _frequency(text: str) -> tuple[str | None, int, re.Match[str] | None]:
    if match := _QUARTER_HOUR.search(text):
        return "minute", 15 if match["n"].lower() in ("quarter", "viertel") else 30, match
    if match := _TIMES_A_DAY.search(text):
        first = match["n"].lower().split()[0]
        counts = {"twice": 2, "two": 2, "three": 3, "four": 4, "six": 6, "zweimal": 2, "dreimal": 3, "viermal": 4}
        return "times", counts.get(first) or int(first[0]), match
    best: tuple[int, str, int, re.Match[str]] | None = None
    for match in _EVERY.finditer(text):
        unit = _unit(match["unit"])
        count = _count(match["n"])
        rank = ("second", "minute", "hour").index(unit) if unit in ("second", "minute", "hour") else 3
        if best is None or rank < best[0]:
            best = (rank, unit, count, match)
    if best:
        return best[1], best[2], best[3]
    for pattern, unit in _ADVERBS:
        found = re.search(rf"(?<![\w_/.-])(?:{pattern})(?![\w_/-]|\.\w)(?!\s+{_FIGURES})", text, re.I)
        if found:
            return unit, 1, found
    return None, 1, None


def _unit(word: str) -> str:
    word = word.lower()
    for start, unit in (
        ("sec", "second"), ("sek", "second"), ("min", "minute"), ("hour", "hour"), ("hr", "hour"), ("stunde", "hour"),
        ("day", "day"), ("tag", "day"), ("night", "night"), ("nacht", "night"), ("nächte", "night"),
        ("morn", "morning"), ("morgen", "morning"), ("even", "evening"), ("abend", "evening"), ("week", "week"),
        ("woche", "week"), ("month", "month"), ("monat", "month"), ("quart", "quarter"), ("year", "year"), ("jahr", "year"),
    ):  # fmt: skip
        if word.startswith(start):
            return unit
    return "day"


def _count(text: str | None) -> int:
    if not text:
        return 1
    return int(text) if text.isdigit() else _WORDS.get(text.lower(), 1)


def _hour(hour: int, ampm: str | None) -> int:
    if ampm and ampm.lower().startswith("p") and hour < 12:
        return hour + 12
    if ampm and ampm.lower().startswith("a") and hour == 12:
        return 0
    return hour


def _times(text: str, taken: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[_Span]]:
    """Return times of day (hour, minute) and their places; what `taken` covers is no time."""
    times: list[tuple[int, int]] = []
    spans: list[_Span] = []

    def add(match: re.Match[str], ampm: str | None = None) -> bool:
        if any(match.start() < end and start < match.end() for start, end in taken):
            return False
        clock = _clock(match, ampm)
        if clock is None:
            return False
        if clock not in times:
            times.append(clock)
        spans.append(_Span((), match.start(), match.end()))
        return True

    for match in _TIME.finditer(text):
        more: list[re.Match[str]] = []
        at = match.end()
        while following := _MORE_TIME.match(text, at):
            if not _looks_like_clock(following, match):
                break
            more.append(following)
            at = following.end()
        ampm = next((one["ampm"] for one in reversed([match, *more]) if one["ampm"]), None)
        if _is_clock(match, text) and add(match, ampm):
            for following in more:
                add(following)
    if not times:
        for match in _BARE_TIME.finditer(text):
            add(match)
    return times, spans


def _is_clock(match: re.Match[str], text: str) -> bool:
    """Return whether "at 10" is a time: not "at 10 rows", not "by 3 columns", not a place in a list."""
    if (
        match["half"]
        or match["quarter"]
        or match["word"]
        or match["m"]
        or match["ampm"]
        or match["uhr"]
        or match["part"]
    ):
        return True
    lead = match.group().split()[0].lower()
    if lead in ("by", "ab", "about", "around") and not match["uhr"]:
        return False
    after = text[match.end() :].lstrip()
    return (
        re.match(
            r"(?:%|percent|rows?|zeilen|records|times|retries|minutes?|hours?|days?|columns?|least|most|mal\b)",
            after,
            re.I,
        )
        is None
    )


def _looks_like_clock(match: re.Match[str], first: re.Match[str]) -> bool:
    marks = ("m", "ampm", "uhr", "word", "half", "quarter")
    return any(match[mark] for mark in marks) or bool(match["h"] and (first["h"] is not None))


def _clock(match: re.Match[str], ampm: str | None = None) -> tuple[int, int] | None:
    groups = match.groupdict()
    if word := groups.get("word"):
        return (0, 0) if word.lower() in ("midnight", "mitternacht") else (12, 0)
    part = (groups.get("part") or groups.get("part2") or "").lower()
    late = "p" if any(name in part for name in ("afternoon", "evening", "nachmittags", "abends")) else None
    if groups.get("half"):
        hour = _hour(_count(groups["halfof"]), late)
        return (hour, 30) if groups["half"].lower().startswith("half") else ((hour - 1) % 24, 30)
    if groups.get("quarter"):
        hour, past = _hour(_count(groups["quarterof"]), late), groups["quarter"].lower().split()[1] in ("past", "nach")
        return (hour, 15) if past else ((hour - 1) % 24, 45)
    text = groups.get("h") or groups.get("h2")
    if text is None:
        return None
    hour = _hour(int(text) if text.isdigit() else _WORDS.get(text.lower(), 99), groups.get("ampm") or ampm or late)
    minute = int(groups.get("m") or groups.get("m2") or 0)
    return (hour % 24, minute) if hour <= 24 else None


def _zone(text: str) -> Iterator[Extracted]:
    for match in _IANA.finditer(text):
        if match["zone"] in _zones():
            yield Extracted("UTC" if match["zone"] == "GMT" else match["zone"], "timezone", match.start(), match.end())
            return
    for pattern, zone in _ZONES.items():
        flags = 0 if pattern.isupper() else re.I
        if found := re.search(rf"\b(?:{pattern})", text, flags):
            yield Extracted(zone, "timezone", found.start(), found.end())
            return
    for match in (*_CITY.finditer(text), *_TIME_IN.finditer(text)):
        groups = match.groupdict()
        city = (groups.get("city") or groups["city2"]).replace(" ", "_")
        for name in (city, city.removesuffix("er"), city.removesuffix("r")):
            low = name.lower()
            if known := _MORE_CITIES.get(low) or _cities().get(low.translate(_WITHOUT_DOTS)):
                yield Extracted(known, "timezone", match.start(), match.end())
                return


_WITHOUT_DOTS = str.maketrans({"ä": "a", "ö": "o", "ü": "u"})
_MORE_CITIES = {
    **dict.fromkeys(("wien", "salzburg", "graz"), "Europe/Vienna"),
    **dict.fromkeys(("münchen", "munich", "hamburg", "köln", "cologne", "frankfurt", "stuttgart"), "Europe/Berlin"),
    **dict.fromkeys(("bern", "basel", "genf", "geneva"), "Europe/Zurich"),
    **dict.fromkeys(("rom", "mailand", "milan"), "Europe/Rome"),
    **dict.fromkeys(("boston", "washington", "miami", "atlanta"), "America/New_York"),
    **dict.fromkeys(("seattle", "san_francisco"), "America/Los_Angeles"),
    **dict.fromkeys(("mumbai", "delhi", "bangalore"), "Asia/Kolkata"),
    "brüssel": "Europe/Brussels",
    "prag": "Europe/Prague",
    "warschau": "Europe/Warsaw",
    "athen": "Europe/Athens",
    "kopenhagen": "Europe/Copenhagen",
    "lissabon": "Europe/Lisbon",
    "moskau": "Europe/Moscow",
    "kairo": "Africa/Cairo",
    "tokio": "Asia/Tokyo",
    "peking": "Asia/Shanghai",
    "beijing": "Asia/Shanghai",
    "barcelona": "Europe/Madrid",
    "manchester": "Europe/London",
    "edinburgh": "Europe/London",
    "houston": "America/Chicago",
    "dallas": "America/Chicago",
}


@cache
def _zones() -> frozenset[str]:
    from zoneinfo import available_timezones

    return frozenset(available_timezones())


@cache
def _cities() -> dict[str, str]:
    return {
        zone.rsplit("/", 1)[-1].lower(): zone for zone in sorted(_zones()) if "/" in zone and not zone.startswith("Etc")
    }


def _dates(text: str) -> Iterator[Extracted]:
    found: list[tuple[int, int, date]] = []
    for match in _ISO.finditer(text):
        found += _dated(match, match[1], match[2], match[3])
    for match in _DOTTED.finditer(text):
        found += _dated(match, match[3], match[2], match[1])
    for match in _DAY_MONTH.finditer(text):
        found += _dated(match, match[3], _month(match[2]), match[1])
    for match in _MONTH_DAY_YEAR.finditer(text):
        found += _dated(match, match[3], _month(match[1]), match[2])
    for match in _MONTH_YEAR.finditer(text):
        if not any(start < match.end() and match.start() < end for start, end, _ in found):
            found += _dated(match, match[2], _month(match[1]), 1)
    for start, end, day in sorted(found):
        before = text[max(0, start - 40) : start]
        if re.match(r"\s*(?:on\b(?!\s+the\b)|onwards?|an\b)", text[end:], re.I) and re.search(
            r"(?:from|ab|von|vom|since|seit)\s+(?:dem\s+)?$", before, re.I
        ):
            yield Extracted(day.isoformat(), "start_date", start, end)
        elif _ENDS.search(before):
            yield Extracted(day.isoformat(), "end_date", start, end)
        elif led := _STARTS.search(before):
            sure = led.group().split()[0].lower().strip(":=") not in ("from", "as") or bool(_RUNS_FROM.search(before))
            yield Extracted(day.isoformat(), "start_date", start, end, "", sure)
        else:
            yield Extracted(day.isoformat(), "date", start, end)


def _month(name: str) -> int:
    return next(number for number, pattern in _MONTHS.items() if re.fullmatch(pattern, name, re.I))


def _dated(match: re.Match[str], year: str | int, month: str | int, day: str | int) -> list[tuple[int, int, date]]:
    try:
        return [(match.start(), match.end(), date(int(year), int(month), int(day)))]
    except ValueError:
        return []
