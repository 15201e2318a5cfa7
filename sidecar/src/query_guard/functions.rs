//! The functions a query may call, by the engine's names (its `function_collection.cpp`), apart by white space.
//!
//! On the lists: functions whose result depends on their arguments and the graph, besides clock and randomness.
//! Left out on purpose: `nextval`, `currval`, `setseed` (they keep state), `error` (it only fails), `rowid`,
//! `internal_id`, `struct_extract` (ways to internal properties; `x.name` does the rest), the function forms of
//! operators, everything that scans files, and among the table functions those that write, that name files, settings,
//! extensions or attached databases, or that create projected graphs. Some on the list are bounded (`sizes.rs`).

/// Scalar and aggregate functions.
const FUNCTIONS: &str = "
    abs acos array_append array_cat array_concat array_contains array_cosine_similarity array_cross_product
    array_distance array_dot_product array_extract array_has array_indexof array_inner_product
    array_position array_prepend array_push_back array_push_front array_slice array_squared_distance
    array_value asin atan atan2 avg bitshift_left bitshift_right bitwise_and bitwise_or bitwise_xor blob
    cardinality cast cbrt ceil ceiling century coalesce collect concat concat_ws constant_or_null contains
    cos cost cot count count_if current_date current_timestamp date date_part date_trunc datepart datetrunc
    dayname decode degrees duration element_at encode end_node ends_with epoch_ms even factorial floor gamma
    gen_random_uuid greatest hash histogram id ifnull initcap interval is_acyclic is_trail keys label labels
    last_day lcase least left length lgamma list_any_value list_append list_cat list_concat
    list_contains list_creation list_distinct list_element list_extract list_filter list_has list_has_all
    list_has_any list_indexof list_max list_min list_position list_prepend list_product list_reduce
    list_reverse list_reverse_sort list_slice list_sort list_sum list_to_string list_transform list_unique
    ln log log10 log2 lower lpad ltrim make_date map map_extract map_keys map_values max md5 min monthname
    nodes nullif octet_length offset percentilecont percentiledisc pi pow prefix properties radians random
    range regexp_extract regexp_extract_all regexp_full_match regexp_matches regexp_replace
    regexp_split_to_array relationships rels repeat replace reverse right round rpad rtrim sha256 sign sin
    size split_part sqrt start_node starts_with str_split string string_split string_to_array struct_pack
    substr substring suffix sum tan time_bucket timestamp to_blob to_bool to_date to_days to_double
    to_epoch_ms to_float to_hours to_int128 to_int16 to_int32 to_int64 to_int8 to_interval to_microseconds
    to_milliseconds to_minutes to_months to_seconds to_string to_timestamp to_uint128 to_uint16 to_uint32
    to_uint64 to_uint8 to_uuid to_years tolower toupper trim typeof ucase union_extract union_tag
    union_value upper uuid
";

/// Table functions, after CALL: they describe the graph and the engine.
const TABLE_FUNCTIONS: &str = "
    catalog_version db_version show_connection show_functions show_indexes show_macros show_sequences
    show_tables show_warnings stats_info storage_version table_info
";

/// Whether an expression may call the function. The engine compares names without regard to ASCII case.
pub(super) fn is_allowed(name: &str) -> bool {
    is_on(FUNCTIONS, name)
}

/// Whether `CALL name(…)` is allowed.
pub(super) fn is_allowed_after_call(name: &str) -> bool {
    is_on(TABLE_FUNCTIONS, name)
}

fn is_on(list: &str, name: &str) -> bool {
    list.split_ascii_whitespace()
        .any(|allowed| allowed.eq_ignore_ascii_case(name))
}

/// What CALL may call, for messages.
pub(super) fn table_functions_text() -> String {
    TABLE_FUNCTIONS
        .split_ascii_whitespace()
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_in_any_case_and_only_where_they_may_stand() {
        for name in ["abs", "COUNT", "List_Transform", "uuid"] {
            assert!(is_allowed(name) && !is_allowed_after_call(name), "{name}");
        }
        for name in ["catalog_version", "TABLE_INFO"] {
            assert!(!is_allowed(name) && is_allowed_after_call(name), "{name}");
        }
    }

    #[test]
    fn functions_with_effects_or_views_outside_the_graph_are_on_no_list() {
        for name in [
            "nextval",
            "currval",
            "setseed",
            "error",
            "rowid",
            "internal_id",
            "current_setting",
            "clear_warnings",
            "project_graph",
            "project_graph_cypher",
            "drop_projected_graph",
            "_cache_array_column_locally",
            "read_parquet",
            "read_csv_parallel",
            "file_info",
            "disk_info",
            "storage_info",
            "bm_info",
            "show_attached_databases",
            "show_official_extensions",
            "show_loaded_extensions",
            "http_get",
            "getenv",
            "",
        ] {
            assert!(!is_allowed(name) && !is_allowed_after_call(name), "{name}");
        }
    }
}
