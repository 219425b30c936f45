//! What must not grow, looked at again and again.

use std::error::Error;
use std::fs;

use framelane_tests::Place;

use crate::watched::Watched;

/// Allowed beyond 2 %.
const SLACK_BYTES: f64 = (1 << 20) as f64;

/// One series for each thing that must not grow: its name, whether it may vary a little, and what was seen.
#[derive(Default)]
pub struct Samples(Vec<(String, bool, Vec<f64>)>);

impl Samples {
    /// Looks at this process, at the readers that stay, and at the directory.
    pub fn take(&mut self, place: &Place, stayers: &[Watched]) -> Result<(), Box<dyn Error>> {
        // By their own names: without a Python, both are in Rust.
        let stayers = stayers.iter().map(|stayer| (stayer.name(), stayer.id()));
        for (name, pid) in stayers.chain([("the soak itself", std::process::id())]) {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0)
            };
            self.add(format!("private memory of {name}, bytes"), true, field("RssAnon:") * 1024.0);
            self.add(format!("threads of {name}"), false, field("Threads:"));
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
            self.add(format!("descriptors of {name}"), false, descriptors as f64);
        }
        self.add("files in the directory".into(), false, place.files().len() as f64);
        Ok(())
    }

    fn add(&mut self, name: String, varies: bool, value: f64) {
        match self.0.iter_mut().find(|(found, ..)| *found == name) {
            Some((.., values)) => values.push(value),
            None => self.0.push((name, varies, vec![value])),
        }
    }

    /// Flat: the median of the last quarter is above that of the second one by 1 at most, which is a process that comes
    /// while another goes, or by 2 % and 1 MiB for memory.
    pub fn judge(&self, failures: &mut Vec<String>) {
        for (name, varies, values) in &self.0 {
            let quarter = values.len() / 4;
            if quarter == 0 {
                println!("soak: too short to judge: {name}");
                continue;
            }
            let (before, after) = (median(&values[quarter..2 * quarter]), median(&values[3 * quarter..]));
            println!("soak: {name}: {before:.0}, then {after:.0}");
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
