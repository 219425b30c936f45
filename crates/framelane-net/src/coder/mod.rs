//! Encoding the frames of a channel, once for all links that want the same.
//!
//! A slot is leased only while its frame is copied: encoding takes longer than a publisher can spare a slot.
//! The link that wants a frame first encodes it, on its own thread. Links that want a frame meanwhile give
//! theirs back, wait, and take the result if it is as new. So there is no thread more, and nothing is encoded
//! that no link wants.
//!
//! Payloads of H.264 build on each other, so a link takes each of them in turn. A link that falls behind, or
//! joins, needs a keyframe. A keyframe costs all links of the encoder bits: there is one in half a second at
//! most. A link that falls behind repeatedly continues with a separate encoder, if the limits allow for one.

mod costs;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use framelane::{Frame, FrameInfo, Layout, Origin, PixelFormat};
use framelane_codec::{Codec, Encoder, pack};

use crate::budget::Exceeded;
use crate::fault::Fault;
use crate::transport::END_POLL_INTERVAL;

pub(crate) use costs::Budgets;
use costs::{Costs, Need};

/// The shortest time between keyframes that links of one encoder ask for.
const KEYFRAME_PAUSE: Duration = Duration::from_millis(500);
/// Payloads of H.264 that are kept for links which are a little slower than others.
const RECENT: usize = 8;
/// A link that falls behind twice in this time is slower than the others.
const SLOW: Duration = Duration::from_secs(10);

/// A frame's payload and description.
#[derive(Debug)]
pub(crate) struct Coded {
    pub origin: Origin,
    pub local_sequence: u64,
    /// The life of the channel that `local_sequence` counts in.
    pub epoch: u64,
    /// Counts the payloads of an encoder.
    number: u64,
    pub layout: Layout,
    pub info: FrameInfo,
    pub standalone: bool,
    pub bytes: Vec<u8>,
}

/// The life of the channel that a link takes its frames from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub epoch: u64,
    /// No publisher holds the channel.
    pub is_over: bool,
}

/// The properties that links of one encoder have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    pub channel: String,
    pub codec: Codec,
    pub size: Option<(u32, u32)>,
    /// For H.264 alone: its payloads are taken at one pace.
    pub max_milli_fps: u32,
}

/// The encoders of a server.
pub(crate) struct Coders {
    budgets: Budgets,
    coders: Mutex<HashMap<Wanted, Weak<Coder>>>,
}

/// An encoder with its newest payloads.
struct Coder {
    codec: Codec,
    size: Option<(u32, u32)>,
    state: Mutex<State>,
    /// Notified when a link has finished encoding.
    changed: Condvar,
    /// `None` in a program that encodes for itself.
    costs: Option<Mutex<Costs>>,
}

struct State {
    /// `None` while a link encodes.
    engine: Option<Box<Engine>>,
    recent: VecDeque<Arc<Coded>>,
    number: u64,
    links: usize,
    /// A link waits for a keyframe.
    keyframe: bool,
    last_keyframe: Option<Instant>,
}

/// An encoder, with its memory.
#[derive(Default)]
struct Engine {
    /// With whether it is for pictures, which alone are scaled.
    encoder: Option<(bool, Encoder)>,
    frame: Vec<u8>,
    /// The memory of a payload that no link sends any more.
    spare: Vec<u8>,
}

/// The part of one link in an encoder.
pub(crate) struct Member<'c> {
    coder: Arc<Coder>,
    shared: Option<(&'c Coders, String)>,
    /// The last payload taken.
    taken: Option<u64>,
    needs_keyframe: bool,
    fell_behind: Option<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Coders {
    pub(crate) fn new(budgets: Budgets) -> Self {
        Coders { budgets, coders: Mutex::default() }
    }

    /// An encoder for the links that want the same.
    ///
    /// # Errors
    /// The limit that the encoder exceeds, and faults of the codec.
    pub(crate) fn join(&self, wanted: Wanted, client: &str) -> Result<Member<'_>, Fault> {
        let mut coders = lock(&self.coders);
        coders.retain(|_, coder| coder.strong_count() > 0);
        let coder = match coders.get(&wanted).and_then(Weak::upgrade) {
            Some(coder) => coder,
            None => {
                let coder = Coder::new(wanted.codec, wanted.size, Some(Costs::new(&self.budgets)))?;
                coders.insert(wanted, Arc::downgrade(&coder));
                coder
            }
        };
        drop(coders);
        self.member(coder, client)
    }

    /// An encoder for one link, which wants every frame.
    ///
    /// # Errors
    /// As [`Coders::join`].
    pub(crate) fn own(
        &self,
        codec: Codec,
        size: Option<(u32, u32)>,
        client: &str,
    ) -> Result<Member<'_>, Fault> {
        self.member(Coder::new(codec, size, Some(Costs::new(&self.budgets)))?, client)
    }

    fn member(&self, coder: Arc<Coder>, client: &str) -> Result<Member<'_>, Fault> {
        coder.join(client)?;
        let shared = Some((self, client.to_owned()));
        Ok(Member { coder, shared, taken: None, needs_keyframe: true, fell_behind: None })
    }
}

impl Member<'static> {
    /// An encoder of this program's own, without limits.
    ///
    /// # Errors
    /// What is wrong with the codec.
    pub(crate) fn alone(codec: Codec, size: Option<(u32, u32)>) -> Result<Self, Fault> {
        let coder = Coder::new(codec, size, None)?;
        Ok(Member { coder, shared: None, taken: None, needs_keyframe: true, fell_behind: None })
    }
}

impl Member<'_> {
    /// Returns whether frames of this format are coded at all. Other frames (detections, matrices) go as they
    /// are, or without loss.
    pub(crate) fn takes(&self, format: PixelFormat) -> bool {
        match (self.coder.codec, self.coder.size) {
            (Codec::Raw, None) => false,
            (Codec::Lz4, _) => true,
            _ => is_picture(format),
        }
    }

    /// The payload of this frame or of a newer one; with H.264 the one after that taken before. Drops the
    /// frame as soon as it is copied. `None` when the frame is no longer here: the caller takes the newest,
    /// and asks again.
    ///
    /// `life` is that of the subscriber's channel. Asks `keep` whether to continue while another link
    /// encodes.
    ///
    /// # Errors
    /// The limit that the frame exceeds, and why it cannot be encoded.
    pub(crate) fn code(
        &mut self,
        frame: Frame,
        life: Life,
        keyframe: bool,
        keep: &mut dyn FnMut() -> Result<(), Fault>,
    ) -> Result<Option<Arc<Coded>>, Fault> {
        self.needs_keyframe |= keyframe;
        let wanted = (life.epoch, frame.local_sequence());
        let mut frame = Some(frame);
        loop {
            self.catch_up();
            let mut state = lock(&self.coder.state);
            if let Some(coded) = state.find(self, wanted) {
                drop(state);
                return self.take(coded).map(Some);
            }
            let may_encode = self.may_encode(&mut state);
            match (frame.take(), may_encode.then(|| state.engine.take()).flatten()) {
                (Some(frame), Some(engine)) => {
                    let forced = std::mem::take(&mut state.keyframe) || self.needs_keyframe;
                    if forced {
                        state.last_keyframe = Some(Instant::now());
                    }
                    // Other links have this frame or one of a later life of the channel, and would discard
                    // it. This one gets it alone, and the next keyframe with the others.
                    let is_old = state.has(wanted) || state.is_past(life);
                    let again = self.coder.is_chained() && state.links > 1 && is_old;
                    state.keyframe = again;
                    drop(state);
                    let coded = self.encode(frame, life.epoch, (forced || again, again), engine)?;
                    if again {
                        self.taken = None;
                        self.needs_keyframe = true;
                        return Ok(Some(coded));
                    }
                    return self.take(coded).map(Some);
                }
                (None, Some(engine)) => {
                    state.engine = Some(engine);
                    return Ok(None);
                }
                (held, None) => {
                    // No slot is held while another link encodes.
                    drop(held);
                    drop(self.coder.changed.wait_timeout(state, END_POLL_INTERVAL));
                    keep()?;
                }
            }
        }
    }

    /// Another link may have encoded the payload. It costs this client as much.
    fn take(&mut self, coded: Arc<Coded>) -> Result<Arc<Coded>, Fault> {
        if let Some((_, client)) = &self.shared {
            self.coder.charge(client)?;
        }
        self.taken = Some(coded.number);
        self.needs_keyframe = false;
        Ok(coded)
    }

    /// Returns whether a payload that is encoded now is of use to this link.
    fn may_encode(&self, state: &mut State) -> bool {
        let in_turn = !self.coder.is_chained() || self.taken == Some(state.number) && !self.needs_keyframe;
        if in_turn || state.links <= 1 {
            return true;
        }
        state.keyframe |= state.last_keyframe.is_none_or(|last| last.elapsed() >= KEYFRAME_PAUSE);
        state.keyframe
    }

    /// Encodes on this thread. The engine is returned on errors too.
    fn encode(
        &mut self,
        frame: Frame,
        epoch: u64,
        (keyframe, again): (bool, bool),
        engine: Box<Engine>,
    ) -> Result<Arc<Coded>, Fault> {
        let coder = self.coder.clone();
        let mut turn = Turn { coder: &coder, engine: Some(engine) };
        if let Some((_, client)) = &self.shared {
            coder.fit(frame.layout(), client)?;
        }
        let engine = turn.engine.as_mut().expect("taken at the end of the turn only");
        let (origin, local_sequence) = (frame.origin(), frame.local_sequence());
        let info = frame.info().clone();
        engine.frame.clear();
        let layout = pack(frame.layout(), frame.bytes(), &mut engine.frame).map_err(Fault::lasting)?;
        drop(frame);
        let (encoded, bytes) = engine.encode(&coder, &layout, &info, keyframe)?;
        let mut state = lock(&coder.state);
        state.number += u64::from(!again);
        let coded = Arc::new(Coded {
            origin,
            local_sequence,
            epoch,
            number: state.number,
            layout: encoded.layout,
            info: info.with_color(encoded.info.color),
            standalone: encoded.keyframe,
            bytes,
        });
        if again {
            return Ok(coded);
        }
        let most = if coder.is_chained() { RECENT } else { 1 };
        if state.recent.len() == most
            && let Some(oldest) = state.recent.pop_front()
            && let Ok(oldest) = Arc::try_unwrap(oldest)
        {
            engine.spare = oldest.bytes;
        }
        state.recent.push_back(coded.clone());
        Ok(coded)
    }

    /// When the next payload in turn is no longer available, requests a keyframe. A link that is slower than
    /// the others gets a separate encoder.
    fn catch_up(&mut self) {
        let state = lock(&self.coder.state);
        let Some(next) = self.taken.map(|taken| taken + 1).filter(|_| self.coder.is_chained()) else {
            return;
        };
        if next > state.number || state.recent.iter().any(|coded| coded.number == next) {
            return;
        }
        let shares = state.links > 1;
        drop(state);
        self.taken = None;
        self.needs_keyframe = true;
        let before = self.fell_behind.replace(Instant::now());
        let Some((coders, client)) = self.shared.clone() else { return };
        if shares && before.is_some_and(|before| before.elapsed() < SLOW) {
            // Without room for one it stays, and gets a keyframe now and then.
            if let Ok(own) = coders.own(self.coder.codec, self.coder.size, &client) {
                *self = own;
            }
        }
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        if let Some((_, client)) = &self.shared {
            self.coder.leave(client);
        }
    }
}

impl State {
    /// Returns whether links have this frame.
    fn has(&self, (epoch, sequence): (u64, u64)) -> bool {
        self.recent.back().is_some_and(|coded| coded.epoch == epoch && coded.local_sequence >= sequence)
    }

    /// Returns whether links have a frame of a later life of the channel. A clock that was set back can give
    /// a later life a lower epoch, so a channel with a publisher is never past.
    fn is_past(&self, life: Life) -> bool {
        life.is_over && self.recent.back().is_some_and(|coded| coded.epoch > life.epoch)
    }

    /// A payload that this link can use.
    fn find(&self, link: &Member<'_>, (epoch, sequence): (u64, u64)) -> Option<Arc<Coded>> {
        let is_new = |coded: &&Arc<Coded>| coded.epoch == epoch && coded.local_sequence >= sequence;
        let found = if !link.coder.is_chained() {
            self.recent.back().filter(is_new)
        } else if link.needs_keyframe {
            self.recent.iter().rev().find(|coded| coded.standalone).filter(is_new)
        } else {
            self.recent.iter().find(|coded| Some(coded.number) == link.taken.map(|taken| taken + 1))
        };
        found.cloned()
    }
}

/// Returns the engine and wakes the links that wait for it.
struct Turn<'c> {
    coder: &'c Coder,
    engine: Option<Box<Engine>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.coder.state).engine = self.engine.take();
        self.coder.changed.notify_all();
    }
}

impl Engine {
    fn encode(
        &mut self,
        coder: &Coder,
        layout: &Layout,
        info: &FrameInfo,
        keyframe: bool,
    ) -> Result<(framelane_codec::Encoded, Vec<u8>), Fault> {
        let picture = is_picture(layout.format());
        let (_, encoder) = match &mut self.encoder {
            Some(made) if made.0 == picture => made,
            other => {
                let size = coder.size.filter(|_| picture);
                other.insert((picture, Encoder::new(coder.codec, size).map_err(Fault::lasting)?))
            }
        };
        let mut bytes = std::mem::take(&mut self.spare);
        if keyframe {
            encoder.request_keyframe();
        }
        let encoded = encoder.encode(layout, info, &self.frame, &mut bytes);
        Ok((encoded.map_err(Fault::lasting)?, bytes))
    }
}

impl Coder {
    fn new(codec: Codec, size: Option<(u32, u32)>, costs: Option<Costs>) -> Result<Arc<Self>, Fault> {
        // Reported before the first frame.
        Encoder::new(codec, size).map_err(Fault::lasting)?;
        let state = State {
            engine: Some(Box::default()),
            recent: VecDeque::new(),
            number: 0,
            links: 0,
            keyframe: false,
            last_keyframe: None,
        };
        let (state, costs) = (Mutex::new(state), costs.map(Mutex::new));
        Ok(Arc::new(Coder { codec, size, state, changed: Condvar::new(), costs }))
    }

    /// Returns whether a payload needs those before it.
    fn is_chained(&self) -> bool {
        matches!(self.codec, Codec::H264 { .. })
    }

    fn join(&self, client: &str) -> Result<(), Fault> {
        if let Some(costs) = &self.costs {
            lock(costs).join(client).map_err(Exceeded::into_fault)?;
        }
        lock(&self.state).links += 1;
        Ok(())
    }

    fn leave(&self, client: &str) {
        lock(&self.state).links -= 1;
        if let Some(costs) = &self.costs {
            lock(costs).leave(client);
        }
    }

    /// Charges the costs of frames of this layout, in all and for the client.
    fn fit(&self, layout: &Layout, client: &str) -> Result<(), Fault> {
        let Some(costs) = &self.costs else { return Ok(()) };
        let need = Need::of(layout, self.codec, self.size)?;
        lock(costs).fit(need, client).map_err(Exceeded::into_fault)
    }

    /// Charges the client for the frames that the encoder takes now.
    fn charge(&self, client: &str) -> Result<(), Fault> {
        let Some(costs) = &self.costs else { return Ok(()) };
        lock(costs).charge(client).map_err(Exceeded::into_fault)
    }
}

/// Returns whether codecs for pictures and scaling take the format. Other frames go as they are, or without
/// loss.
fn is_picture(format: PixelFormat) -> bool {
    PixelFormat::VIDEO.contains(&format)
}

#[cfg(test)]
mod tests;
