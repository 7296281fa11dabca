//! What collection leaves behind: search trees as Parquet shards, one row a node.
//!
//! A folder of traces holds `shard-00000.parquet`, `shard-00001.parquet`, ... and
//! `manifest.json` with the row count, tree count and SHA-256 of each. While a collection works on
//! the folder the manifest's `complete` is false, and `trees.journal` holds the trees that wait for
//! their shard.
//! Equal trees give equal bytes. Any Parquet reader opens a shard
//! (`polars.read_parquet("traces/*.parquet")`).
//!
//! # Columns, schema version 5
//!
//! Version 4, without `given`, and version 3, without `agreement` and `source` either, are read too.
//!
//! The rows of a tree are contiguous and in node order; a parent comes before its
//! children. "Root row" columns are null on all other rows.
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `schema_version` | u32 | [`SCHEMA_VERSION`], the same on every row |
//! | `iteration` | u32 | iteration of the loop that grew the tree |
//! | `problem` | u64 | id of the question in its data set |
//! | `tree` | u32 | 0 for the question's tree, 1 for the texts drawn beside it (`collect.samples`), whose visits count draws |
//! | `node` | u32 | index of the node in its tree; 0 is the root |
//! | `parent` | u32, nullable | index of the parent; null for the root |
//! | `token` | u32, nullable | token that leads from the parent here; null for the root |
//! | `root_depth` | u32 | how many tokens at the end of `prompt_tokens` were generated |
//! | `visits` | u32 | simulations that passed through the node |
//! | `return_sum` | f64 | sum of the leaf values that these backed up, each in \[-1, 1\] |
//! | `value` | f32 | the value head's estimate, in \[-1, 1\], calibrated as the search reads it |
//! | `outcome` | f32, nullable | return of the greedy rollout through the node, in \[-1, 1\], if known |
//! | `terminal` | bool | the state has ended: a stop token or the length limit |
//! | `given` | bool | the token was put there, in a phrase behind a finished solution, and not chosen |
//! | `agreement` | f32, nullable | share of the texts drawn from the middle of this one that ended right |
//! | `log_sum_exp` | f32 | of the logits over the whole vocabulary |
//! | `child_tokens` | list of u32 | the top-k continuations, most probable first; empty if not expanded |
//! | `child_log_probs` | list of f32 | their log-probabilities over the whole vocabulary |
//! | `child_priors` | list of f32 | the priors that the search used for them |
//! | `prompt_tokens` | list of u32, root row | the root's context: the prompt, then `root_depth` generated tokens |
//! | `forward_tokens` | u64, root row | tokens that the tree sent through the model |
//! | `simulations` | u32, root row | simulations that ran |
//! | `memo_hits` | u32, root row | those of them that needed no forward pass |
//! | `solved_greedily` | bool, root row, nullable | whether greedy decoding answers correctly, if tried |
//! | `source` | string, root row | `train`, or `imagined` where the policy wrote the question |
//! | `failure` | string, root row, nullable | why the question could not be searched |

mod decode;
mod encode;
mod error;
pub mod fs;
mod journal;
mod manifest;
mod pages;
mod parquet;
mod record;
mod schema;
mod shard;
pub mod table;

pub use error::Error;
pub use journal::Journal;
pub use manifest::{Manifest, WrittenShard, read_dir, written_shards};
pub use record::{NodeRecord, TreeRecord};
pub use schema::SCHEMA_VERSION;
pub use shard::{ShardEntry, encode_shard, read_checked, read_shard, write_shard};
