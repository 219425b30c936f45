//! A file that is cut short under a map: zeros and a mark, in place of the end of the process.
//!
//! Whoever may write to a file may also truncate it. The pages behind its new end are gone; touching them raises
//! `SIGBUS`, whose default is to end the process without a word. Our handler puts fresh zeros where the lost pages
//! were and marks the map; the layers above look at the mark before they use what they have read, and say what
//! happened. (Wayland's servers protect themselves in this way from the buffers of their clients.)
//!
//! A `SIGBUS` at any other address goes to the handler that was there before ours.

use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};
use std::sync::{Once, OnceLock};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// The addresses of one map. Made once and used again for other maps; never freed, so that the handler may look at
/// all of them at any moment without a lock.
struct Range {
    start: AtomicUsize,
    /// 0: of no map at present.
    len: AtomicUsize,
    writable: AtomicBool,
    lost: AtomicBool,
    taken: AtomicBool,
    next: *const Range,
}

// SAFETY: all fields are atomics, but `next`, which does not change once other threads can see the range.
unsafe impl Sync for Range {}

static RANGES: AtomicPtr<Range> = AtomicPtr::new(null_mut());
/// Whether any map was ever lost: usually all that has to be looked at.
static ANY_LOST: AtomicBool = AtomicBool::new(false);
/// Bytes of a page, asked before the handler is installed.
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);

fn ranges() -> impl Iterator<Item = &'static Range> {
    // Acquire: pairs with the Release in `Watched::new`; the range is complete.
    let mut next = RANGES.load(Ordering::Acquire).cast_const();
    std::iter::from_fn(move || {
        // SAFETY: null, or a range that was leaked by `Watched::new`; those live for ever and are only shared.
        let range = unsafe { next.as_ref() }?;
        next = range.next;
        Some(range)
    })
}

/// A map whose loss will be noticed.
pub(super) struct Watched(&'static Range);

impl Watched {
    pub(super) fn new(start: usize, len: usize, writable: bool) -> Self {
        install();
        let free = ranges().find(|range| {
            range.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
        });
        let range = free.unwrap_or_else(Self::make);
        range.start.store(start, Ordering::Relaxed);
        range.writable.store(writable, Ordering::Relaxed);
        range.lost.store(false, Ordering::Relaxed);
        // Release: the rest of the range comes before it. Pairs with the acquire in `Range::end_of`.
        range.len.store(len, Ordering::Release);
        Watched(range)
    }

    /// A range more, taken.
    fn make() -> &'static Range {
        let made = Box::leak(Box::new(Range {
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            writable: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            taken: AtomicBool::new(true),
            next: null(),
        }));
        let mut first = RANGES.load(Ordering::Relaxed);
        loop {
            made.next = first;
            match RANGES.compare_exchange(first, made, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return made,
                Err(found) => first = found,
            }
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        // The mark is set before anybody can read zeros: reads stay before this load.
        fence(Ordering::Acquire);
        ANY_LOST.load(Ordering::Relaxed) && self.0.lost.load(Ordering::Relaxed)
    }

    /// The map is about to go; its addresses mean nothing from now on.
    pub(super) fn end(&self) {
        self.0.len.store(0, Ordering::Relaxed);
        self.0.taken.store(false, Ordering::Release);
    }
}

impl Range {
    /// Where the map ends that `address` lies in.
    fn end_of(&self, address: usize) -> Option<usize> {
        let len = self.len.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        // Twice: start and length must be those of one map.
        (self.len.load(Ordering::Relaxed) == len && (start..start + len).contains(&address))
            .then_some(start + len)
    }

    /// Puts zeros in place of the lost page and all behind it.
    fn replace(&self, address: usize, end: usize) -> bool {
        let page = address & !(PAGE_BYTES.load(Ordering::Relaxed) - 1);
        let writable =
            if self.writable.load(Ordering::Relaxed) { ProtFlags::WRITE } else { ProtFlags::empty() };
        // Before there are zeros: whoever reads them, on any core, sees the mark. (The kernel makes every core forget the
        // old pages in between.)
        self.lost.store(true, Ordering::SeqCst);
        ANY_LOST.store(true, Ordering::SeqCst);
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: the pages from `page` to `end` belong to a map of ours that lives, since one of its users has just
        // faulted on them, and their file has been cut short there: nobody can lose anything by the replacement. The
        // protection stays the same, and so do all addresses. A system call, allowed in a signal handler.
        let replaced =
            unsafe { mmap_anonymous(page as *mut _, end - page, ProtFlags::READ | writable, flags) };
        replaced.is_ok()
    }
}

/// The handler that was there before ours.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        PAGE_BYTES.store(rustix::param::page_size(), Ordering::Relaxed);
        // SAFETY: all zeros are a valid `sigaction`.
        let mut before: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: asks only; `before` is valid for a `sigaction` to be written to.
        if unsafe { libc::sigaction(libc::SIGBUS, null(), &mut before) } != 0 {
            return;
        }
        // Before ours can run.
        let _ = BEFORE.set(before);
        // SAFETY: all zeros are a valid `sigaction`.
        let mut ours: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        ours.sa_sigaction = on_sigbus as *const () as usize;
        // On the alternative stack, if the thread has one: a stack that has overflown raises the same signals.
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `ours` is a complete `sigaction` whose handler has the signature that SA_SIGINFO asks for and calls
        // nothing that is not allowed in a signal handler.
        unsafe { libc::sigaction(libc::SIGBUS, &ours, null_mut()) };
    });
}

extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives a valid `siginfo_t` that is nobody else's.
    let told = unsafe { &*info };
    let code = told.si_code;
    if code == libc::BUS_ADRERR {
        // SAFETY: a SIGBUS of the kernel's has an address, the one that was accessed.
        let address = unsafe { told.si_addr() } as usize;
        let found = ranges().find_map(|range| Some((range, range.end_of(address)?)));
        if let Some((range, end)) = found {
            if range.replace(address, end) {
                return;
            }
            let words = b"framelane: a file of a channel was cut short by another process, and its memory could not be replaced\n";
            let _ = rustix::io::write(std::io::stderr(), words);
        }
    }
    hand_on(signal, code, info, context);
}

/// Does what would have been done without us.
fn hand_on(signal: libc::c_int, code: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(before) = BEFORE.get() else { return };
    match before.sa_sigaction {
        // Nobody can ignore a fault; a signal that somebody has sent, one can.
        libc::SIG_IGN if code <= 0 => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: all zeros are a valid `sigaction`: the default.
            let default: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
            // SAFETY: `default` is valid; `sigaction` may be called in a signal handler.
            unsafe { libc::sigaction(signal, &default, null_mut()) };
            // A fault is met again on return. One that was sent must be sent again; it waits until we return.
            if code <= 0 {
                // SAFETY: may be called in a signal handler.
                unsafe { libc::raise(signal) };
            }
        }
        handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
            type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            // SAFETY: SA_SIGINFO says that the number is the address of a function of this type.
            let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: without SA_SIGINFO, the number is the address of a function of this type.
            let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler) };
            handler(signal);
        }
    }
}
