//! Resources that must not grow while a soak runs, sampled repeatedly.

use std::fs;
use std::io;

/// Allowed beyond 2 %.
const SLACK_BYTES: f64 = (1 << 20) as f64;

/// One series for each thing that must not grow: its name, whether it may vary a little, and what was seen.
#[derive(Default)]
pub struct Samples(Vec<(String, bool, Vec<f64>)>);

impl Samples {
    /// Samples a process: its private memory, threads and descriptors.
    ///
    /// # Errors
    /// If `/proc` is not readable.
    pub fn take(&mut self, name: &str, pid: u32) -> io::Result<()> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0)
        };
        self.add(format!("private memory of {name}, bytes"), true, field("RssAnon:") * 1024.0);
        self.add(format!("threads of {name}"), false, field("Threads:"));
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        self.add(format!("descriptors of {name}"), false, descriptors as f64);
        Ok(())
    }

    /// Adds to the series of this name a value that may not vary.
    pub fn count(&mut self, name: &str, value: usize) {
        self.add(name.to_owned(), false, value as f64);
    }

    fn add(&mut self, name: String, varies: bool, value: f64) {
        match self.0.iter_mut().find(|(found, ..)| *found == name) {
            Some((.., values)) => values.push(value),
            None => self.0.push((name, varies, vec![value])),
        }
    }

    /// Flat: the median of the last quarter is above that of the second one by 1 at most, which is a process
    /// that comes while another goes, or by 2 % and 1 MiB for memory. Prints what was found, in lines that
    /// begin with `title`.
    pub fn judge(&self, title: &str, failures: &mut Vec<String>) {
        for (name, varies, values) in &self.0 {
            let quarter = values.len() / 4;
            if quarter == 0 {
                println!("{title}: too short to judge: {name}");
                continue;
            }
            let (before, after) = (median(&values[quarter..2 * quarter]), median(&values[3 * quarter..]));
            println!("{title}: {name}: {before:.0}, then {after:.0}");
            let allowed = if *varies { before * 1.02 + SLACK_BYTES } else { before + 1.0 };
            if after > allowed {
                failures.push(format!("{name} has grown from {before:.0} to {after:.0}"));
            }
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
