"""The widening lattice (`components.lattice`) as SQL, so that the engine types millions of values on all cores.

`t` is always SQL for the text of a value, `v` SQL for the same value converted to the type in question.
"""

from __future__ import annotations

from dataforge.components.lattice import (
    BOOL,
    DATE,
    DAY_FORM,
    DECIMAL,
    FIXED_FORM,
    FLOAT,
    INEXACT,
    INSTANT_FORM,
    INT,
    INT_FORM,
    JSON,
    LOCAL_FORM,
    MAX_PRECISION,
    NUMBER_FORM,
    SAFE_DIGITS,
    TEXT,
    TIMESTAMP,
    TIMESTAMPTZ,
    WIDE,
)


def is_fixed(t: str) -> str:
    """Return SQL for whether the text `t` is a canonical number without exponent."""
    return f"regexp_full_match({t}, '{FIXED_FORM}')"


def text_seen(t: str, fixed: str) -> tuple[str, str, str]:
    """Return SQL for the kinds, digits and scale of the CSV field `t`; 0 or NULL where there is no value.

    `fixed` is `is_fixed(t)`, computed beforehand, since the engine would match it three times.
    """
    kinds = f"""CASE WHEN {t} IS NULL THEN 0
        WHEN {fixed} THEN {_fixed_kinds(t)}
        WHEN regexp_full_match({t}, '{NUMBER_FORM}') THEN {_float_kind(t)}
        WHEN lower({t}) = 'true' OR lower({t}) = 'false' THEN {BOOL}
        ELSE {string_kind(t)} END"""
    return kinds, f"CASE WHEN {fixed} THEN {_digits(t)} END", f"CASE WHEN {fixed} THEN {_scale(t)} END"


def is_fixed_json(j: str) -> str:
    """Return SQL for whether the JSON text `j` is a number without exponent."""
    return f"CASE WHEN ascii({j}) = 45 OR ascii({j}) BETWEEN 48 AND 57 THEN {is_fixed(j)} ELSE false END"


def json_seen(j: str, fixed: str) -> tuple[str, str, str]:
    """Return SQL for the kinds, digits and scale of the JSON text `j`; its first character tells the kind.

    DuckDB reads JSON numbers with a fraction as doubles and whole numbers exactly, of any length.
    """
    first = f"ascii({j})"
    inner = f"substr({j}, 2, length({j}) - 2)"
    fraction = f"CASE WHEN {_significant(j)} <= {SAFE_DIGITS} THEN {DECIMAL} ELSE {FLOAT} END"
    kinds = f"""CASE WHEN {j} IS NULL OR {first} = 110 THEN 0
        WHEN {first} = 34 THEN CASE WHEN {j} LIKE '"____-__-__%' THEN {string_kind(inner)} ELSE {TEXT} END
        WHEN {fixed} THEN CASE WHEN contains({j}, '.') THEN {fraction} ELSE {_fixed_kinds(j)} END
        WHEN {first} = 116 OR {first} = 102 THEN {BOOL}
        WHEN {first} = 123 OR {first} = 91 THEN {JSON}
        WHEN regexp_full_match({j}, '{NUMBER_FORM}') THEN {_float_kind(j)}
        ELSE {TEXT} END"""
    counted = f"{fixed} AND NOT (contains({j}, '.') AND {_significant(j)} > {SAFE_DIGITS})"
    return kinds, f"CASE WHEN {counted} THEN {_digits(j)} END", f"CASE WHEN {counted} THEN {_scale(j)} END"


def _significant(t: str) -> str:
    return f"strlen(ltrim(replace({t}, '.', ''), '-0'))"


def _exact(t: str) -> str:
    return f"({_significant(t)} <= {SAFE_DIGITS} OR CAST(TRY_CAST({t} AS DOUBLE) AS VARCHAR) IS NOT DISTINCT FROM {t})"


def _fixed_kinds(t: str) -> str:
    kind = (
        f"CASE WHEN contains({t}, '.') THEN {DECIMAL} WHEN TRY_CAST({t} AS BIGINT) IS NULL THEN {WIDE} ELSE {INT} END"
    )
    return f"({kind} + CASE WHEN {_exact(t)} THEN 0 ELSE {INEXACT} END)"


def _kept(t: str) -> str:
    """SQL: whether a number with an exponent neither overflows nor vanishes in a double."""
    value = f"TRY_CAST({t} AS DOUBLE)"
    return f"(isfinite({value}) AND ({value} <> 0 OR NOT regexp_matches({t}, '^[^eE]*[1-9]')))"


def _float_kind(t: str) -> str:
    return f"CASE WHEN coalesce({_kept(t)}, false) THEN {FLOAT} ELSE {TEXT} END"


def _digits(t: str) -> str:
    return f"strlen(ltrim(split_part({t}, '.', 1), '-0'))"


def _scale(t: str) -> str:
    return f"strlen(split_part({t}, '.', 2))"


def string_kind(t: str) -> str:
    """Return SQL for the kind of a text that is no number: date, timestamp, instant or text."""
    day = f"TRY_CAST(left({t}, 10) AS DATE) BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'"
    edge = f"(left({t}, 4) IN ('0001', '9999') AND substr({t}, 6, 5) IN ('01-01', '12-31'))"
    return f"""CASE WHEN {t} NOT LIKE '____-__-__%' OR NOT coalesce({day}, false) THEN {TEXT}
        WHEN regexp_full_match({t}, '{DAY_FORM}') THEN {DATE}
        WHEN regexp_full_match({t}, '{LOCAL_FORM}') THEN {TIMESTAMP}
        WHEN regexp_full_match({t}, '{INSTANT_FORM}') AND NOT {edge} THEN {TIMESTAMPTZ}
        ELSE {TEXT} END"""


def misfit(type_: str, t: str, v: str) -> str | None:
    """Return SQL that is true where the field `t` is not exactly `v` of that type; None for text.

    The cheapest test that settles most values comes first, mostly the way back to text (`CAST(v AS VARCHAR) = t`).
    """
    back = f"CAST({v} AS VARCHAR) IS DISTINCT FROM {t}"
    if type_ == "VARCHAR":
        return None
    if type_ == "BOOLEAN":
        return f"({t} <> 'true' AND {t} <> 'false' AND CAST({v} AS VARCHAR) IS DISTINCT FROM lower({t}))"
    if type_ == "BIGINT" or type_ == f"DECIMAL({MAX_PRECISION},0)":
        return f"({back} AND {t} IS DISTINCT FROM '-0')"
    if type_.startswith("DECIMAL"):
        scale = type_.rstrip(")").split(",")[1]
        return f"({back} AND ({v} IS NULL OR NOT regexp_full_match({t}, '{INT_FORM}(\\.[0-9]{{1,{scale}}})?')))"
    if type_ == "DOUBLE":
        number = (
            f"regexp_full_match({t}, '{NUMBER_FORM}') AND CASE WHEN contains(lower({t}), 'e') THEN {_kept(t)} "
            f"ELSE {_exact(t)} END"
        )
        # Writing doubles out is slow, so what is short goes by its form.
        short = f"strlen({t}) <= {SAFE_DIGITS} AND {is_fixed(t)}"
        return f"(NOT ({short}) AND ({back} OR NOT isfinite({v})) AND NOT coalesce({number}, false))"
    if type_ == "DATE":
        return f"({back} OR {v} NOT BETWEEN DATE '0001-01-01' AND DATE '9999-12-31')"
    low, high = "'0001-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'"
    if type_ == "TIMESTAMP":
        form = f"regexp_full_match({t}, '{DAY_FORM}|{LOCAL_FORM}')"
        return f"(({back} AND ({v} IS NULL OR NOT {form})) OR {v} NOT BETWEEN TIMESTAMP {low} AND TIMESTAMP {high})"
    if type_ == "TIMESTAMPTZ":
        return f"({t} IS NOT NULL AND ({v} IS NULL OR ({string_kind(t)}) <> {TIMESTAMPTZ}))"
    raise ValueError(f"{type_!r} is no type that a text can be inferred as")


def json_parts(type_: str, j: str) -> tuple[str, str]:
    """Return SQL for the text inside a JSON value and for that text as the type, both for `json_misfit`."""
    inner = f"substr({j}, 2, length({j}) - 2)" if type_ in ("DATE", "TIMESTAMP", "TIMESTAMPTZ") else j
    return inner, f"TRY_CAST({inner} AS {type_})" if type_ not in ("VARCHAR", "JSON", "BOOLEAN") else "NULL"


def json_misfit(type_: str, j: str, t: str, v: str) -> str | None:
    """Return SQL that is true where the JSON text `j` (NULL for null) may be no `type_`; None for text.

    `t` and `v` are columns made by `json_parts`. True is not yet a proof that a wider type is needed.
    """
    if type_ == "VARCHAR":
        return None
    if type_ == "BOOLEAN":
        return f"({j} <> 'true' AND {j} <> 'false')"
    if type_ == "JSON":
        return f"(ascii({j}) <> 123 AND ascii({j}) <> 91)"
    if type_ == "DOUBLE":
        number = f"regexp_full_match({j}, '{NUMBER_FORM}') AND isfinite({v})"
        plain = f"contains({j}, '.') OR strlen({j}) <= {SAFE_DIGITS}"
        kept = f"(CASE WHEN contains({j}, 'e') THEN {_kept(j)} ELSE {plain} END)"
        return f"({j} IS NOT NULL AND NOT coalesce({number} AND {kept}, false))"
    bad = misfit(type_, t, v)
    if type_.startswith("DECIMAL") and not type_.endswith(",0)"):
        return f"({bad} OR (strlen({j}) > {SAFE_DIGITS + 1} AND contains({j}, '.')))"
    if type_ in ("DATE", "TIMESTAMP", "TIMESTAMPTZ"):
        return f"(ascii({j}) <> 34 OR {bad})"
    return bad
