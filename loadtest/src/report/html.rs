//! The report as a page that stands alone: no script, nothing from elsewhere, light and dark, wide and narrow.

use super::Report;
use super::content::{Cell, Mark, Part, Section, Table, headline, sections, summary};
use super::markup::Markup;
use super::plot::charts::{Chart, charts};

/// Colours, also of the plots, and what fits where.
const STYLE: &str = include_str!("style.css");
/// Nothing is to be fetched nor run, whatever a name from outside should turn into.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The document. It is well-formed XML, too.
pub(crate) fn render(report: &Report) -> String {
    let mut markup = Markup::default();
    markup.raw("<!DOCTYPE html>\n");
    markup.element("html", &[("lang", &"en")], |html| {
        html.element("head", &[], |head| {
            head.void("meta", &[("charset", &"utf-8")]);
            head.void("meta", &[("http-equiv", &"Content-Security-Policy"), ("content", &POLICY)]);
            head.void("meta", &[("name", &"viewport"), ("content", &"width=device-width, initial-scale=1")]);
            head.void("meta", &[("name", &"color-scheme"), ("content", &"light dark")]);
            head.leaf("title", &[], &format!("{} - load test of dgm-service", headline(report)));
            head.element("style", &[], |style| style.raw(STYLE));
        });
        html.element("body", &[], |body| body_of(body, report));
    });
    markup.finish()
}

fn body_of(body: &mut Markup, report: &Report) {
    let sections = sections(report);
    body.element("header", &[], |header| {
        header.leaf("h1", &[], "Load test of dgm-service");
        let failed = report.verdict.iter().any(|target| target.outcome.fails());
        let (class, sign) = if failed { ("verdict bad", "✗") } else { ("verdict good", "✓") };
        header.element("p", &[("class", &class)], |line| {
            line.leaf("span", &[("class", &"sign"), ("aria-hidden", &"true")], sign);
            line.leaf("strong", &[], &headline(report));
        });
        header.leaf("p", &[("class", &"soft")], &format!("{}.", summary(report)));
        header.element("nav", &[("aria-label", &"Sections")], |nav| {
            for section in &sections {
                nav.leaf("a", &[("href", &format!("#{}", section.part.id()))], section.title);
                nav.text(" ");
            }
        });
    });
    body.element("main", &[], |main| {
        for section in &sections {
            write_section(main, report, section);
        }
    });
}

fn write_section(main: &mut Markup, report: &Report, section: &Section) {
    let id = section.part.id();
    main.element("section", &[("id", &id), ("aria-labelledby", &format!("{id}-name"))], |inside| {
        inside.leaf("h2", &[("id", &format!("{id}-name"))], section.title);
        for paragraph in &section.text {
            inside.leaf("p", &[], paragraph);
        }
        let charts = charts(report, section.part);
        let figures = |plots: &mut Markup| charts.iter().for_each(|chart| figure(plots, chart));
        let tables = |inside: &mut Markup| {
            for (at, table) in section.tables.iter().enumerate() {
                write_table(inside, table, &format!("{id}-table-{at}"));
            }
        };
        match (charts.len(), section.tables.len()) {
            (0, 0 | 1) => tables(inside),
            // A lone plot has its table beside it, several tables have each other, where there is room.
            (0 | 1, _) => inside.element("div", &[("class", &"plots")], |both| {
                figures(both);
                tables(both);
            }),
            _ => {
                let class = if section.part == Part::Looks { "plots small" } else { "plots" };
                inside.element("div", &[("class", &class)], figures);
                tables(inside);
            }
        }
    });
}

fn figure(plots: &mut Markup, chart: &Chart) {
    plots.element("figure", &[], |figure| {
        let (Chart::Plot(super::plot::Plot { title, .. }) | Chart::Bars(super::plot::Bars { title, .. })) = chart;
        // The picture has it as its title.
        figure.leaf("figcaption", &[("aria-hidden", &"true")], title);
        match chart {
            Chart::Plot(plot) => plot.draw(figure),
            Chart::Bars(bars) => bars.draw(figure),
        }
    });
}

fn write_table(section: &mut Markup, table: &Table, id: &str) {
    let caption = format!("{id}-caption");
    // One that is too wide for a phone is moved with a finger, or with the keys once it has the focus.
    let around: [(&str, &dyn std::fmt::Display); 4] =
        [("class", &"wide"), ("role", &"region"), ("aria-labelledby", &caption), ("tabindex", &0)];
    section.element("div", &around, |wide| {
        wide.element("table", &[("id", &id)], |inside| {
            inside.element("caption", &[("id", &caption)], |inside| inside.leaf("span", &[], &table.caption));
            let class = |column: usize| if table.columns[column].figures { "figures" } else { "words" };
            inside.element("thead", &[], |head| {
                head.element("tr", &[], |row| {
                    for (at, column) in table.columns.iter().enumerate() {
                        row.leaf("th", &[("scope", &"col"), ("class", &class(at))], column.name);
                    }
                });
            });
            inside.element("tbody", &[], |body| {
                for cells in &table.rows {
                    let bad = cells.iter().any(|cell| cell.mark == Mark::Bad);
                    body.element("tr", &[("class", &if bad { "bad" } else { "plain" })], |row| {
                        for (at, cell) in cells.iter().enumerate() {
                            match at {
                                0 => row.element("th", &[("scope", &"row"), ("class", &class(0))], |th| {
                                    breakable(th, &cell.text);
                                }),
                                _ => row.element("td", &[("class", &class(at))], |td| text(td, cell)),
                            }
                        }
                    });
                }
            });
        });
    });
}

/// Text that may go on in a new line after a slash: a path is too long a word for a phone.
fn breakable(inside: &mut Markup, text: &str) {
    for (at, part) in text.split_inclusive('/').enumerate() {
        if at > 0 {
            inside.raw("<wbr/>");
        }
        inside.text(part);
    }
}

fn text(inside: &mut Markup, cell: &Cell) {
    let (class, sign) = match cell.mark {
        Mark::None => return inside.text(&cell.text),
        Mark::Faint => return inside.leaf("span", &[("class", &"soft")], &cell.text),
        Mark::Good => ("good", "✓ "),
        Mark::Bad => ("bad", "✗ "),
        Mark::High => ("high", "▲ "),
    };
    inside.element("strong", &[("class", &class)], |strong| {
        strong.leaf("span", &[("aria-hidden", &"true")], sign);
        strong.text(&cell.text);
    });
}
