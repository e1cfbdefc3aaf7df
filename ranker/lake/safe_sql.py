"""What a statement that somebody typed may do: read the lake's tables with functions that compute, and
nothing else.

DuckDB parses the statement and gives its tree, of which every node is walked. Kinds of nodes, functions and
tables are admitted by name; what is on no list is refused, so that a new version of DuckDB opens nothing by
itself. A list of what is forbidden would always lag: in DuckDB an innocent SELECT reads files
(`from 'x.csv'`, `read_text`, `glob`), runs other SQL (`query`, `json_execute_serialized_sql`), writes
(`checkpoint`, `enable_logging`) or deletes (`ducklake_cleanup_old_files`, even on a lake attached read-only).

Text in, verdict out: parsing and the names of the lake's relations come from the caller.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from ranker.errors import BadQuery
from ranker.types import JsonObject

LAKE = "lake"
"""The name under which a lake is attached."""
Relation = tuple[str, str]
"""Schema and name, in lower case."""
Parse = Callable[[str], JsonObject]
"""A statement's tree, as DuckDB's `json_serialize_sql` gives it."""
REMEDY = "give one SELECT; `show tables` and `describe <table>` say what there is"


def names(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


FUNCTIONS = names("""
    !__postfix !~~ !~~* % & && * ** + - ->> / // << <-> <=> <@ >> @ @> ^ ^@ | || ~ ~~ ~~* ~~~

    any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max arg_max_null
    arg_max_nulls_last arg_min arg_min_null arg_min_nulls_last argmax argmin array_agg avg bit_and
    bit_or bit_xor bitstring_agg bool_and bool_or corr count count_if count_star countif covar_pop
    covar_samp entropy favg first fsum geomean geometric_mean group_concat histogram histogram_exact
    is_histogram_other_bin json_group_array json_group_object json_group_structure kahan_sum
    kurtosis kurtosis_pop last list listagg mad max max_by mean median min min_by mode product
    quantile quantile_cont quantile_disc regr_avgx regr_avgy regr_count regr_intercept regr_r2
    regr_slope regr_sxx regr_sxy regr_syy reservoir_quantile sem skewness stddev stddev_pop
    stddev_samp string_agg sum sum_no_overflow sumkahan var_pop var_samp variance weighted_avg wavg

    cume_dist dense_rank fill first_value lag last_value lead nth_value ntile percent_rank rank
    rank_dense row_number

    abs acos acosh add asin asinh atan atan2 atanh bit_count bit_length bit_position cbrt ceil
    ceiling cos cosh cot degrees divide equi_width_bins even exp factorial fdiv floor fmod gamma gcd
    get_bit greatest greatest_common_divisor isfinite isinf isnan lcm least least_common_multiple
    lgamma ln log log10 log2 mod multiply nextafter pi pow power radians random round round_even
    roundbankers set_bit sign signbit sin sinh sqrt subtract tan tanh trunc uuid gen_random_uuid
    uuidv4 uuidv7 xor

    array_to_string array_to_string_comma_default ascii bar base64 bin bitstring char_length
    character_length chr concat concat_ws contains damerau_levenshtein decode editdist3 encode
    ends_with format format_bytes formatreadabledecimalsize formatreadablesize from_base64
    from_binary from_hex hamming hash hex ilike_escape instr jaccard jaro_similarity
    jaro_winkler_similarity lcase left left_grapheme len length length_grapheme levenshtein
    like_escape lower lpad ltrim md5 md5_number md5_number_lower md5_number_upper mismatches
    nfc_normalize not_ilike_escape not_like_escape octet_length ord parse_dirname parse_dirpath
    parse_duckdb_log_message parse_filename parse_formatted_bytes parse_path position prefix printf
    regexp_escape regexp_extract regexp_extract_all regexp_full_match regexp_matches regexp_replace
    regexp_split_to_array regexp_split_to_table repeat replace reverse right right_grapheme rpad
    rtrim sha1 sha256 split split_part starts_with str_split str_split_regex string_split
    string_split_regex string_to_array strip_accents strlen strpos substr substring
    substring_grapheme suffix to_base to_base64 to_binary to_hex translate trim try_strptime ucase
    unbin unhex unicode upper url_decode url_encode

    age ago century current_date current_localtime current_localtimestamp date_add date_diff
    date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname dayofmonth
    dayofweek dayofyear days_in_month decade epoch epoch_ms epoch_ns epoch_us era get_current_time
    get_current_timestamp hour isodow isoyear julian last_day make_date make_time make_timestamp
    make_timestamp_ms make_timestamp_ns make_timestamptz microsecond millennium millisecond minute
    month monthname nanosecond normalized_interval now quarter second strftime strptime time_bucket
    timetz_byte_comparable timezone timezone_hour timezone_minute to_centuries to_days to_decades
    to_hours to_microseconds to_millennia to_milliseconds to_minutes to_months to_quarters
    to_seconds to_timestamp to_weeks to_years today transaction_timestamp week weekday weekofyear
    year yearweek

    aggregate apply array_aggr array_aggregate array_append array_apply array_cat array_concat
    array_contains array_cosine_distance array_cosine_similarity array_cross_product array_distance
    array_distinct array_dot_product array_extract array_filter array_grade_up array_has
    array_has_all array_has_any array_indexof array_inner_product array_intersect array_length
    array_negative_dot_product array_negative_inner_product array_pop_back array_pop_front
    array_position array_prepend array_push_back array_push_front array_reduce array_resize
    array_reverse array_reverse_sort array_select array_slice array_sort array_transform
    array_unique array_value array_where array_zip cardinality element_at filter flatten
    generate_series generate_subscripts grade_up list_aggr list_aggregate list_any_value list_append
    list_apply list_approx_count_distinct list_avg list_bit_and list_bit_or list_bit_xor
    list_bool_and list_bool_or list_cat list_concat list_contains list_cosine_distance
    list_cosine_similarity list_count list_distance list_distinct list_dot_product list_element
    list_entropy list_extract list_filter list_first list_grade_up list_has list_has_all
    list_has_any list_histogram list_indexof list_inner_product list_intersect list_kurtosis
    list_kurtosis_pop list_last list_mad list_max list_median list_min list_mode
    list_negative_dot_product list_negative_inner_product list_pack list_position list_prepend
    list_product list_reduce list_resize list_reverse list_reverse_sort list_select list_sem
    list_skewness list_slice list_sort list_stddev_pop list_stddev_samp list_string_agg list_sum
    list_transform list_unique list_value list_var_pop list_var_samp list_where list_zip range
    reduce unnest unpivot_list

    map map_concat map_contains map_contains_entry map_contains_value map_entries map_extract
    map_extract_value map_from_entries map_keys map_to_pg_oid map_values remap_struct row
    struct_concat struct_contains struct_extract struct_extract_at struct_has struct_indexof
    struct_insert struct_keys struct_pack struct_position struct_update struct_values union_extract
    union_tag union_value

    array_to_json from_json from_json_strict json json_array json_array_length json_contains
    json_exists json_extract json_extract_path json_extract_path_text json_extract_string json_keys
    json_merge_patch json_object json_pretty json_quote json_structure json_transform
    json_transform_strict json_type json_valid json_value row_to_json to_json

    alias can_cast_implicitly cast_to_type constant_or_null current_catalog current_database
    current_schema enum_code enum_first enum_last enum_range enum_range_boundary fmod in_search_path
    nullif typeof uuid_extract_timestamp uuid_extract_version variant_extract variant_typeof version
    """)
"""Functions, aggregates, operators and macros of DuckDB that compute from their arguments, and that alone."""
TABLE_FUNCTIONS = names("""
    duckdb_columns duckdb_constraints duckdb_functions duckdb_keywords duckdb_schemas duckdb_tables
    duckdb_types duckdb_views generate_series json_each json_tree range repeat repeat_row unnest
    current_snapshot last_committed_snapshot snapshots table_changes table_deletions table_info
    table_insertions ducklake_current_snapshot ducklake_last_committed_snapshot ducklake_snapshots
    ducklake_table_changes ducklake_table_deletions ducklake_table_info ducklake_table_insertions
    """)
"""Table functions that make rows from their arguments, or read what the catalogs say of tables."""
SYSTEM_VIEWS = names("""
    duckdb_columns duckdb_constraints duckdb_schemas duckdb_tables duckdb_types duckdb_views
    """)
SCHEMA_VIEWS = names("""
    columns key_column_usage referential_constraints schemata table_constraints tables views
    """)
"""Of the schema information_schema."""
SHOWN = frozenset({'"tables"', '"schemas"', '"databases"', "__show_tables_expanded"})
"""What `show` lists, in DuckDB's words. To show or describe a relation is a query of it in the tree."""
_EXPRESSIONS = names("""
    BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT DEFAULT FUNCTION LAMBDA
    LAMBDA_REF OPERATOR PARAMETER POSITIONAL_REFERENCE STAR SUBQUERY TYPE WINDOW
    """)
"""Classes of expressions."""
_KINDS = names("""
    SELECT_NODE SET_OPERATION_NODE RECURSIVE_CTE_NODE CTE_NODE EMPTY BASE_TABLE SUBQUERY JOIN
    TABLE_FUNCTION EXPRESSION_LIST PIVOT SHOW_REF ORDER_MODIFIER LIMIT_MODIFIER DISTINCT_MODIFIER
    LIMIT_PERCENT_MODIFIER ORDER_DEFAULT ASCENDING DESCENDING
    """)
"""Types of what is no expression: query nodes, table references, modifiers, orders."""
_TYPES = "_TYPE_INFO"
"""How the types of the parts of a logical type end: they hold types, and no expressions but constants."""
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


_NAME = r'(?:\w+|"\w+")'
_CREATED = re.compile(
    rf"CREATE VIEW (?:{_NAME}\.)*{_NAME} (?:\({_NAME}(?:, {_NAME})*\) )?AS (?P<select>.*?);?",
    re.DOTALL | re.ASCII,
)
"""A view's definition in DuckDB's own words. A name that needs more than word characters matches nothing, so
that no name can bring a SELECT of its own.
"""


@dataclass(frozen=True, slots=True)
class Relations:
    """What the lake holds at the snapshot that is read."""

    tables: frozenset[Relation]
    views: Mapping[Relation, str]
    """The SELECT of each (they are walked like a statement); empty where it cannot be told."""
    hiding: frozenset[Relation]
    """Functions that somebody has defined in the lake under the name of one of DuckDB's: they would go first,
    in what people ask and in what DuckDB itself makes of `show`, `summarize` or `[x for …]`.
    """


def relations(found: Iterable[tuple[str, str, str, str | None]]) -> Relations:
    """The rows of `sql/lake/readable.sql`: kind, schema, name, definition."""
    tables: set[Relation] = set()
    views: dict[Relation, str] = {}
    hiding: set[Relation] = set()
    for kind, schema, name, definition in found:
        relation = _lower(schema), _lower(name)
        if kind == "table":
            tables.add(relation)
        elif kind == "view":
            created = _CREATED.fullmatch(definition or "")
            views[relation] = created["select"] if created else ""
        else:
            hiding.add(relation)
    return Relations(frozenset(tables), views, frozenset(hiding))


def require_reading(sql: str, parse: Parse, relations: Relations) -> None:
    """Whether `sql`, and every view that it reads, does nothing but read the lake.

    Raises:
        BadQuery: it does more; `seen` names the function, the table or the kind of statement.
    """
    if "\0" in sql:
        raise BadQuery(
            "a query is text without a null character, where DuckDB would stop reading",
            seen=repr(sql)[:200],
            remedy=REMEDY,
        )
    for schema, name in sorted(relations.hiding):
        raise BadQuery(
            "no function of the lake bears the name of one of DuckDB's",
            seen=f"{schema}.{name}, which would be called in its place",
            remedy=f"ask who made it, and `drop macro` or `drop macro table` {LAKE}.{schema}.{name}",
        )
    pending: list[tuple[str, str]] = [("", sql)]
    walked: set[Relation] = set()
    while pending:
        origin, text = pending.pop()
        walk = _Walk(relations, origin)
        walk.through(parse(text))
        for schema, name in walk.views - walked:
            body = relations.views[schema, name]
            if not body:
                raise walk.refusal(f"view {name}, whose definition cannot be told")
            pending.append((f"view {name}: ", body))
        walked |= walk.views


class _Walk:
    """One statement's tree; `views` are those that it reads. `origin` stands before what is refused."""

    def __init__(self, relations: Relations, origin: str) -> None:
        self._relations, self._origin = relations, origin
        self.views: set[Relation] = set()

    def through(self, tree: object) -> None:
        """Walk all of it, in a loop: nesting as deep as DuckDB's parser takes must not end in a
        RecursionError.
        """
        pending: list[tuple[object, frozenset[str]]] = [(tree, frozenset())]
        while pending:
            node, ctes = pending.pop()
            if isinstance(node, list):
                pending.extend((part, ctes) for part in reversed(node))
            elif isinstance(node, dict):
                pending.extend(self._parts(node, ctes))

    def _parts(self, node: JsonObject, ctes: frozenset[str]) -> Iterator[tuple[object, frozenset[str]]]:
        """What lies below a node that is admitted, each part with the names of the CTEs that it sees."""
        self._require_known(node)
        kind = node.get("type")
        if kind == "BASE_TABLE":
            self._require_table(node, ctes)
        elif kind == "SHOW_REF":
            self._require_shown(node)
        elif kind == "TABLE_FUNCTION":
            node = self._table_function(node)
        elif "function_name" in node:
            self._require_function(node, FUNCTIONS, "function")
        yield from _scoped(node, ctes)

    def _require_known(self, node: JsonObject) -> None:
        kind, expression = node.get("type"), node.get("class")
        if expression is not None:
            if expression not in _EXPRESSIONS:
                raise self.refusal(f"an expression {expression}")
        elif isinstance(kind, str) and kind not in _KINDS and not kind.endswith(_TYPES):
            raise self.refusal(f"a part {kind}")

    def _table_function(self, node: JsonObject) -> JsonObject:
        """The node with its call, which another list admits, replaced by what the call is given."""
        call = node.get("function")
        if not isinstance(call, dict) or call.get("class") != "FUNCTION":
            raise self.refusal("a table that is no function's")
        self._require_function(call, TABLE_FUNCTIONS, "table function")
        return {**node, "function": list(call.values())}

    def _require_function(self, node: JsonObject, admitted: frozenset[str], what: str) -> None:
        name = _lower(node["function_name"])
        if name not in admitted:
            raise self.refusal(f"{what} {name}")

    def _require_table(self, node: JsonObject, ctes: frozenset[str]) -> None:
        catalog, schema, name = (
            _lower(node.get(part) or "") for part in ("catalog_name", "schema_name", "table_name")
        )
        if not catalog and not schema and name in ctes:
            return
        self._require_relation(catalog, schema, name)

    def _require_relation(self, catalog: str, schema: str, name: str) -> None:
        if not catalog and schema == LAKE:
            schema = ""  # two parts: `lake.steps` is catalog and table
        found = (schema or "main", name)
        if catalog in ("", LAKE):
            if found in self._relations.views:
                self.views.add(found)
                return
            if found in self._relations.tables:
                return
            if (schema == "information_schema" and name in SCHEMA_VIEWS) or (
                not schema and name in SYSTEM_VIEWS
            ):
                return
        raise self.refusal(f"table {'.'.join(part for part in (catalog, schema, name) if part)}")

    def _require_shown(self, node: JsonObject) -> None:
        within = {_lower(node.get(part) or "") for part in ("catalog_name", "schema_name")}
        known = {"", LAKE, *(schema for schema, _ in self._relations.tables)}
        if not within <= known or (node.get("table_name") and node["table_name"] not in SHOWN):
            raise self.refusal(
                f"show {node.get('table_name') or 'tables'} {' '.join(sorted(within - known))}".strip()
            )

    def refusal(self, what: str) -> BadQuery:
        """The error about a part of this statement that is not admitted."""
        return BadQuery(
            "a query only reads the lake: its tables and views, with functions that compute",
            seen=f"{self._origin}{what}"[:200],
            remedy=REMEDY,
        )


def _scoped(node: JsonObject, ctes: frozenset[str]) -> Iterator[tuple[object, frozenset[str]]]:
    """The parts of a node with the CTEs in scope: a CTE sees those before it, and itself where it recurs.

    The name of a CTE admits a table reference, so a scope that is too wide would let `from duckdb_secrets`
    through beside a CTE of that name elsewhere; one too narrow only refuses.
    """
    within = ctes
    for entry in (node.get("cte_map") or {}).get("map", ()):
        yield entry["value"], within
        within |= {_lower(entry["key"])}
    named = (
        frozenset({_lower(node["cte_name"])}) if isinstance(node.get("cte_name"), str) else frozenset[str]()
    )
    sees_it = {"RECURSIVE_CTE_NODE": "right", "CTE_NODE": "child"}.get(str(node.get("type")))
    for key, value in node.items():
        if key != "cte_map":
            yield value, within | named if key == sees_it else within


def _lower(name: str) -> str:
    """As DuckDB compares names: of ASCII letters alone. Python's `lower` makes a k of the Kelvin sign."""
    return name.translate(_LOWER)
