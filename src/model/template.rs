//! A text with places for named values, in Jinja.

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, Value};

const NAME: &str = "prompt";

/// Instructions of a rendering at most.
const FUEL: u64 = 100_000;

/// A compiled template. A name without a value is an error, and the text is kept as it is written.
#[derive(Debug, Clone)]
pub struct Template {
    environment: Environment<'static>,
}

impl Template {
    /// Compiles `source`.
    ///
    /// # Errors
    /// What does not parse.
    pub fn new(source: &str) -> Result<Template, Error> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let syntax = SyntaxConfig::builder()
            .keep_trailing_newline(true)
            .build()?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment.add_template_owned(NAME, source.to_owned())?;
        Ok(Template { environment })
    }

    /// The text with `values` in their places.
    ///
    /// # Errors
    /// A name that has no value.
    pub fn render(&self, values: &[(&str, &str)]) -> Result<String, Error> {
        let values = Value::from_pairs(values.iter().copied());
        self.environment.get_template(NAME)?.render(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_in_as_they_are() {
        let template = Template::new("{{ a }}: <{{ b | upper }}>\n").unwrap();
        let text = template.render(&[("a", "{{ b }} & 'x'"), ("b", "y")]);
        assert_eq!(text.unwrap(), "{{ b }} & 'x': <Y>\n");
        assert!(template.render(&[("a", "x")]).is_err());
        assert!(Template::new("{{ a").is_err());
    }
}
