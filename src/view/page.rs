//! Data into one HTML file that needs nothing beside it.

use serde::Serialize;

const PAGE: &str = include_str!("assets/page.html");
const STYLE: &str = include_str!("assets/style.css");
/// One script, in parts that know those before them.
const SCRIPT: [&str; 7] = [
    include_str!("assets/dom.js"),
    include_str!("assets/charts.js"),
    include_str!("assets/tables.js"),
    include_str!("assets/forest.js"),
    include_str!("assets/tree.js"),
    include_str!("assets/details.js"),
    include_str!("assets/explorer.js"),
];

/// The page of `data` under `title`.
///
/// # Errors
/// Data that JSON cannot hold.
pub(super) fn render(title: &str, data: &impl Serialize) -> serde_json::Result<String> {
    let script = SCRIPT.concat();
    let data = json(data)?;
    let mut page = String::with_capacity(PAGE.len() + STYLE.len() + script.len() + data.len());
    // What was put in is never looked at again: a question may well speak of {{DATA}}.
    let mut rest = PAGE;
    while let Some((before, (name, after))) = rest
        .split_once("{{")
        .and_then(|(before, tail)| Some((before, tail.split_once("}}")?)))
    {
        page.push_str(before);
        match name {
            "TITLE" => page.push_str(&text(title)),
            "STYLE" => page.push_str(STYLE),
            "SCRIPT" => page.push_str(&script),
            "DATA" => page.push_str(&data),
            _ => {}
        }
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

/// JSON that may stand in a `<script>`: without `<`, nothing in it can end or open an element.
fn json(data: &impl Serialize) -> serde_json::Result<String> {
    // In JSON `<` occurs in strings alone, where its escape means the same.
    Ok(serde_json::to_string(data)?.replace('<', "\\u003c"))
}

/// `raw` as the text of an element.
fn text(raw: &str) -> String {
    raw.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "</script><img src=x onerror=alert(1)><!-- {{DATA}} &amp;";

    #[test]
    fn nothing_in_the_data_ends_its_script() {
        let page = render("plain", &[HOSTILE]).unwrap();
        assert!(!page.contains("<img"));
        assert_eq!(
            page.matches("</script>").count(),
            PAGE.matches("</script>").count()
        );
        let data = page.split("id=\"data\">").nth(1).unwrap();
        let data = data.split("</script>").next().unwrap();
        let back: Vec<String> = serde_json::from_str(data).unwrap();
        assert_eq!(back, [HOSTILE]);
    }

    #[test]
    fn a_title_is_text() {
        let page = render(HOSTILE, &()).unwrap();
        assert!(!page.contains("<img"));
        assert!(page.contains("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;"));
        assert!(page.contains("{{DATA}} &amp;amp;"), "put in as it is");
    }

    #[test]
    fn the_page_asks_for_nothing() {
        let page = render("plain", &()).unwrap();
        // The namespace of SVG is a name, and nobody fetches it.
        let page = page.replace("http://www.w3.org/2000/svg", "");
        for word in [
            "http:",
            "https:",
            "src=",
            "url(",
            "@import",
            "fetch(",
            "innerHTML",
        ] {
            assert!(!page.contains(word), "{word}");
        }
    }
}
