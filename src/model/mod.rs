//! Decoders, value heads, tokenizers, and their Hugging Face directories.

pub mod attention;
pub mod blend;
pub mod calibration;
pub mod card;
pub mod chat;
pub mod checkpoint;
pub mod config;
pub mod decoder;
pub mod device;
pub mod export;
pub mod hub;
pub mod layout;
pub mod make_tokenizer;
pub mod readout;
pub mod rope;
pub mod template;
pub mod tokenizer;
pub mod value;
pub mod weights;

pub use attention::Attend;
pub use blend::{Blend, Trail};
pub use calibration::Calibration;
pub use card::{Card, Metric};
pub use checkpoint::{Checkpoint, CheckpointError, Source, load_value};
pub use config::{Architecture, Config, ConfigError};
pub use decoder::Decoder;
pub use export::{ExportError, export_policy, export_value};
pub use layout::Weight;
pub use readout::{Opinion, Readout};
pub use rope::Rope;
pub use template::Template;
pub use tokenizer::{Tokenizer, TokenizerError};
pub use value::{HeadKind, HeadShape, Value, ValueHead};
pub use weights::StoredType;
