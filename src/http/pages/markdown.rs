//! Text of documents as HTML: the elements of Markdown and nothing else. HTML in the text is shown as text; links and images
//! are reduced to their texts, so that a document cannot lead its reader elsewhere or load anything.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Renders Markdown as HTML.
pub(super) fn markdown_html(markdown: &str) -> String {
    let mut html = String::with_capacity(markdown.len() * 5 / 4);
    let mut is_in_head = false;
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
        match event {
            Event::Start(tag) => {
                is_in_head = (is_in_head || matches!(tag, Tag::TableHead)) && !matches!(tag, Tag::TableRow);
                open(&tag, is_in_head, &mut html);
            }
            Event::End(tag) => {
                close(tag, is_in_head, &mut html);
                is_in_head &= tag != TagEnd::TableHead;
            }
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => escape(&text, &mut html),
            Event::Code(text) => {
                html.push_str("<code>");
                escape(&text, &mut html);
                html.push_str("</code>");
            }
            Event::SoftBreak => html.push('\n'),
            Event::HardBreak => html.push_str("<br>"),
            Event::Rule => html.push_str("<hr>"),
            // Extensions that are not enabled.
            Event::InlineMath(_) | Event::DisplayMath(_) | Event::FootnoteReference(_) | Event::TaskListMarker(_) => {}
        }
    }
    html
}

/// Renders plain text as HTML: a paragraph for each run of lines between blank lines.
pub(super) fn plain_html(text: &str) -> String {
    let mut html = String::with_capacity(text.len() * 5 / 4);
    for paragraph in text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
        html.push_str("<p class=\"lines\">");
        escape(paragraph, &mut html);
        html.push_str("</p>");
    }
    html
}

/// Beginning of a table, which can be scrolled by keyboard if it is wider than the page.
const TABLE: &str = "<div class=\"table\" tabindex=\"0\" role=\"group\" aria-label=\"Table\"><table>";

fn open(tag: &Tag<'_>, is_in_head: bool, html: &mut String) {
    match tag {
        Tag::Heading { .. } => html.push_str("<h3>"),
        Tag::List(Some(first)) => html.push_str(&format!("<ol start=\"{first}\">")),
        Tag::Table(_) => html.push_str(TABLE),
        Tag::TableHead => html.push_str("<thead><tr>"),
        tag => html.push_str(element(tag.to_end(), is_in_head).map_or("", |(open, _)| open)),
    }
}

fn close(tag: TagEnd, is_in_head: bool, html: &mut String) {
    html.push_str(match tag {
        TagEnd::Heading(_) => "</h3>",
        TagEnd::List(true) => "</ol>",
        TagEnd::Table => "</tbody></table></div>",
        TagEnd::TableHead => "</tr></thead><tbody>",
        tag => element(tag, is_in_head).map_or("", |(_, close)| close),
    });
}

/// Returns the tags of an element without attributes; `None` for one that is reduced to its content.
fn element(tag: TagEnd, is_in_head: bool) -> Option<(&'static str, &'static str)> {
    Some(match tag {
        TagEnd::Paragraph => ("<p>", "</p>"),
        TagEnd::BlockQuote(_) => ("<blockquote>", "</blockquote>"),
        TagEnd::CodeBlock => ("<pre><code>", "</code></pre>"),
        TagEnd::HtmlBlock => ("<p class=\"lines\">", "</p>"),
        TagEnd::List(_) => ("<ul>", "</ul>"),
        TagEnd::Item => ("<li>", "</li>"),
        TagEnd::TableRow => ("<tr>", "</tr>"),
        TagEnd::TableCell if is_in_head => ("<th scope=\"col\">", "</th>"),
        TagEnd::TableCell => ("<td>", "</td>"),
        TagEnd::Emphasis => ("<em>", "</em>"),
        TagEnd::Strong => ("<strong>", "</strong>"),
        TagEnd::Strikethrough => ("<del>", "</del>"),
        _ => return None,
    })
}

fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The tags in a rendered text, such as `p` and `/p`.
    fn tags(html: &str) -> Vec<String> {
        html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn markdown_is_rendered() {
        for (markdown, html) in [
            ("One **two** *three* `4 < 5`", "<p>One <strong>two</strong> <em>three</em> <code>4 &lt; 5</code></p>"),
            ("3. a\n4. b", "<ol start=\"3\"><li>a</li><li>b</li></ol>"),
            ("- a\n- b", "<ul><li>a</li><li>b</li></ul>"),
            ("### Oil", "<h3>Oil</h3>"),
            (
                "| A | B |\n|---|---|\n| 1 | 2 |",
                "<div class=\"table\" tabindex=\"0\" role=\"group\" aria-label=\"Table\"><table><thead><tr><th scope=\"col\">A</th>\
                 <th scope=\"col\">B</th></tr></thead><tbody><tr><td>1</td><td>2</td></tr></tbody></table></div>",
            ),
        ] {
            assert_eq!(markdown_html(markdown), html);
        }
        assert_eq!(plain_html("a <b>\nc\n\n\nd"), "<p class=\"lines\">a &lt;b&gt;\nc</p><p class=\"lines\">d</p>");
    }

    #[test]
    fn nothing_of_a_document_becomes_active() {
        let text = "<script>alert(1)</script>\n\nA <img src=x onerror=alert(1)> [link](javascript:alert(1)) \
                    ![image](https://tracker.example/) <https://example.com/> \"quoted\"";
        for html in [markdown_html(text), plain_html(text)] {
            assert!(tags(&html).iter().all(|tag| ["p", "/p", "p class=\"lines\""].contains(&tag.as_str())), "{html}");
            assert!(html.contains("&lt;script&gt;alert(1)"), "{html}");
        }
        assert!(!markdown_html(text).contains("tracker.example"));
    }

    proptest! {
        #[test]
        fn only_known_tags_are_written(text in "(\\PC|[<>\"'&|`*_~#\\[\\]()!\n -]|<script>|---|\\| a \\|){0,60}") {
            let known = "p blockquote pre code ul ol li table thead tbody tr td em strong del div h3 br hr";
            let known: BTreeSet<&str> = known.split(' ').collect();
            for tag in tags(&markdown_html(&text)).into_iter().chain(tags(&plain_html(&text))) {
                let is_known = known.contains(tag.trim_start_matches('/'))
                    || ["th scope=\"col\"", "/th", "p class=\"lines\""].contains(&tag.as_str())
                    || TABLE.contains(&format!("<{tag}>"))
                    || tag.strip_prefix("ol start=\"").and_then(|rest| rest.strip_suffix('"')).is_some_and(|first| first.parse::<u64>().is_ok());
                prop_assert!(is_known, "{tag} of {text:?}");
            }
        }
    }
}
