//! Columns of text, and numbers for people.

use std::time::Duration;

/// Aligns columns. The first row is the heading.
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            let cells: Vec<_> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// Bytes in the largest binary unit that fits.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number of things: "1 subscriber", "2 subscribers".
pub fn counted(count: u64, thing: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{ending}")
}

/// A rate that may not be known.
pub fn human_rate(fps: Option<f64>) -> String {
    fps.map_or_else(|| "-".to_owned(), |fps| format!("{fps:.1}"))
}

/// Events a second, from the first of `count` events to the last. `None` below two events.
pub fn rate(count: u64, first_to_last: Duration) -> Option<f64> {
    (count > 1 && !first_to_last.is_zero()).then(|| (count - 1) as f64 / first_to_last.as_secs_f64())
}

/// Minutes and seconds.
pub fn human_time(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole / 3600 {
        0 => format!("{:02}:{:02}", whole / 60, whole % 60),
        hours => format!("{hours}:{:02}:{:02}", whole / 60 % 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["A".to_owned(), "B".to_owned()], vec!["long".to_owned(), "x".to_owned()]];
        assert_eq!(columns(&rows), "A     B\nlong  x");
    }

    #[test]
    fn a_rate_takes_two_and_counts_the_intervals() {
        assert_eq!(rate(31, Duration::from_secs(1)), Some(30.0));
        assert_eq!(rate(2, Duration::from_millis(40)), Some(25.0));
        assert_eq!([rate(0, Duration::ZERO), rate(1, Duration::ZERO), rate(2, Duration::ZERO)], [None; 3]);
    }

    #[test]
    fn numbers_come_in_units_that_suit() {
        assert_eq!([0, 1023, 1024, 37_748_736].map(human_bytes), ["0 B", "1023 B", "1.0 KiB", "36.0 MiB"]);
        assert_eq!([0, 1, 2].map(|n| counted(n, "frame")), ["0 frames", "1 frame", "2 frames"]);
        assert_eq!([None, Some(29.97)].map(human_rate), ["-", "30.0"]);
        assert_eq!([0.0, 61.9, 3661.0].map(human_time), ["00:00", "01:01", "1:01:01"]);
    }
}
