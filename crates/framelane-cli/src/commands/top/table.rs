//! The table of `top`: one line a channel, as wide as there is room.

use serde::Serialize;

use super::rates::Rates;
use crate::describe::{ChannelReport, LinkReport, SourceReport, holders_text};
use crate::latency::human_ns;
use crate::table::{counted, human_rate};

/// The minimum width of names. Other columns are removed first.
const NAME: usize = 12;
const GAP: &str = "  ";

/// A channel and its rates.
#[derive(Debug, Serialize)]
pub struct Line {
    #[serde(flatten)]
    pub channel: ChannelReport,
    #[serde(flatten)]
    pub rates: Rates,
    /// Frames between the newest frame and the slowest subscriber.
    pub most_behind: Option<u64>,
}

impl Line {
    pub fn new(channel: ChannelReport, rates: Rates) -> Self {
        // A subscriber without a frame is not behind.
        let cursors = channel.subscribers.iter().map(|reader| reader.cursor).filter(|&cursor| cursor > 0);
        let most_behind = cursors.min().map(|cursor| channel.sequence.saturating_sub(cursor));
        Line { channel, rates, most_behind }
    }
}

/// The channels that a column needs to be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fed {
    Any,
    Source,
    Link,
    /// Channels without a free slot.
    Starved,
}

struct Column {
    heading: &'static str,
    /// The least width, so that the table does not jump with each poll.
    least: usize,
    /// Order of removal without space for all columns: the largest first.
    expendable: u8,
    of: Fed,
    cell: fn(&Line) -> String,
}

const fn column(heading: &'static str, least: usize, expendable: u8, cell: fn(&Line) -> String) -> Column {
    Column { heading, least, expendable, of: Fed::Any, cell }
}

const fn of_link(heading: &'static str, least: usize, expendable: u8, cell: fn(&Line) -> String) -> Column {
    Column { heading, least, expendable, of: Fed::Link, cell }
}

/// The columns after the name.
const COLUMNS: [Column; 15] = [
    column("STATE", 5, 2, |line| line.channel.shown_state()),
    column("SIZE", 9, 5, |line| {
        or_dash(line.channel.layout.as_ref().map(|layout| format!("{}x{}", layout.width, layout.height)))
    }),
    column("FORMAT", 6, 9, |line| or_dash(line.channel.layout.as_ref().map(|layout| layout.format.clone()))),
    column("FRAMES/S", 8, 0, |line| human_rate(line.rates.frames_per_second)),
    column("MB/S", 6, 3, |line| megabytes(line.rates.bytes_per_second)),
    column("DROPS/S", 7, 1, |line| human_rate(line.rates.without_slot_per_second())),
    column("READERS", 7, 4, |line| line.channel.subscribers.len().to_string()),
    column("BEHIND", 6, 7, |line| or_dash(line.most_behind.map(|behind| behind.to_string()))),
    column("AGE", 7, 2, |line| or_dash(line.channel.newest_age_ns.map(human_ns))),
    Column {
        of: Fed::Source,
        ..column("SOURCE", 6, 1, |line| {
            let state = |source: &SourceReport| if source.is_receiving() { "up" } else { "lost" };
            or_dash(line.channel.source.as_ref().map(|source| state(source).to_owned()))
        })
    },
    of_link("LINK", 4, 3, |line| {
        let state = |link: &LinkReport| match (link.connected, link.live) {
            (true, true) => "up",
            (true, false) => "no source",
            (false, _) => "down",
        };
        or_dash(line.channel.link.as_ref().map(|link| state(link).to_owned()))
    }),
    of_link("TRIP", 7, 6, |line| of(line, |link| known(link.round_trip_ns))),
    of_link("LATENCY", 7, 5, |line| of(line, |link| known(link.latency_ns))),
    of_link("CLOCK", 8, 8, |line| of(line, |link| Some(clock(link.clock_offset_ns)))),
    Column {
        of: Fed::Starved,
        ..column("HELD", 4, 0, |line| or_dash(line.channel.is_starved().then(|| holders_text(&line.channel))))
    },
];

/// The heading and a line for each channel, in at most `width` characters each when that is given.
pub fn table(lines: &[Line], width: Option<usize>) -> Vec<String> {
    let shown = |column: &Column| {
        lines.iter().any(|line| match column.of {
            Fed::Any => true,
            Fed::Source => line.channel.source.is_some(),
            Fed::Link => line.channel.link.is_some(),
            Fed::Starved => line.channel.is_starved(),
        })
    };
    let longest = lines.iter().map(|line| line.channel.name.chars().count()).max().unwrap_or(0);
    let natural = longest.max("CHANNEL".len());
    let mut columns: Vec<(usize, &Column, Vec<String>)> = COLUMNS
        .iter()
        .filter(|column| column.of == Fed::Any || shown(column))
        .map(|column| {
            let cells: Vec<_> = lines.iter().map(column.cell).collect();
            let widest = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
            (widest.max(column.heading.len()).max(column.least), column, cells)
        })
        .collect();
    let mut name = natural;
    if let Some(width) = width {
        let rest = |columns: &[(usize, &Column, Vec<String>)]| -> usize {
            columns.iter().map(|(wide, ..)| wide + GAP.len()).sum()
        };
        while natural.min(NAME) + rest(&columns) > width {
            let spare = (0..columns.len()).filter(|&at| columns[at].1.expendable > 0);
            let Some(first) = spare.max_by_key(|&at| columns[at].1.expendable) else { break };
            columns.remove(first);
        }
        name = natural.min(width.saturating_sub(rest(&columns)).max(natural.min(NAME)));
    }
    let joined = |first: &str, cell: &dyn Fn(&Column, &[String]) -> String| {
        let mut text = format!("{:name$}", shortened(first, name));
        for (wide, column, cells) in &columns {
            let cell = cell(column, cells);
            // Text to the left, like names. Numbers to the right, where they do not jump.
            text += &match column.heading {
                "STATE" | "SIZE" | "FORMAT" | "SOURCE" | "LINK" | "HELD" => format!("{GAP}{cell:wide$}"),
                _ => format!("{GAP}{cell:>wide$}"),
            };
        }
        let text = text.trim_end();
        width.map_or_else(|| text.to_owned(), |width| cut(text, width))
    };
    let heading = joined("CHANNEL", &|column, _| column.heading.to_owned());
    let rows = lines
        .iter()
        .enumerate()
        .map(|(at, line)| joined(&line.channel.name, &|_, cells: &[String]| cells[at].clone()));
    std::iter::once(heading).chain(rows).collect()
}

/// All channels in one line.
pub fn summary(lines: &[Line]) -> String {
    let sum =
        |rate: fn(&Rates) -> Option<f64>| lines.iter().filter_map(|line| rate(&line.rates)).sum::<f64>();
    format!(
        "{}, {:.1} frames/s, {:.1} MB/s",
        counted(lines.len() as u64, "channel"),
        sum(|rates| rates.frames_per_second),
        sum(|rates| rates.bytes_per_second) / 1e6
    )
}

/// The rows that fit into `height` lines. The last line counts the rest.
pub fn within(mut rows: Vec<String>, height: usize) -> Vec<String> {
    if rows.len() > height {
        let shown = height.saturating_sub(1);
        let more = counted((rows.len() - shown) as u64, "more channel");
        rows.truncate(shown);
        rows.push(format!("and {more}"));
    }
    rows
}

/// The beginning of a text.
pub fn cut(text: &str, width: usize) -> String {
    text.chars().take(width).collect()
}

/// The end of a name, which identifies a channel best: `site/hall/cam0`.
fn shortened(name: &str, width: usize) -> String {
    let len = name.chars().count();
    if len <= width {
        return name.to_owned();
    }
    let end: String = name.chars().skip(len - width.saturating_sub(1)).collect();
    format!("…{end}")
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn of(line: &Line, cell: fn(&LinkReport) -> Option<String>) -> String {
    or_dash(line.channel.link.as_ref().and_then(cell))
}

fn known(ns: u64) -> Option<String> {
    (ns > 0).then(|| human_ns(ns))
}

fn clock(offset_ns: i64) -> String {
    let sign = if offset_ns < 0 { '-' } else { '+' };
    format!("{sign}{}", human_ns(offset_ns.unsigned_abs()))
}

fn megabytes(bytes: Option<f64>) -> String {
    human_rate(bytes.map(|bytes| bytes / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, link: Option<LinkReport>) -> Line {
        let directory = tempfile::tempdir().unwrap();
        let _publisher = framelane::PublisherOptions::new().directory(directory.path()).create(name).unwrap();
        let status = framelane::status(Some(directory.path()), name).unwrap();
        let rates =
            Rates { frames_per_second: Some(30.0), bytes_per_second: Some(186.6e6), ..Rates::default() };
        Line::new(ChannelReport { link, ..ChannelReport::new(&status) }, rates)
    }

    fn link() -> LinkReport {
        LinkReport {
            peer: "tls://camera:7420/cam0".to_owned(),
            connected: true,
            live: true,
            connections: 1,
            clock_offset_ns: -3_400_000,
            round_trip_ns: 1_200_000,
            latency_ns: 0,
            received_bytes: 0,
            missed: 0,
        }
    }

    #[test]
    fn link_columns_need_a_channel_from_a_link() {
        let plain = table(&[line("cam0", None)], None);
        assert!(!plain[0].contains("LINK") && !plain[0].contains("CLOCK"), "{plain:?}");
        let linked = table(&[line("cam0", None), line("cam1", Some(link()))], None);
        assert!(linked[0].ends_with("LINK     TRIP  LATENCY     CLOCK"), "{linked:?}");
        assert!(linked[2].ends_with("up    1.20 ms        -  -3.40 ms"), "{linked:?}");
        assert!(linked[1].ends_with("-           -        -         -"), "{linked:?}");
    }

    #[test]
    fn link_is_up_down_or_without_a_source() {
        for (connected, live, cell) in
            [(true, true, "up"), (true, false, "no source"), (false, false, "down"), (false, true, "down")]
        {
            let table = table(&[line("cam0", Some(LinkReport { connected, live, ..link() }))], None);
            let row = &table[1][table[0].find("LINK").unwrap()..];
            assert_eq!(row.split("  ").next(), Some(cell), "{table:?}");
        }
    }

    #[test]
    fn frames_that_a_link_skipped_are_no_drops() {
        let dropped_per_second = Some(29.9);
        for (link_missed_per_second, cell) in [(None, "29.9"), (Some(29.9), "0.0")] {
            let line = line("cam0", Some(link()));
            let rates = Rates { dropped_per_second, link_missed_per_second, ..line.rates };
            let table = table(&[Line { rates, ..line }], None);
            let end = table[0].find("DROPS/S").unwrap() + "DROPS/S".len();
            assert_eq!(table[1][..end].rsplit(' ').next(), Some(cell), "{table:?}");
        }
    }

    #[test]
    fn table_fits_the_terminal_and_keeps_the_rate() {
        let lines = [line("hall/a/very/long/name/of/a/camera", Some(link())), line("cam1", None)];
        for width in 0..200 {
            let table = table(&lines, Some(width));
            assert!(table.iter().all(|line| line.chars().count() <= width), "{width}: {table:?}");
            if width >= NAME + 10 {
                assert!(table[0].contains("FRAMES/S") && table[1].contains("30.0"), "{width}: {table:?}");
                assert!(table[1].contains("camera"), "{width}: {table:?}");
            }
        }
        assert!(table(&lines, Some(80))[0].contains("DROPS/S"));
        assert!(table(&lines, Some(200))[1].starts_with("hall/a/very/long/name/of/a/camera"));
    }

    #[test]
    fn rows_beyond_the_height_are_counted() {
        let rows = |count: usize| (0..count).map(|row| row.to_string()).collect::<Vec<_>>();
        assert_eq!(within(rows(3), 3), ["0", "1", "2"]);
        assert_eq!(within(rows(4), 3), ["0", "1", "and 2 more channels"]);
        assert_eq!(within(rows(4), 0), ["and 4 more channels"]);
    }

    #[test]
    fn names_keep_their_end() {
        assert_eq!(shortened("hall/cam0", 9), "hall/cam0");
        assert_eq!(shortened("hall/cam0", 6), "…/cam0");
        assert_eq!(shortened("hall/cam0", 0), "…");
    }

    #[test]
    fn the_summary_adds_up() {
        let text = summary(&[line("a", None), line("b", None)]);
        assert_eq!(text, "2 channels, 60.0 frames/s, 373.2 MB/s");
    }
}
