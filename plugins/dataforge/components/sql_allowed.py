"""What SQL in a config may call and be made of: the published lists.

Pure functions only: nothing that reads files, the environment, the catalog or settings, nothing random, nothing that
sleeps or writes. A name that is not listed is a finding, so a new engine version can't widen what a config may say.
"""

from __future__ import annotations

SCALARS = frozenset(
    """
    abs acos acosh add age array_append array_cat array_concat array_contains array_distinct array_extract
    array_filter array_has array_has_all array_has_any array_indexof array_intersect array_length array_pop_back
    array_pop_front array_position array_prepend array_push_back array_push_front array_resize array_reverse
    array_reverse_sort array_slice array_sort array_to_json array_to_string array_transform array_unique
    array_value array_zip ascii asin asinh atan atan2 atanh bar base64 bin bit_count bit_length cardinality cbrt
    ceil ceiling century char_length character_length chr coalesce concat concat_ws contains cos cosh cot
    current_date current_localtime current_localtimestamp current_time current_timestamp damerau_levenshtein
    date_add date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname dayofmonth
    dayofweek dayofyear days_in_month decade decode degrees divide element_at encode ends_with epoch epoch_ms
    epoch_ns epoch_us era even exp factorial fdiv flatten floor fmod format format_bytes from_base64 from_binary
    from_hex gamma gcd get_bit get_current_time get_current_timestamp greatest greatest_common_divisor hamming
    hash hex hour if ifnull instr isfinite isinf isnan isodow isoyear jaccard jaro_similarity
    jaro_winkler_similarity json json_array json_array_length json_contains json_exists json_extract
    json_extract_path json_extract_path_text json_extract_string json_keys json_merge_patch json_object
    json_pretty json_quote json_structure json_type json_valid json_value julian last_day lcase lcm least
    least_common_multiple left left_grapheme len length length_grapheme levenshtein lgamma list_append list_avg
    list_cat list_concat list_contains list_count list_distinct list_element list_extract list_filter list_first
    list_has list_has_all list_has_any list_indexof list_intersect list_last list_max list_median list_min
    list_pack list_position list_prepend list_product list_resize list_reverse list_reverse_sort list_slice
    list_sort list_sum list_transform list_unique list_value list_where list_zip ln log log10 log2 lower lpad
    ltrim make_date make_time make_timestamp make_timestamp_ms make_timestamp_ns make_timestamptz map map_concat
    map_contains map_entries map_extract map_extract_value map_from_entries map_keys map_values md5 md5_number
    microsecond millennium millisecond minute mismatches mod month monthname multiply nanosecond nextafter
    nfc_normalize now nullif octet_length ord parse_dirname parse_dirpath parse_filename pi position pow power
    prefix printf quarter radians regexp_escape regexp_extract regexp_extract_all regexp_full_match
    regexp_matches regexp_replace regexp_split_to_array repeat replace reverse right right_grapheme round
    round_even roundbankers row rpad rtrim second sha1 sha256 sign signbit sin sinh split split_part sqrt
    starts_with str_split str_split_regex strftime string_split string_split_regex string_to_array strip_accents
    strlen strpos strptime struct_concat struct_extract struct_insert struct_keys struct_pack struct_values
    substr substring substring_grapheme subtract suffix tan tanh time_bucket timezone timezone_hour
    timezone_minute to_base to_base64 to_binary to_centuries to_days to_decades to_hex to_hours to_json
    to_microseconds to_milliseconds to_minutes to_months to_quarters to_seconds to_timestamp to_weeks to_years
    today transaction_timestamp translate trim trunc try_strptime typeof ucase unbin unhex unicode union_extract
    union_tag unnest upper url_decode url_encode uuid_extract_timestamp uuid_extract_version week weekday
    weekofyear xor year yearweek
    """.split()
)
"""Scalar functions, by DuckDB's names."""

AGGREGATES = frozenset(
    """
    any_value approx_count_distinct approx_quantile arbitrary arg_max arg_max_null arg_min arg_min_null argmax
    argmin array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count count_if count_star countif
    covar_pop covar_samp entropy favg first fsum geomean geometric_mean group_concat histogram json_group_array
    json_group_object kahan_sum kurtosis kurtosis_pop last list listagg mad max max_by mean median min min_by
    mode product quantile quantile_cont quantile_disc regr_avgx regr_avgy regr_count regr_intercept regr_r2
    regr_slope regr_sxx regr_sxy regr_syy sem skewness stddev stddev_pop stddev_samp string_agg sum sumkahan
    var_pop var_samp variance wavg weighted_avg
    """.split()
)
"""Aggregate functions; they stand in `aggregate`, or anywhere with `over (…)`."""

WINDOWS = frozenset(
    """
    cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank rank_dense row_number
    """.split()
)
"""Functions that need `over (…)`."""

FUNCTIONS = SCALARS | AGGREGATES | WINDOWS

FUNCTION_NODES = frozenset(
    """
    Abs Acos Acosh And AnyValue ApproxDistinct ApproxQuantile ArgMax ArgMin Array ArrayAgg ArrayAppend
    ArrayConcat ArrayContains ArrayContainsAll ArrayDistinct ArrayFilter ArrayIntersect ArrayMax ArrayMin
    ArrayOverlaps ArrayPosition ArrayPrepend ArrayReverse ArraySize ArraySlice ArraySort ArrayToString Ascii
    Asin Asinh Atan Atan2 Atanh Avg BitLength BitwiseAndAgg BitwiseOrAgg BitwiseXorAgg Case Cast Cbrt Ceil Chr
    Coalesce Concat ConcatWs Contains Corr Cos Cosh Cot Count CountIf CovarPop CovarSamp CumeDist CurrentDate
    CurrentTime CurrentTimestamp CurrentTimestampLTZ DateAdd DateBin DateDiff DateFromParts Day DayOfMonth
    DayOfWeek DayOfWeekIso DayOfYear Dayname Decode Degrees DenseRank Encode EndsWith Exists Exp Explode Extract
    Factorial First FirstValue Flatten Floor Format FromBase64 Getbit Greatest GroupConcat Hex Hour If IsInf
    IsNan JSONArray JSONExtract JSONExtractArray JSONExtractScalar JSONKeys JSONObject JSONType
    JarowinklerSimilarity Kurtosis Lag Last LastDay LastValue Lead Least Left Length Levenshtein Ln
    Localtimestamp Log LogicalAnd LogicalOr Lower MD5 Map MapFromEntries MapKeys Max Median Min Minute Mode
    Month Monthname NthValue Ntile Nullif Or Pad ParseJSON PercentRank PercentileCont PercentileDisc Pi Pow
    Quantile Quarter Radians Rank RegexpExtract RegexpExtractAll RegexpFullMatch RegexpLike RegexpReplace
    RegexpSplit RegrAvgx RegrAvgy RegrCount RegrIntercept RegrR2 RegrSlope RegrSxx RegrSxy RegrSyy Repeat
    Replace Reverse Right Round RowNumber SHA SHA2 Second Sign Sin Sinh Skewness Split SplitPart Sqrt StartsWith
    Stddev StddevPop StddevSamp StrPosition StrToDate StrToTime Struct StructExtract Substring Sum Tan Tanh
    TimeFromParts TimeToStr TimeToUnix TimestampFromParts TimestampTrunc ToBase64 ToBinary ToDays ToMap
    Transform Translate Trim Trunc TryCast Typeof Unhex Unicode UnixToTime Unnest Upper Variance VariancePop
    Week WeekOfYear Xor Year
    """.split()
)
"""SQLGlot's classes for the functions above that it knows; the others arrive as `Anonymous` with their name."""

EXPRESSION_NODES = frozenset(
    """
    Add All Anonymous Any AtTimeZone Between BitwiseAnd BitwiseLeftShift BitwiseNot BitwiseOr BitwiseRightShift
    BitwiseXor Boolean Bracket Column ColumnDef Distinct Div Dot DPipe DataType DataTypeParam EQ Escape Filter GT GTE
    Glob ILike Identifier IgnoreNulls In IntDiv Interval Is JSONPath JSONPathKey JSONPathRoot JSONPathSubscript
    JSONPathWildcard LT LTE Lambda Like Literal Mod Mul NEQ Neg Not Null NullSafeEQ NullSafeNEQ Order Ordered Paren
    PropertyEQ RespectNulls SimilarTo Slice Star Sub Tuple Var Where Window WindowSpec WithinGroup
    """.split()
)
"""SQLGlot's classes for the operators and clauses that an expression may hold besides functions."""

QUERY_NODES = frozenset(
    """
    Alias CTE Columns Cube Except From Group GroupingSets Having Intersect Join Lateral Limit Offset Qualify Rollup
    Select Subquery Table TableAlias Tuple Union Values With
    """.split()
)
"""SQLGlot's classes for what a query, or a subquery in an expression, may hold besides."""

TYPES = (
    "bigint",
    "blob",
    "boolean",
    "char",
    "date",
    "datetime",
    "decimal",
    "double",
    "float",
    "hugeint",
    "int",
    "integer",
    "interval",
    "json",
    "numeric",
    "real",
    "smallint",
    "string",
    "text",
    "time",
    "timetz",
    "timestamp",
    "timestamp_ms",
    "timestamp_ns",
    "timestamp_s",
    "timestamptz",
    "timestamp with time zone",
    "tinyint",
    "ubigint",
    "uhugeint",
    "uinteger",
    "usmallint",
    "utinyint",
    "uuid",
    "varchar",
)
"""Names of types; besides them `T[]`, `struct(name T, …)` and `map(K, V)` of them."""

TYPE_NODES = frozenset(
    """
    ARRAY BIGINT BLOB VARBINARY BOOLEAN CHAR DATE DATETIME DECIMAL DOUBLE FLOAT INT128 INT INTERVAL JSON LIST MAP
    SMALLINT STRUCT TEXT TIME TIMETZ TIMESTAMP TIMESTAMPNTZ TIMESTAMP_MS TIMESTAMP_NS TIMESTAMP_S TIMESTAMPTZ TINYINT
    UBIGINT UINT128 UINT USMALLINT UTINYINT UUID VARCHAR
    """.split()
)
"""SQLGlot's names of these types."""
