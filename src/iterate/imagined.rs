//! The questions that the policy writes for itself before a collection: written once, kept in a file.

use super::{Error, state};
use crate::collect::imagine::Imagined;
use crate::collect::{self, Setting};
use crate::recipe::Recipe;
use crate::task::{Problem, Train};
use crate::trace::fs;
use std::path::Path;

/// The written questions of the iteration in `dir`: those of its `imagined.json`, or new ones in the manner of
/// `problems`, which are kept there.
pub(super) fn of_iteration(
    setting: &Setting<'_>,
    problems: &[Problem<Train>],
    recipe: &Recipe,
    dir: &Path,
) -> Result<Option<Imagined>, Error> {
    let path = dir.join("imagined.json");
    if let Some(written) = state::read_json(&path)? {
        return Ok(Some(written));
    }
    let params = &recipe.collect;
    let used = params.questions * recipe.rounds.iterations as usize;
    let imagined = collect::imagined(setting, problems, params, used)?;
    if let Some(imagined) = &imagined {
        std::fs::create_dir_all(dir).map_err(fs::Error::at("create", dir))?;
        state::write_json(&path, imagined)?;
    }
    Ok(imagined)
}
