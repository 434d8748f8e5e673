//! The page is read with a strict parser.

use roxmltree::{Document, Node, ParsingOptions};

use super::plot::charts::POINTS;
use super::sample::{HOSTILE, cores, empty, many, sample};
use super::{Report, html};

fn with_page(report: &Report, test: impl FnOnce(&Document<'_>)) {
    let page = html::render(report);
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    test(&Document::parse_with_options(&page, options).unwrap_or_else(|error| panic!("{error}: {page}")));
}

fn all<'a>(node: Node<'a, 'a>, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.descendants().filter(move |node| node.tag_name().name() == name)
}

fn by_id<'a>(document: &'a Document<'a>, id: &str) -> Option<Node<'a, 'a>> {
    document.descendants().find(|node| node.attribute("id") == Some(id))
}

fn text(node: Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|node| node.text()).collect()
}

/// Points of each line of a plot.
fn points(document: &Document<'_>, plot: &str) -> Vec<usize> {
    let plot = by_id(document, plot).unwrap();
    all(plot, "polyline").map(|line| line.attribute("points").unwrap().split(' ').count()).collect()
}

#[test]
fn every_target_is_there_and_missed_ones_stand_out() {
    let report = sample();
    with_page(&report, |page| {
        let rows: Vec<Node<'_, '_>> = all(by_id(page, "verdict").unwrap(), "tr").skip(1).collect();
        assert_eq!(rows.len(), report.verdict.len());
        for (row, target) in rows.iter().zip(&report.verdict) {
            assert_eq!(text(row.first_element_child().unwrap()), target.name);
            assert!(text(*row).contains(target.outcome.name()), "{target:?}");
            let class = if target.outcome.fails() { "bad" } else { "plain" };
            assert_eq!((row.attribute("class"), text(*row).contains('✗')), (Some(class), class == "bad"));
        }
        let verdict = text(all(page.root(), "header").next().unwrap());
        assert!(verdict.contains("FAILED: throughput; latency p95 of "), "{verdict}");
    });
}

#[test]
fn nothing_runs_and_nothing_is_fetched() {
    let page = html::render(&sample());
    for harmful in ["<script", "<!--", "javascript:", "url(", "@import", "src=", "onload"] {
        assert!(!page.to_lowercase().contains(harmful), "{harmful}");
    }
    with_page(&sample(), |page| {
        for link in page.descendants().filter_map(|node| node.attribute("href")) {
            assert!(link.starts_with('#') && by_id(page, &link[1..]).is_some(), "{link}");
        }
        let failures = text(by_id(page, "failures").unwrap());
        assert!(failures.contains(HOSTILE), "{failures}");
    });
}

#[test]
fn it_can_be_read_without_eyes() {
    with_page(&sample(), |page| {
        for table in all(page.root(), "table") {
            assert_eq!(table.first_element_child().unwrap().tag_name().name(), "caption");
            assert!(all(table, "th").all(|th| th.has_attribute("scope")));
            let widths: Vec<usize> =
                all(table, "tr").map(|row| row.children().filter(Node::is_element).count()).collect();
            assert!(widths.iter().all(|width| *width == widths[0]), "{widths:?}");
        }
        for svg in all(page.root(), "svg") {
            assert_eq!(svg.attribute("role"), Some("img"));
            for id in svg.attribute("aria-labelledby").unwrap().split(' ') {
                assert!(!text(by_id(page, id).unwrap()).is_empty(), "{id}");
            }
        }
        let mut ids: Vec<&str> = page.descendants().filter_map(|node| node.attribute("id")).collect();
        let number = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), number, "ids are unique");
    });
}

#[test]
fn a_plot_has_a_point_for_every_second() {
    with_page(&sample(), |page| {
        assert_eq!(points(page, "plot-throughput"), [60, 60, 60]);
        assert_eq!(points(page, "plot-lost"), [60, 60]);
        assert_eq!(points(page, "plot-latency"), [60, 60]);
        assert_eq!(points(page, "plot-distribution"), [11, 11, 11], "the highest is in the table only");
        assert_eq!(points(page, "plot-knee-rate"), [3]);
        let notes = text(by_id(page, "phases").unwrap());
        assert!(notes.contains("highest: 1,050/s") && notes.contains("first over: 240 ms"), "{notes}");
    });
}

#[test]
fn a_second_without_success_is_a_gap() {
    let mut report = sample();
    for at in [10, 20, 22] {
        report.timeline[at].succeeded = 0;
    }
    with_page(&report, |page| {
        assert_eq!(points(page, "plot-latency"), [10, 9, 37, 10, 9, 37]);
        let alone = all(by_id(page, "plot-latency").unwrap(), "circle").count();
        assert_eq!(alone, 2, "the 21st second, of p50 and of p95");
    });
}

#[test]
fn half_an_hour_is_thinned() {
    let page = html::render(&many());
    assert!(page.len() < 400_000, "{} bytes", page.len());
    with_page(&many(), |page| {
        assert_eq!(points(page, "plot-throughput"), [600, 600, 600]);
        for plot in all(page.root(), "svg") {
            assert!(points(page, plot.attribute("id").unwrap()).iter().all(|points| *points <= POINTS));
        }
        let caption = text(by_id(page, "time").unwrap());
        assert!(caption.contains("means of 3 s") && caption.contains("highest of 3 s"), "{caption}");
    });
}

#[test]
fn what_is_missing_breaks_nothing() {
    with_page(&empty(), |page| {
        assert_eq!(all(page.root(), "svg").count(), 0);
        assert!(text(page.root_element()).contains("PASSED: 0 targets met"));
    });
    let mut report = cores(sample(), "unknown", &[("load test", 0.0)]);
    report.timeline.truncate(1);
    (report.timeline[0].shed, report.timeline[0].failed) = (0, 0);
    report.looks.truncate(1);
    report.phases.truncate(1);
    with_page(&report, |page| {
        assert!(by_id(page, "plot-knee-rate").is_none() && by_id(page, "plot-lost").is_none());
        assert_eq!(all(by_id(page, "plot-throughput").unwrap(), "circle").count(), 3, "a second is seen as a point");
    });
}

#[test]
fn all_documents_are_written_and_the_first_can_be_read_again() {
    let folder = std::env::temp_dir().join(format!("dgm-loadtest-{}", uuid::Uuid::new_v4()));
    sample().write(&folder).unwrap();
    let again = Report::read(&folder.join("report.json")).unwrap();
    assert_eq!(again.verdict, sample().verdict);
    for name in ["report.md", "report.html"] {
        assert!(std::fs::metadata(folder.join(name)).unwrap().len() > 1_000, "{name}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}
