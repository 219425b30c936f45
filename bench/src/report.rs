//! Rounds in, one comparison out; the same shape as `python/report.py` writes.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Times.
    Less,
    /// Rates.
    More,
}

/// Times of one side, kept by round.
#[derive(Default)]
pub struct Times {
    rounds: Vec<Histogram<u64>>,
}

impl Times {
    /// Adds a round.
    pub fn add(&mut self, times_ns: impl IntoIterator<Item = u64>) {
        let mut round = Histogram::new(3).expect("three digits");
        for time_ns in times_ns {
            round.record(time_ns.max(1)).expect("a histogram that grows");
        }
        self.rounds.push(round);
    }

    fn summary(&self, name: &str) -> Value {
        let mut all = Histogram::<u64>::new(3).expect("three digits");
        for round in &self.rounds {
            all.add(round).expect("a histogram that grows");
        }
        let us = |quantile| round3(all.value_at_quantile(quantile) as f64 / 1e3);
        json!({
            "name": name, "count": all.len(),
            "p50": us(0.5), "p90": us(0.9), "p99": us(0.99), "p99.9": us(0.999),
        })
    }
}

/// The comparison of two sides' times: the median over rounds of the ratio of their p50.
pub fn compare_times(work: &str, ours: &Times, peer: (&str, &Times), target: Option<f64>) -> Value {
    let p50 = |round: &Histogram<u64>| round.value_at_quantile(0.5) as f64;
    let ratios = ours.rounds.iter().zip(&peer.1.rounds).map(|(ours, peer)| p50(ours) / p50(peer)).collect();
    let (ours, theirs) = (ours.summary("framelane"), peer.1.summary(peer.0));
    row(work, "µs", Better::Less, ours, theirs, ratios, target)
}

/// The comparison of two sides' rates: the median over rounds of their ratio.
pub fn compare_rates(
    work: &str,
    unit: &str,
    ours: (&str, &[f64]),
    peer: (&str, &[f64]),
    target: Option<f64>,
) -> Value {
    let ratios = ours.1.iter().zip(peer.1).map(|(ours, peer)| ours / peer).collect();
    let side = |(name, rates): (&str, &[f64])| {
        json!({ "name": name, "count": rates.len(), "median": round3(median(rates.to_vec())),
                "least": round3(rates.iter().copied().fold(f64::MAX, f64::min)),
                "most": round3(rates.iter().copied().fold(0.0, f64::max)) })
    };
    row(work, unit, Better::More, side(ours), side(peer), ratios, target)
}

fn row(
    work: &str,
    unit: &str,
    better: Better,
    ours: Value,
    peer: Value,
    ratios: Vec<f64>,
    target: Option<f64>,
) -> Value {
    let ratio = median(ratios.clone());
    let reached = target.map(|target| if better == Better::Less { ratio <= target } else { ratio >= target });
    eprintln!("{work}: ratio {ratio:.3} (target {target:?})\n  {ours}\n  {peer}");
    json!({
        "work": work, "unit": unit, "better": if better == Better::Less { "less" } else { "more" },
        "ours": ours, "peer": peer, "ratio": round3(ratio),
        "ratios": ratios.into_iter().map(round3).collect::<Vec<_>>(), "target": target, "reached": reached,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

fn round3(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
