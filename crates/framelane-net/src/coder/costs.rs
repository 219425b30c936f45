//! The costs of a shared encoder: once in all, and for each client that uses it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use framelane::{Error, ErrorKind, Layout};
use framelane_codec::Codec;

use super::is_picture;
use crate::budget::{Budget, Exceeded, Share};
use crate::fault::Fault;

/// A channel may be scaled up to this, also if its frames are smaller: 1920x1080.
const MOST_SCALED_PIXELS: u64 = 1920 * 1080;
/// The longest side that frames are scaled to, unless the channel's own is longer: a scaler needs memory for
/// each column.
const LONGEST_SCALED_SIDE: u32 = 8192;

/// The budgets of encoders.
#[derive(Clone)]
pub(crate) struct Budgets {
    pub memory: Arc<Budget>,
    pub encoders: Arc<Budget>,
    pub pixels: Arc<Budget>,
}

/// The costs of frames of one layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Need {
    pixels: u64,
    engine_bytes: u64,
    /// Of a payload, at most.
    payload_bytes: u64,
}

/// The charges of one encoder. A client is charged before it encodes a frame or takes a payload.
pub(super) struct Costs {
    budgets: Budgets,
    need: Need,
    in_all: [Share; 3],
    clients: HashMap<String, Client>,
}

struct Client {
    links: u64,
    parts: [Share; 3],
}

impl Need {
    /// # Errors
    /// A size above the limits for scaling.
    pub(super) fn of(layout: &Layout, codec: Codec, size: Option<(u32, u32)>) -> Result<Self, Fault> {
        let area = |(width, height)| u64::from(width) * u64::from(height);
        let own = (layout.width(), layout.height());
        let size = size.filter(|_| is_picture(layout.format())).unwrap_or(own);
        if area(size) > area(own).max(MOST_SCALED_PIXELS) {
            return Err(too_large(format_args!("a size of at most {MOST_SCALED_PIXELS} pixels"), own, size));
        }
        let side = |(width, height): (u32, u32)| width.max(height);
        if side(size) > side(own).max(LONGEST_SCALED_SIDE) {
            let most = format_args!("a size with sides of at most {LONGEST_SCALED_SIDE} pixels");
            return Err(too_large(most, own, size));
        }
        let packed = |(width, height)| Layout::packed(layout.format(), width, height).map_err(Fault::lasting);
        let (source, target) = (packed(own)?.size_bytes() as u64, packed(size)?.size_bytes() as u64);
        let pixels = area(size);
        // Roughly, and rather too much: the copy, what the scaler makes of it, and what the codec keeps.
        let scaled = if size == own { 0 } else { source + target };
        let (codec_bytes, payload_bytes) = match codec {
            Codec::Raw => (0, target),
            Codec::Lz4 | Codec::Jpeg { .. } => (2 * target, target),
            // H.264.
            _ => (32 * pixels, target / 8),
        };
        Ok(Need { pixels, engine_bytes: source + scaled + codec_bytes, payload_bytes })
    }

    /// Returns the costs after another frame. Buffers keep their memory when frames become smaller.
    fn then(self, next: Need) -> Need {
        Need {
            pixels: next.pixels,
            engine_bytes: next.engine_bytes.max(self.engine_bytes),
            payload_bytes: next.payload_bytes.max(self.payload_bytes),
        }
    }

    /// Memory, encoders and pixels.
    fn amounts(self, links: u64) -> [u64; 3] {
        // Each link may hold another payload.
        [self.engine_bytes + self.payload_bytes.saturating_mul(links), 1, self.pixels]
    }
}

fn too_large(expected: fmt::Arguments<'_>, own: (u32, u32), size: (u32, u32)) -> Fault {
    let message = format!(
        "expected {expected}, or the size of the channel ({}x{}), found {}x{}",
        own.0, own.1, size.0, size.1
    );
    Fault::lasting(
        Error::new(ErrorKind::FrameTooLarge, message)
            .with_hint("request a smaller size=, and scale the frames on the receiver"),
    )
}

impl Costs {
    pub(super) fn new(budgets: &Budgets) -> Self {
        let Budgets { memory, encoders, pixels } = budgets;
        let in_all = [memory, encoders, pixels].map(Budget::common);
        Costs { budgets: budgets.clone(), need: Need::default(), in_all, clients: HashMap::new() }
    }

    /// Adds a link of a client.
    ///
    /// # Errors
    /// The limit of all clients, or of this one. The link is not added then.
    pub(super) fn join(&mut self, client: &str) -> Result<(), Exceeded> {
        let Budgets { memory, encoders, pixels } = &self.budgets;
        let entry = self.clients.entry(client.to_owned()).or_insert_with(|| Client {
            links: 0,
            parts: [memory, encoders, pixels].map(|budget| budget.part_of(client)),
        });
        entry.links += 1;
        let joined = self.charge(client).and_then(|()| self.charge_in_all(self.need));
        if joined.is_err() {
            self.leave(client);
        }
        joined
    }

    pub(super) fn leave(&mut self, client: &str) {
        let Some(entry) = self.clients.get_mut(client) else { return };
        entry.links -= 1;
        if entry.links == 0 {
            self.clients.remove(client);
        } else {
            lower_all(&mut entry.parts, self.need.amounts(entry.links));
        }
        let links = self.links();
        lower_all(&mut self.in_all, self.need.amounts(links));
    }

    /// Before the client encodes a frame of this need.
    ///
    /// # Errors
    /// The limit of all clients, or of this one. Other clients are charged before they take the payload.
    pub(super) fn fit(&mut self, need: Need, client: &str) -> Result<(), Exceeded> {
        let need = self.need.then(need);
        self.charge_for(client, need)?;
        self.charge_in_all(need)?;
        self.need = need;
        Ok(())
    }

    /// Before the client takes a payload that another one has encoded.
    ///
    /// # Errors
    /// The limit of this client.
    pub(super) fn charge(&mut self, client: &str) -> Result<(), Exceeded> {
        self.charge_for(client, self.need)
    }

    fn charge_for(&mut self, client: &str, need: Need) -> Result<(), Exceeded> {
        match self.clients.get_mut(client) {
            Some(entry) => set_all(&mut entry.parts, need.amounts(entry.links)),
            None => Ok(()),
        }
    }

    fn charge_in_all(&mut self, need: Need) -> Result<(), Exceeded> {
        let links = self.links();
        set_all(&mut self.in_all, need.amounts(links))
    }

    fn links(&self) -> u64 {
        self.clients.values().map(|client| client.links).sum()
    }
}

fn set_all(shares: &mut [Share; 3], amounts: [u64; 3]) -> Result<(), Exceeded> {
    shares.iter_mut().zip(amounts).try_for_each(|(share, amount)| share.set(amount))
}

/// Shares that are smaller already stay as they are.
fn lower_all(shares: &mut [Share; 3], amounts: [u64; 3]) {
    for (share, amount) in shares.iter_mut().zip(amounts) {
        // A smaller amount is always possible.
        let _ = share.set(amount.min(share.amount()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Quantity;

    const LARGE: Need = Need { pixels: 100, engine_bytes: 1000, payload_bytes: 10 };
    const SMALL: Need = Need { pixels: 1, engine_bytes: 10, payload_bytes: 1 };

    fn budgets(pixels: u64) -> Budgets {
        Budgets {
            memory: Budget::new(Quantity::Memory, 10_000, "--max-memory"),
            encoders: Budget::new(Quantity::Encoders, 4, "--max-encoders"),
            pixels: Budget::new(Quantity::Pixels, pixels, "--max-pixels"),
        }
    }

    /// Encoders of two clients.
    fn encoders<const N: usize>(budgets: &Budgets) -> [Costs; N] {
        std::array::from_fn(|_| {
            let mut costs = Costs::new(budgets);
            costs.join("a").unwrap();
            costs.join("b").unwrap();
            costs
        })
    }

    #[test]
    fn client_that_takes_payloads_of_others_is_charged() {
        let [mut first, mut second] = encoders(&budgets(300));
        first.fit(LARGE, "a").unwrap();
        second.fit(LARGE, "c").unwrap();
        first.charge("b").unwrap();
        let fault = second.charge("b").unwrap_err().into_fault();
        assert!(fault.error.message().contains("at most 150 pixels in encoders for b"), "{fault:?}");
        // The client that encodes is not affected.
        first.fit(LARGE, "a").unwrap();
    }

    #[test]
    fn shared_encoder_counts_once_in_all() {
        let [mut costs] = encoders(&budgets(200));
        costs.fit(LARGE, "a").unwrap();
        costs.charge("b").unwrap();
        assert_eq!(costs.in_all.each_ref().map(Share::amount), [1020, 1, 100]);
        assert_eq!(costs.clients["b"].parts.each_ref().map(Share::amount), [1010, 1, 100]);
    }

    #[test]
    fn client_that_leaves_lowers_no_charge_of_others() {
        let [mut costs] = encoders(&budgets(200));
        costs.join("b").unwrap();
        costs.fit(LARGE, "a").unwrap();
        // Not charged for these frames so far.
        costs.leave("b");
        costs.leave("b");
        assert_eq!(costs.in_all.each_ref().map(Share::amount), [1010, 1, 100]);
        assert_eq!(costs.clients["a"].parts.each_ref().map(Share::amount), [1010, 1, 100]);
    }

    #[test]
    fn memory_of_buffers_stays_charged_when_frames_shrink() {
        let [mut costs] = encoders(&budgets(200));
        costs.fit(LARGE, "a").unwrap();
        costs.fit(SMALL, "a").unwrap();
        assert_eq!(costs.in_all.each_ref().map(Share::amount), [1020, 1, 1]);
    }
}
