//! HTML and SVG as values.
//!
//! **Invariant:** [`Html`] is whole elements and escaped text, whatever it was made of: ids are users' text, and only this file
//! writes a `<`. What it makes is well-formed XML too, so that any strict parser can check a page.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Characters of a text that a page shows at the most: an id may be a megabyte.
pub const TEXT_MAX: usize = 80;

/// Elements that are written without an end.
const EMPTY: [&str; 9] = [
    "meta", "link", "br", "path", "line", "circle", "rect", "use", "polyline",
];

/// Part of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Html(String);

/// Attributes by name.
pub type Attributes<'a> = &'a [(&'static str, &'a str)];

impl Html {
    /// A whole page.
    pub fn page(language: &str, head: Html, body: Html) -> String {
        let html = element("html", &[("lang", language)], [head, body]);
        format!("<!DOCTYPE html>\n{}\n", html.0)
    }

    /// Our own style sheet, as it is.
    ///
    /// # Panics
    /// Where it has a character that would have to be escaped.
    pub fn style(sheet: &'static str) -> Html {
        assert!(!sheet.contains(['<', '&']), "a style sheet is no markup");
        Html(format!("<style>{sheet}</style>"))
    }

    /// As text, for a page that puts it into a place.
    pub fn text(self) -> String {
        self.0
    }

    /// What was taken out with [`Html::text`]: whole elements and escaped text.
    pub(super) fn made(text: &str) -> Html {
        Html(text.to_owned())
    }

    /// Bytes of it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Html {
    fn from(text: &str) -> Self {
        Html(escaped(text).into_owned())
    }
}

impl From<String> for Html {
    fn from(text: String) -> Self {
        Html::from(text.as_str())
    }
}

impl FromIterator<Html> for Html {
    fn from_iter<I: IntoIterator<Item = Html>>(parts: I) -> Self {
        Html(parts.into_iter().map(|part| part.0).collect())
    }
}

/// An element with its children.
pub fn element(
    tag: &'static str,
    attributes: Attributes<'_>,
    children: impl IntoIterator<Item = Html>,
) -> Html {
    let mut html = format!("<{tag}");
    for (name, value) in attributes {
        let _ = write!(html, " {name}=\"{}\"", escaped(value));
    }
    if EMPTY.contains(&tag) {
        return Html(html + "/>");
    }
    html.push('>');
    html.extend(children.into_iter().map(|child| child.0));
    let _ = write!(html, "</{tag}>");
    Html(html)
}

/// An element that holds a text.
pub fn tagged(tag: &'static str, text: impl Into<Html>) -> Html {
    element(tag, &[], [text.into()])
}

/// The same of a class.
pub fn classed(tag: &'static str, class: &str, text: impl Into<Html>) -> Html {
    element(tag, &[("class", class)], [text.into()])
}

/// Text of users: cut, and kept from turning the line around it.
pub fn users_text(text: &str) -> Html {
    classed("bdi", "id", short(text, TEXT_MAX))
}

/// The first characters of a text.
pub fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars()
        .take(most.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// Characters that mean something to a parser become references, those that no document may hold a replacement.
fn escaped(text: &str) -> Cow<'_, str> {
    let special = |c: char| {
        matches!(c, '<' | '>' | '&' | '"' | '\'' | '\u{fffe}' | '\u{ffff}')
            || (c.is_control() && c != '\n')
    };
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if special(c) => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let id = "<script>alert('1')</script> & \"\u{0}\u{7}\"";
        let html = element("td", &[("title", id)], [id.into()]);
        let safe =
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;\u{fffd}\u{fffd}&quot;";
        assert_eq!(html.0, format!("<td title=\"{safe}\">{safe}</td>"));
    }

    #[test]
    fn shapes_have_no_end_and_boxes_have() {
        assert_eq!(
            element("path", &[("d", "M0 0")], []).0,
            "<path d=\"M0 0\"/>"
        );
        assert_eq!(element("td", &[], []).0, "<td></td>");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(short("ääääää", 6), "ääääää");
        assert_eq!(short("äääääää", 6), "äääää…");
        let shown = users_text(&"x".repeat(1 << 20));
        assert!(shown.len() < 200, "{}", shown.len());
    }

    #[test]
    #[should_panic(expected = "no markup")]
    fn a_sheet_cannot_end_itself() {
        let _ = Html::style("</style>");
    }
}
