"""Values of the right type that are written in another way: schedules, dates, durations, time zones, names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any
from zoneinfo import available_timezones

from dataforge.authoring.fixers.case import Case, Proposal, nearest, slug
from dataforge.components.fields import check_table, format_duration, parse_duration
from dataforge.config.pipeline import PRESETS, check_schedule

_UNITS = {
    "ms": None,
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "sekunden", "sekunde"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes", "minuten"), "m"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "stunde", "stunden"), "h"),
    **dict.fromkeys(("d", "day", "days", "tag", "tage"), "d"),
    **dict.fromkeys(("w", "week", "weeks", "woche", "wochen"), "w"),
}
_NUMBERS = {"a": "1", "an": "1", "one": "1", "two": "2", "three": "3", "five": "5", "ten": "10", "fifteen": "15"}
_NUMBERS |= {"half an": "0.5", "thirty": "30", "twenty": "20", "six": "6", "twelve": "12"}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_WORDS = {
    "@hourly": "hourly hour everyhour onceanhour 1h",
    "@daily": "daily day everyday onceaday nightly midnight everynight täglich @midnight @nightly @day @everyday",
    "@weekly": "weekly week everyweek onceaweek wöchentlich @week",
    "@monthly": "monthly month everymonth onceamonth monatlich @month",
    "@quarterly": "quarterly everyquarter @quarter",
    "@yearly": "yearly annually everyyear year jährlich @annually @annual @year",
    "@once": "once onetime oneoff",
    "@continuous": "continuous continuously always realtime streaming",
}
_PRESETS = {word: preset for preset, words in _WORDS.items() for word in words.split()}
_BY_HAND = frozenset(
    ["none", "null", "manual", "manually", "byhand", "ondemand", "never", "off", "@none", "trigger", "nil"]
)
_ZONES = {
    "pst": "America/Los_Angeles",
    "pdt": "America/Los_Angeles",
    "pacific": "America/Los_Angeles",
    "edt": "America/New_York",
    "eastern": "America/New_York",
    "cst": "America/Chicago",
    "cdt": "America/Chicago",
    "central": "America/Chicago",
    "mdt": "America/Denver",
    "cest": "Europe/Berlin",
    "mez": "Europe/Berlin",
    "mesz": "Europe/Berlin",
    "bst": "Europe/London",
    "jst": "Asia/Tokyo",
    "ist": "Asia/Kolkata",
    "z": "UTC",
    "utc+0": "UTC",
    "utc+00:00": "UTC",
    "gmt+0": "UTC",
    "coordinated universal time": "UTC",
}
_LIMITED = frozenset(
    [
        "retries",
        "max_active_runs",
        "pool_slots",
        "priority_weight",
        "skip_rows",
        "offset",
        "max_pages",
        "batch_rows",
        "row_group_rows",
    ]
)
_DURATIONS = re.compile(r"(timeout|delay|lookback)$")


def invalid_value(case: Case) -> Iterator[Proposal]:
    """Write a schedule, date, duration, time zone, name or limited number as it is written here."""
    if not case.there:
        return
    value, key = case.value, case.key
    if case.pointer in ("/schedule", "/schedule_interval"):
        yield from _schedule(case, value)
    elif key in ("start_date", "end_date") and len(case.path) <= 2:
        yield from _date(case, value)
    elif case.pointer == "/timezone" and isinstance(value, str):
        yield from _timezone(case, value)
    elif case.pointer == "/dag_id" or "valid name" in case.finding.message:
        if isinstance(value, str) and slug(value) != value:
            yield case.replace(slug(value), "a name holds letters, digits, '_', '.' and '-'")
    elif _DURATIONS.search(key) or "is not a duration" in case.finding.message:
        text = duration_text(value)
        if text:
            yield case.replace(text, f"a duration is written {text!r}")
    elif key == "table" and isinstance(value, str):
        yield from _table(case, value)
    elif case.path[:1] == ("params",):
        yield from _param(case)
    yield from _limited(case, value)
    if isinstance(value, str) and value != value.strip():
        yield case.replace(value.strip(), "white space around the value")


def invalid_key(case: Case) -> Iterator[Proposal]:
    """Give a parameter or source a name that is allowed."""
    if case.there and isinstance(case.holder, dict):
        new = re.sub(r"[^A-Za-z0-9_]+", "_", case.key).strip("_")
        new = new if re.match(r"[A-Za-z_]", new) else f"p_{new}"
        if new and new not in case.holder:
            yield case.rename(new, "a name holds letters, digits and '_'")


def duration_text(value: object) -> str | None:
    """Return a duration as DataForge writes it ("5m"), whatever way it is written in; None when it is none."""
    if isinstance(value, Mapping):
        parts = [(amount, _UNITS.get(str(unit).lower())) for unit, amount in value.items()]
        if not all(unit and isinstance(amount, int | float) for amount, unit in parts):
            return None
        return _sum([(float(amount), str(unit)) for amount, unit in parts])
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    call = re.match(r"\A(?:datetime\.)?timedelta\((.*)\)\Z", text)
    if call:
        pairs = re.findall(r"(weeks|days|hours|minutes|seconds)\s*=\s*(\d+(?:\.\d+)?)", call[1])
        return _sum([(float(amount), _UNITS[unit] or "s") for unit, amount in pairs]) if pairs else None
    if clock := re.match(r"\A(\d{1,3}):([0-5]\d):([0-5]\d)\Z", text):
        return _sum([(float(clock[1]), "h"), (float(clock[2]), "m"), (float(clock[3]), "s")])
    if iso := re.match(r"\Ap(?:(\d+)w)?(?:(\d+)d)?(?:t(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?)?\Z", text):
        return _sum([(float(amount), unit) for amount, unit in zip(iso.groups(), "wdhms", strict=True) if amount])
    for word, digits in sorted(_NUMBERS.items(), key=lambda item: -len(item[0])):
        text = re.sub(rf"\b{word}\b", digits, text)
    if re.match(r"\A\d+(?:\.\d+)?\Z", text):
        return _sum([(float(text), "s")])
    found = re.findall(r"(\d+(?:\.\d+)?)\s*([a-zäöü]+)", text)
    rest = re.sub(r"(\d+(?:\.\d+)?)\s*([a-zäöü]+)|,|\band\b|\bund\b|\s", "", text)
    if not found or rest or not all(_UNITS.get(unit) for _, unit in found):
        return None
    return _sum([(float(amount), _UNITS[unit] or "s") for amount, unit in found])


def _sum(parts: list[tuple[float, str]]) -> str | None:
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    total = sum(amount * seconds[unit] for amount, unit in parts)
    if not 0 < total < 10**9:
        return None
    text = format_duration(timedelta(seconds=total))
    parse_duration(text)
    return text


def _schedule(case: Case, value: object) -> Iterator[Proposal]:
    if isinstance(value, Mapping):
        return
    text = str(value).strip() if value is not None else ""
    for new in schedules(text):
        reason = "a pipeline without a schedule runs by hand" if new is None else f"{text!r} is written {new!r}"
        yield case.replace(new, reason)
    if case.meant:
        yield case.replace(case.meant, f"the nearest schedule to {text!r} is {case.meant!r}")


def schedules(text: str) -> Iterator[str | None]:
    """Yield what a schedule that is written in another way may mean, None for runs by hand; only valid ones."""
    plain = re.sub(r"[\s_-]+", "", text.lower()).rstrip(".")
    if plain in _BY_HAND or not plain:
        yield None
        return
    if plain in _PRESETS or plain.lstrip("@") in _PRESETS:
        yield _PRESETS.get(plain) or _PRESETS[plain.lstrip("@")]
        return
    for found in (*_clock_times(text.lower()), *_crons(text), *_intervals(text)):
        try:
            yield check_schedule(found)
        except ValueError:
            continue
        return
    near = nearest(text if text.startswith("@") else f"@{text}", PRESETS, 0.8)
    if near and len(text.split()) == 1:
        yield near


def _intervals(text: str) -> Iterator[str]:
    inner = re.sub(r"(?i)\A(?:@every|every|each|alle|jede[nrs]?)\b\s*", "", text.strip())
    written = duration_text(inner if re.search(r"\d|\b(?:an?|one|half)\b|timedelta", inner) else f"1 {inner}")
    if written:
        yield f"every {written}"


def _clock_times(text: str) -> Iterator[str]:
    """Read "daily at 6", "every monday at 7:30 pm", "weekdays at 18:00" as cron."""
    at = re.search(r"(?:\bat|\bum|@)\s*(\d{1,2})(?:[:.h](\d{2}))?\s*(am|pm|uhr|o'clock)?(?=\s|,|\Z)", text)
    if not at:
        return
    hour, minute = int(at[1]), int(at[2] or 0)
    if at[3] == "pm" and hour < 12:
        hour += 12
    if at[3] == "am" and hour == 12:
        hour = 0
    before = f"{text[: at.start()]} {text[at.end() :]}"
    if hour > 23 or minute > 59:
        return
    if re.search(r"weekday|working day|werktag|mon(?:day)?\s*(?:-|to)\s*fri", before):
        yield f"{minute} {hour} * * 1-5"
    elif days := [number for number, day in enumerate(_DAYS) if re.search(rf"\b{day}s?\b", before)]:
        yield f"{minute} {hour} * * {','.join(map(str, days))}"
    elif re.search(r"daily|every ?day|each day|täglich|jeden tag|nightly|every night|every morning", before):
        yield f"{minute} {hour} * * *"
    elif re.search(r"monthly|every month", before):
        yield f"{minute} {hour} 1 * *"


def _crons(text: str) -> Iterator[str]:
    """Yield cron expressions that a broken one may mean, the plainest reading first."""
    joined = re.sub(
        r"\s*([,/])\s*", r"\1", re.sub(r"(?i)\A(?:cron\(|cron:|cron\s+)|\)\Z", "", text.strip()).strip("'\"` ")
    )
    joined = re.sub(r"(?<=[0-9A-Za-z])\s+-\s+(?=[0-9A-Za-z])", "-", joined).replace(";", " ")
    fields = joined.split()
    if len(fields) == 1 and re.match(r"\A[\d*/,_-]+(?:[_|:.][\d*/,-]+){4}\Z", joined):
        fields = re.split(r"[_|:.]", joined)
    if len(fields) in (6, 7) and re.match(r"\A0\Z", fields[0]) and "?" in fields:
        fields = fields[1:6]  # Quartz: seconds first, a year at the end
    if len(fields) == 4 and not any(re.search(r"[A-Za-z]", field) for field in fields):
        fields = [*fields, "*"]
    if len(fields) not in (5, 6):
        return
    fields[:5] = [_cron_field(index, field) for index, field in enumerate(fields[:5])]
    yield " ".join(fields)
    if len(fields) == 5 and re.match(r"\A\d+\Z", fields[0]) and re.match(r"\A\d+\Z", fields[1]):
        first, second = int(fields[0]), int(fields[1])
        if first <= 23 and second > 23 and second <= 59:
            yield " ".join([fields[1], fields[0], *fields[2:]])


def _cron_field(index: int, field: str) -> str:
    names = {4: _DAYS, 3: _MONTHS}.get(index, ())
    full = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ]
    for word in re.findall(r"[A-Za-zäöü]{3,}", field):
        lower = word.lower()
        if (index == 4 and (lower in names or lower.rstrip("s") in names or (lower[:3] in {d[:3] for d in _DAYS}))) or (
            index == 3 and lower in full
        ):
            field = field.replace(word, lower[:3])
        elif lower in ("weekday", "weekdays") and index == 4:
            field = field.replace(word, "1-5")
    if field in ("any", "every", "all", "x", "X", "-", "**"):
        return "*"
    if field == "*/" or field == "/":
        return "*"
    if match := re.match(r"\A/(\d+)\Z", field):
        return f"*/{match[1]}"
    if match := re.match(r"\A\*(\d+)\Z", field):
        return f"*/{match[1]}"
    over = {0: "60", 1: "24"}.get(index)
    if over and field == over:
        return "0"
    if over and field == f"*/{over}":
        return "0"
    return field


def _date(case: Case, value: object) -> Iterator[Proposal]:
    today = case.around.today
    for new in dates(value, today):
        yield case.replace(new, f"a date is written {new!r}")


def dates(value: object, today: date) -> Iterator[str]:
    """Yield what a date that is written in another way means, when there is one reading."""
    if isinstance(value, Mapping):
        if {*value} == {"year", "month", "day"}:
            yield from _made(value["year"], value["month"], value["day"])
        return
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return
    text = value.strip()
    lower = text.lower()
    ago = re.match(r"\A\{*\s*(?:airflow\.utils\.dates\.)?days_ago\((?:n\s*=\s*)?(\d{1,4})\)\s*\}*\Z", lower)
    ago = ago or re.match(r"\A(\d{1,4}) days? ago\Z", lower)
    if ago:
        yield (today - timedelta(days=int(ago[1]))).isoformat()
    elif lower in ("today", "now", "yesterday"):
        yield (today - timedelta(days=lower == "yesterday")).isoformat()
    elif call := re.match(
        r"\A(?:pendulum\.|datetime\.)?(?:datetime|date|today|local|date\.today)\((\d{4}),\s*(\d{1,2}),\s*(\d{1,2})\b[^)]*\)\Z",
        lower,
    ):
        yield from _made(call[1], call[2], call[3])
    elif ymd := re.match(r"\A(\d{4})[./ -](\d{1,2})[./ -](\d{1,2})\.?(?:[T ](\d{1,2}):(\d{2})(?::(\d{2}))?)?\Z", text):
        for day in _made(*ymd.groups()[:3]):
            hour, minute, second = (int(part or 0) for part in ymd.groups()[3:])
            yield f"{day}T{hour:02d}:{minute:02d}:{second:02d}" if ymd[4] else day
    elif packed := re.match(r"\A(\d{4})(\d{2})(\d{2})\Z", text):
        yield from _made(*packed.groups())
    elif dotted := re.match(r"\A(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4})\Z", text):
        yield from _made(dotted[3], dotted[2], dotted[1])
    elif slashed := re.match(r"\A(\d{1,2})[/-](\d{1,2})[/-](\d{4})\Z", text):
        first, second = int(slashed[1]), int(slashed[2])
        if first > 12 or first == second:
            yield from _made(slashed[3], second, first)
        elif second > 12:
            yield from _made(slashed[3], first, second)
    elif month := re.match(r"\A(\d{4})[-/](\d{1,2})\Z", text):
        yield from _made(month[1], month[2], 1)
    elif year := re.match(r"\A((?:19|20)\d{2})\Z", text):
        yield from _made(year[1], 1, 1)
    else:
        yield from _spelled(lower)


def _spelled(lower: str) -> Iterator[str]:
    words = re.findall(r"[a-zäöü]+|\d+", re.sub(r"(\d)(?:st|nd|rd|th)\b", r"\1", lower))
    months = [
        n
        for n, name in enumerate(_MONTHS, 1)
        for word in words
        if word.startswith((name, {"mar": "mär", "may": "mai", "oct": "okt", "dec": "dez"}.get(name, name)))
    ]
    numbers = [int(word) for word in words if word.isdigit()]
    years, days = [n for n in numbers if n > 1900], [n for n in numbers if n <= 31]
    if len(months) == 1 and len(years) == 1 and len(days) <= 1 and len(words) <= 4:
        yield from _made(years[0], months[0], days[0] if days else 1)


def _made(year: Any, month: Any, day: Any) -> Iterator[str]:
    try:
        yield date(int(year), int(month), int(day)).isoformat()
    except (ValueError, TypeError):
        return


def _timezone(case: Case, value: str) -> Iterator[Proposal]:
    text = value.strip()
    known = _ZONES.get(text.lower())
    if known:
        yield case.replace(known, f"{value!r} is {known!r}")
    zones = available_timezones()
    city = re.sub(r"[\s-]+", "_", text)
    same = [zone for zone in zones if zone.lower() == city.lower()]
    ends = [zone for zone in zones if zone.lower().endswith(f"/{city.lower()}") and "/" in zone and zone.count("/") < 3]
    ends = [zone for zone in ends if not zone.startswith(("posix/", "right/", "Etc/"))] or ends
    for zone in same or (ends if len(ends) == 1 else []):
        yield case.replace(zone, f"the time zone is called {zone!r}")
    names = [zone for zone in zones if "/" in zone and not zone.startswith(("posix", "right", "Etc", "SystemV"))]
    near = nearest(city, names, 0.85)
    if near:
        yield case.replace(near, f"the nearest time zone to {value!r} is {near!r}")


def _table(case: Case, value: str) -> Iterator[Proposal]:
    text = value.strip().rstrip(";").replace('"', "").replace("`", "").replace("[", "").replace("]", "")
    text = re.sub(r"\s*([./:])\s*", r"\1", text)
    candidates = [
        text,
        text.replace("/", ".").replace(":", "."),
        re.sub(r"\A(?:table|from)\s+", "", text, flags=re.IGNORECASE),
    ]
    parts = text.split(".")
    connection = case.holder.get("connection") if isinstance(case.holder, dict) else None
    if len(parts) == 3 and parts[0] in (
        connection,
        case.holder.get("database") if isinstance(case.holder, dict) else None,
    ):
        candidates.append(".".join(parts[1:]))
    for candidate in dict.fromkeys(candidates):
        try:
            check_table(candidate)
        except ValueError:
            continue
        if candidate != value:
            yield case.replace(candidate, "a table is written 'table' or 'schema.table', without quotes")
            return


def _param(case: Case) -> Iterator[Proposal]:
    param = case.value if isinstance(case.value, dict) else case.holder
    if not isinstance(param, dict) or "default" not in param:
        return
    default, kind = param["default"], param.get("type", "string")
    new: object = None
    if kind in ("integer", "number") and isinstance(default, str) and re.match(r"\A-?\d+(\.\d+)?\Z", default):
        new = float(default) if "." in default else int(default)
    elif kind == "boolean" and isinstance(default, str) and default.lower() in ("true", "false"):
        new = default.lower() == "true"
    elif kind == "string" and isinstance(default, int | float):
        new = str(default).lower() if isinstance(default, bool) else str(default)
    elif kind == "date":
        new = next(dates(default, case.around.today), None)
    if new is not None and new != default:
        from dataforge.authoring.editing import Operation
        from dataforge.authoring.fixers.case import under

        at = case.pointer if isinstance(case.value, dict) else case.holder_pointer
        yield Proposal((Operation("replace", under(at, "default"), new),), f"the default of a param of type {kind!r}")


def _limited(case: Case, value: object) -> Iterator[Proposal]:
    limit = re.search(r"must be at (least|most) (-?\d+(?:\.\d+)?),", case.finding.message)
    if not isinstance(value, int | float) or isinstance(value, bool) or not limit:
        return
    if case.key == "max_share" and 1 < value <= 100:
        yield case.replace(round(value / 100, 10), f"{value} per cent is a share of {value / 100:g}")
    elif case.key in _LIMITED:
        bound = float(limit[2])
        yield case.replace(
            int(bound) if bound.is_integer() else bound, f"{limit[2]} is the nearest value that is allowed"
        )
