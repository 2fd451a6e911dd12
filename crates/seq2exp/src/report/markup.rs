//! A writer of HTML and SVG in which every tag is closed and every text escaped.

use std::fmt::Write;

/// The value of an attribute: text, or a coordinate in pixels.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Pixels(f64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_string())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<f64> for Value {
    fn from(pixels: f64) -> Self {
        Value::Pixels(pixels)
    }
}

/// One attribute of a tag.
pub(super) type Attribute = (&'static str, Value);

/// An attribute: `attr("x", 3.0)`, `attr("class", "grid")`.
pub(super) fn attr(name: &'static str, value: impl Into<Value>) -> Attribute {
    (name, value.into())
}

/// HTML or SVG under construction.
#[derive(Debug, Default)]
pub(super) struct Markup {
    text: String,
    open: Vec<&'static str>,
}

impl Markup {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Opens a tag; [`close`](Self::close) closes the one opened last.
    pub(super) fn open(&mut self, tag: &'static str, attributes: &[Attribute]) -> &mut Self {
        self.start(tag, attributes);
        self.text.push('>');
        self.open.push(tag);
        self
    }

    /// Closes the tag opened last; nothing happens when none is open.
    pub(super) fn close(&mut self) -> &mut Self {
        if let Some(tag) = self.open.pop() {
            self.text.push_str("</");
            self.text.push_str(tag);
            self.text.push('>');
            if matches!(
                tag,
                "section" | "figure" | "svg" | "table" | "tr" | "p" | "h2" | "g"
            ) {
                self.text.push('\n');
            }
        }
        self
    }

    /// A tag without content.
    pub(super) fn empty(&mut self, tag: &'static str, attributes: &[Attribute]) -> &mut Self {
        self.start(tag, attributes);
        self.text.push_str("/>");
        self
    }

    /// A tag that holds only text.
    pub(super) fn leaf(
        &mut self,
        tag: &'static str,
        attributes: &[Attribute],
        text: &str,
    ) -> &mut Self {
        self.open(tag, attributes).text(text).close()
    }

    /// Text, escaped.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.text.push_str(&escape(text));
        self
    }

    /// Markup that another [`Markup`] finished, or that this program holds, as it is.
    pub(super) fn raw(&mut self, markup: &str) -> &mut Self {
        self.text.push_str(markup);
        self
    }

    /// Closes what is open and returns the text.
    pub(super) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.text
    }

    fn start(&mut self, tag: &str, attributes: &[Attribute]) {
        self.text.push('<');
        self.text.push_str(tag);
        for (name, value) in attributes {
            match value {
                Value::Text(text) => {
                    let _ = write!(self.text, " {name}=\"{}\"", escape(text));
                }
                Value::Pixels(pixels) => {
                    let _ = write!(self.text, " {name}=\"{}\"", pixels_text(*pixels));
                }
            }
        }
    }
}

/// A coordinate with at most one decimal; 0 when it is not finite.
pub(super) fn pixels_text(pixels: f64) -> String {
    if !pixels.is_finite() {
        return "0".to_string();
    }
    let tenths = (pixels * 10.0).round() / 10.0;
    // Adding 0 turns -0 into 0.
    format!("{}", tenths + 0.0)
}

/// The text with the five special characters of XML replaced and control characters dropped.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(' '),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// Fails unless every tag of `markup` is closed in order and every `<` and `&` begins something.
#[cfg(test)]
pub(super) fn assert_well_formed(markup: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = markup;
    while let Some(at) = rest.find(['<', '&']) {
        let tail = &rest[at..];
        if tail.starts_with('&') {
            let end = tail.find(';').unwrap_or(0);
            assert!((2..=7).contains(&end), "bare ampersand: {:.40}", tail);
            rest = &tail[end + 1..];
            continue;
        }
        let end = tail.find('>').expect("a tag ends");
        let tag = &tail[1..end];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closing tag at {tail:.60}");
        } else if !tag.ends_with('/') && !tag.starts_with('!') {
            let name = tag.split(' ').next().expect("a tag has a name");
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{tag:.60}");
            assert_eq!(tag.matches('"').count() % 2, 0, "quotes of {tag:.60}");
            open.push(name);
        }
        rest = &tail[end + 1..];
        if tag == "style" {
            rest = &rest[rest.find("</style>").expect("a style ends")..];
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_leaves_no_markup() {
        let cases = [
            ("MYC", "MYC"),
            ("<script>", "&lt;script&gt;"),
            ("a & b", "a &amp; b"),
            ("\"'", "&quot;&#39;"),
            ("a\nb\0c\u{1b}", "a bc"),
            ("é β", "é β"),
        ];
        for (text, expected) in cases {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn coordinates_are_short_and_finite() {
        let cases = [
            (1.0, "1"),
            (1.25, "1.3"),
            (-0.04, "0"),
            (f64::NAN, "0"),
            (f64::NEG_INFINITY, "0"),
            (1234.56, "1234.6"),
        ];
        for (pixels, expected) in cases {
            assert_eq!(pixels_text(pixels), expected);
        }
    }

    #[test]
    fn markup_closes_what_was_opened() {
        let mut markup = Markup::new();
        markup.open("svg", &[attr("width", 3.0)]);
        markup.open("g", &[attr("class", "a\"b")]);
        markup.leaf("title", &[], "<b>").empty("line", &[]);
        let text = markup.finish();
        assert_well_formed(&text);
        assert_eq!(
            text,
            "<svg width=\"3\"><g class=\"a&quot;b\"><title>&lt;b&gt;</title><line/></g>\n</svg>\n"
        );
    }
}
