//! Markup that is well-formed by construction: elements close themselves, and text is escaped where it is written. What
//! comes of it is HTML, and XML as well, so that tests can read it with a strict parser.

use std::fmt::{Display, Write as _};

/// Names of attributes with their values.
pub(crate) type Attributes<'a> = &'a [(&'a str, &'a dyn Display)];

/// Elements that stand within a line: a new line after them would be a space in the text.
const INLINE: [&str; 6] = ["a", "code", "span", "strong", "td", "th"];

/// A document, or a part of one.
#[derive(Debug, Default)]
pub(crate) struct Markup {
    written: String,
}

impl Markup {
    /// An element with what `inside` writes. HTML knows no other form of an element that may have content, empty or not.
    pub(crate) fn element(&mut self, name: &str, attributes: Attributes<'_>, inside: impl FnOnce(&mut Self)) {
        self.tag(name, attributes);
        self.written.push('>');
        inside(self);
        let end = if INLINE.contains(&name) { "" } else { "\n" };
        // Writing into a string cannot fail.
        let _ = write!(self.written, "</{name}>{end}");
    }

    /// An element that holds this text.
    pub(crate) fn leaf(&mut self, name: &str, attributes: Attributes<'_>, text: &str) {
        self.element(name, attributes, |inside| inside.text(text));
    }

    /// An element that never has content: `meta` of HTML, or the shapes of SVG.
    pub(crate) fn void(&mut self, name: &str, attributes: Attributes<'_>) {
        self.tag(name, attributes);
        self.written.push_str("/>\n");
    }

    /// Text, escaped.
    pub(crate) fn text(&mut self, text: &str) {
        self.written.push_str(&escape(text));
    }

    /// What is markup already, such as a style sheet.
    pub(crate) fn raw(&mut self, markup: &str) {
        self.written.push_str(markup);
    }

    /// What was written.
    pub(crate) fn finish(self) -> String {
        self.written
    }

    fn tag(&mut self, name: &str, attributes: Attributes<'_>) {
        let _ = write!(self.written, "<{name}");
        for (attribute, value) in attributes {
            let _ = write!(self.written, " {attribute}=\"{}\"", escape(&value.to_string()));
        }
    }
}

/// A length or place of a drawing, in its own units: a tenth is finer than a pixel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At(pub(crate) f64);

impl Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Adding 0 makes a negative zero positive.
        let text = format!("{:.1}", (self.0 * 10.0).round() / 10.0 + 0.0);
        f.write_str(text.strip_suffix(".0").unwrap_or(&text))
    }
}

/// Text that means itself in content and in quoted attributes. Characters that XML does not have at all, such as NUL, are
/// replaced.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\u{fffe}' | '\u{ffff}' => escaped.push(char::REPLACEMENT_CHARACTER),
            character if character.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let mut markup = Markup::default();
        markup.element("p", &[("title", &"\"><b>")], |inside| inside.leaf("span", &[], "a & <b>\0'\n"));
        let text = markup.finish();
        let document = roxmltree::Document::parse(&text).unwrap();
        assert_eq!(document.root_element().attribute("title"), Some("\"><b>"));
        assert_eq!(document.root_element().first_element_child().unwrap().text(), Some("a & <b>\u{fffd}' "));
    }

    #[test]
    fn places_are_short() {
        assert_eq!([12.0, 12.04, 12.06, -0.04].map(|at| At(at).to_string()), ["12", "12", "12.1", "0"]);
    }
}
