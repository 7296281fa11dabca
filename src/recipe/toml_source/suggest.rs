//! The nearest of the valid names.

/// The candidate that `word` most likely means: equal but for case and `-`/`_`,
/// within a third of its letters by edit distance (at least one, swaps counting
/// once), or the only one that begins with it. `None` where nothing is near. Of
/// equally near ones, the first.
pub fn suggest<'a, S: AsRef<str> + ?Sized + 'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a S>,
) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let word = plain(word);
    let names: Vec<&'a str> = candidates.into_iter().map(AsRef::as_ref).collect();
    let (distance, nearest) = names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&word, &plain(name)), *name))
        .min_by_key(|(distance, _)| *distance)?;
    let letters = word.chars().count().max(nearest.chars().count());
    if distance <= (letters / 3).max(1) && distance < letters {
        return Some(nearest);
    }
    if word.chars().count() < 3 {
        return None;
    }
    let mut longer = names
        .into_iter()
        .filter(|name| plain(name).starts_with(&word));
    match (longer.next(), longer.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::suggest;

    #[test]
    fn finds_the_near_and_leaves_the_far() {
        let names = ["iterations", "c_puct", "top_k", "lambda", "seed"];
        for (word, near) in [
            ("iteration", Some("iterations")),
            ("itertaions", Some("iterations")),
            ("Iterations", Some("iterations")),
            ("c-puct", Some("c_puct")),
            ("cpuct", Some("c_puct")),
            ("topk", Some("top_k")),
            ("lamda", Some("lambda")),
            ("sede", Some("seed")),
            ("iter", Some("iterations")),
            ("s", None),
            ("x", None),
            ("", None),
            ("temperature", None),
        ] {
            assert_eq!(suggest(word, &names), near, "{word}");
        }
        assert_eq!(suggest::<str>("x", []), None);
        let owned = vec!["greedy".to_owned()];
        assert_eq!(suggest("gredy", &owned), Some("greedy"));
        assert_eq!(suggest("tra", &["train_value", "train_policy"]), None);
    }
}
