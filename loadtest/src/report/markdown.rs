//! The report as Markdown: the page's sentences and tables without its plots, short enough to be pasted into a change.

use std::fmt::Write as _;

use super::Report;
use super::content::{Cell, Column, Mark, Part, Table, headline, sections, summary};

/// Rows of a table of which there may be any number, slowest or most frequent first.
const ROWS: usize = 10;

/// The document.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = writeln!(text, "# Load test\n\n**{}**\n\n{}.", escape(&headline(report)), escape(&summary(report)));
    for section in sections(report) {
        let _ = writeln!(text, "\n## {}", section.title);
        for paragraph in &section.text {
            let _ = writeln!(text, "\n{}", escape(paragraph));
        }
        let rows = if matches!(section.part, Part::Server | Part::Failures) { ROWS } else { usize::MAX };
        for table in &section.tables {
            write_table(&mut text, table, rows);
        }
    }
    text
}

fn write_table(text: &mut String, table: &Table, most: usize) {
    let line = |cells: &mut dyn Iterator<Item = String>| format!("| {} |", cells.collect::<Vec<_>>().join(" | "));
    let rule = |column: &Column| if column.figures { "---:" } else { "---" }.to_owned();
    let _ = writeln!(text, "\n{}:\n", escape(&table.caption));
    let _ = writeln!(text, "{}", line(&mut table.columns.iter().map(|column| column.name.to_owned())));
    let _ = writeln!(text, "{}", line(&mut table.columns.iter().map(rule)));
    for row in table.rows.iter().take(most) {
        let _ = writeln!(text, "{}", line(&mut row.iter().map(cell)));
    }
    if let Some(more) = table.rows.len().checked_sub(most).filter(|more| *more > 0) {
        let _ = writeln!(text, "\n{more} more in report.html.");
    }
}

fn cell(cell: &Cell) -> String {
    let text = escape(&cell.text);
    // Marks around nothing would stand there as they are.
    if matches!(cell.mark, Mark::Bad | Mark::High) && !text.is_empty() { format!("**{text}**") } else { text }
}

/// Text that means itself, on one line, in a cell of a table or outside of one.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.trim().chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '$' | '!' => escaped.extend(['\\', character]),
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    // At its beginning a greater sign is a quotation, which stands there for "at least" in the table of targets.
    if escaped.starts_with('>') { format!("\\{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{empty, many, sample};

    #[test]
    fn every_target_is_there_and_missed_ones_stand_out() {
        let (report, text) = (sample(), render(&sample()));
        for target in &report.verdict {
            assert!(text.contains(&format!("\n| {} | ", escape(&target.name))), "{}: {text}", target.name);
        }
        assert!(text.contains("| **MISSED** |") && text.contains("| met |"), "{text}");
        assert!(text.starts_with("# Load test\n\n**FAILED: throughput;"), "{text}");
    }

    #[test]
    fn what_came_from_outside_is_text() {
        assert_eq!(escape("a|b\n*c* <d> `e` \\ [f](g)"), "a\\|b \\*c\\* &lt;d> \\`e\\` \\\\ \\[f\\](g)");
        assert_eq!(escape(">= 5"), "\\>= 5");
        let text = render(&sample());
        assert!(text.contains("&lt;script>") && !text.contains("<script"), "{text}");
        // Every row of a table has as many cells as its head.
        let cells = |line: &str| line.replace("\\|", "").matches('|').count();
        for table in text.split("\n\n").filter(|part| part.starts_with('|')) {
            let mut lines = table.lines().map(cells);
            let head = lines.next().unwrap();
            assert!(lines.all(|line| line == head), "{table}");
        }
    }

    #[test]
    fn a_report_of_nothing_and_one_of_much_are_documents() {
        let text = render(&empty());
        assert!(text.contains("PASSED: 0 targets met") && text.contains("This run did not measure it."), "{text}");
        let text = render(&many());
        assert!(text.len() < 20_000, "{} bytes", text.len());
        assert!(text.contains("more in report.html."), "{text}");
    }
}
