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


def text_seen(t: str) -> tuple[str, str, str]:
    """Return SQL for the kinds, digits and scale of the CSV field `t`; 0 or NULL where there is no value."""
    kinds = f"""CASE WHEN {t} IS NULL THEN 0
        WHEN regexp_full_match({t}, '{FIXED_FORM}') THEN {_fixed_kinds(t)}
        WHEN regexp_full_match({t}, '{NUMBER_FORM}') THEN {_float_kind(t)}
        WHEN lower({t}) = 'true' OR lower({t}) = 'false' THEN {BOOL}
        ELSE {string_kind(t)} END"""
    return (
        kinds,
        f"CASE WHEN regexp_full_match({t}, '{FIXED_FORM}') THEN {_digits(t)} END",
        (f"CASE WHEN regexp_full_match({t}, '{FIXED_FORM}') THEN {_scale(t)} END"),
    )


def json_seen(j: str, s: str) -> tuple[str, str, str]:
    """Return SQL for the kinds, digits and scale of a JSON value: `j` the value as JSON, `s` its text unquoted.

    DuckDB reads JSON numbers with a fraction as doubles and whole numbers exactly, of any length.
    """
    number = f"json_type({j}) IN ('UBIGINT', 'BIGINT', 'HUGEINT', 'DOUBLE')"
    kinds = f"""CASE json_type({j}) WHEN 'NULL' THEN 0 WHEN 'BOOLEAN' THEN {BOOL}
        WHEN 'OBJECT' THEN {JSON} WHEN 'ARRAY' THEN {JSON}
        WHEN 'VARCHAR' THEN {string_kind(s)}
        ELSE CASE WHEN {j} IS NULL THEN 0
             WHEN regexp_full_match({s}, '{INT_FORM}') THEN {_fixed_kinds(s)}
             WHEN regexp_full_match({s}, '{FIXED_FORM}') THEN CASE WHEN {_significant(s)} <= {SAFE_DIGITS}
                  THEN {DECIMAL} ELSE {FLOAT} END
             WHEN regexp_full_match({s}, '{NUMBER_FORM}') THEN {_float_kind(s)} ELSE {TEXT} END END"""
    long = f"({_significant(s)} > {SAFE_DIGITS} AND contains({s}, '.'))"
    fixed = f"{number} AND regexp_full_match({s}, '{FIXED_FORM}') AND NOT {long}"
    return kinds, f"CASE WHEN {fixed} THEN {_digits(s)} END", f"CASE WHEN {fixed} THEN {_scale(s)} END"


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
    return f"""CASE WHEN {t} NOT LIKE '____-__-__%' THEN {TEXT}
        WHEN regexp_full_match({t}, '{DAY_FORM}') THEN CASE WHEN {day} THEN {DATE} ELSE {TEXT} END
        WHEN regexp_full_match({t}, '{LOCAL_FORM}') THEN CASE WHEN {day} THEN {TIMESTAMP} ELSE {TEXT} END
        WHEN regexp_full_match({t}, '{INSTANT_FORM}')
             THEN CASE WHEN {day} AND NOT {edge} THEN {TIMESTAMPTZ} ELSE {TEXT} END
        ELSE {TEXT} END"""


def misfit(type_: str, t: str, v: str) -> str | None:
    """Return SQL that is true where the field `t` is not exactly `v` of that type; None for text.

    The way back to text (`CAST(v AS VARCHAR) = t`) settles most values; only others meet a pattern.
    """
    back = f"CAST({v} AS VARCHAR) IS DISTINCT FROM {t}"
    if type_ == "VARCHAR":
        return None
    if type_ == "BOOLEAN":
        return f"CAST({v} AS VARCHAR) IS DISTINCT FROM lower({t})"
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
        return f"(({back} OR NOT isfinite({v})) AND NOT coalesce({number}, false))"
    if type_ == "DATE":
        return f"({back} OR {v} NOT BETWEEN DATE '0001-01-01' AND DATE '9999-12-31')"
    low, high = "'0001-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'"
    if type_ == "TIMESTAMP":
        form = f"regexp_full_match({t}, '{DAY_FORM}|{LOCAL_FORM}')"
        return f"(({back} AND ({v} IS NULL OR NOT {form})) OR {v} NOT BETWEEN TIMESTAMP {low} AND TIMESTAMP {high})"
    if type_ == "TIMESTAMPTZ":
        return f"({t} IS NOT NULL AND ({v} IS NULL OR ({string_kind(t)}) <> {TIMESTAMPTZ}))"
    raise ValueError(f"{type_!r} is no type that a text can be inferred as")
