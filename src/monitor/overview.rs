//! What TensorBoard shows of a run as a whole: its settings, and the charts to open first.

/// A run's settings and the scalars that judge them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Start {
    /// Name of the run.
    pub name: String,
    /// Settings by their dotted names.
    pub settings: Vec<(String, Setting)>,
    /// Tags of the scalars to compare runs by.
    pub metrics: Vec<String>,
}

/// A setting's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    Number(f64),
    Flag(bool),
    Text(String),
}

/// Categories of charts, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Layout {
    pub categories: Vec<Category>,
}

/// Charts under one heading.
#[derive(Debug, Clone, PartialEq)]
pub struct Category {
    pub title: String,
    pub charts: Vec<Chart>,
}

/// One chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    pub title: String,
    pub lines: Lines,
}

/// What a chart draws.
#[derive(Debug, Clone, PartialEq)]
pub enum Lines {
    /// Scalars by their tags.
    Plain(Vec<String>),
    /// Scalars with an interval around them: tags of value, lower and upper end.
    Intervals(Vec<[String; 3]>),
}
