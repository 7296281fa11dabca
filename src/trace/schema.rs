//! The columns of a shard, in order.

use polars::prelude::DataType;

/// Version of the columns of a shard and of the manifest. Any change to either
/// raises it.
pub const SCHEMA_VERSION: u32 = 5;

/// The oldest version that can be read.
pub(super) const OLDEST: u32 = 3;

/// What `source` holds where the policy wrote the question.
pub(super) const IMAGINED: &str = "imagined";

/// Name of the column that is checked before any other.
pub(super) const VERSION_COLUMN: &str = "schema_version";

/// A column's name, type, and whether it has nulls.
pub(super) struct Column {
    pub name: &'static str,
    pub dtype: DataType,
    pub nullable: bool,
    /// The version that brought it.
    pub since: u32,
}

/// All columns of a shard.
pub(super) fn columns() -> Vec<Column> {
    use DataType::{Boolean, Float32, Float64, String, UInt32, UInt64};
    let list = |inner| DataType::List(Box::new(inner));
    [
        (VERSION_COLUMN, UInt32, false),
        ("iteration", UInt32, false),
        ("problem", UInt64, false),
        ("tree", UInt32, false),
        ("node", UInt32, false),
        ("parent", UInt32, true),
        ("token", UInt32, true),
        ("root_depth", UInt32, false),
        ("visits", UInt32, false),
        ("return_sum", Float64, false),
        ("value", Float32, false),
        ("outcome", Float32, true),
        ("terminal", Boolean, false),
        ("given", Boolean, false),
        ("agreement", Float32, true),
        ("log_sum_exp", Float32, false),
        ("child_tokens", list(UInt32), false),
        ("child_log_probs", list(Float32), false),
        ("child_priors", list(Float32), false),
        ("prompt_tokens", list(UInt32), true),
        ("forward_tokens", UInt64, true),
        ("simulations", UInt32, true),
        ("memo_hits", UInt32, true),
        ("solved_greedily", Boolean, true),
        ("source", String, true),
        ("failure", String, true),
    ]
    .map(|(name, dtype, nullable)| Column {
        name,
        dtype,
        nullable,
        since: match name {
            "agreement" | "source" => 4,
            "given" => 5,
            _ => OLDEST,
        },
    })
    .into()
}
