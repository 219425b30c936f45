//! Faults on our maps: `SIGBUS` becomes zeros and a mark, `SIGSEGV` gets a line that names its cause.
//!
//! A process that may write to a file may also truncate it. The pages behind its new end are gone. Touching
//! them raises `SIGBUS`, whose default is to end the process without a word. The handler puts fresh zeros
//! where the lost pages were and marks the map. The layers above check the mark before they use what they
//! have read, and report the loss. (Wayland's servers protect themselves in this way from the buffers of
//! their clients.)
//!
//! A write to a received frame raises `SIGSEGV`, because frames are mapped for reading only. The handler
//! prints one line and lets the signal do what it would have done, at the same instruction.
//!
//! Signals at any other address go to the handler that was there before ours. A handler that is installed
//! later takes our place. `keep_installed` puts ours in front of it again, with the later one behind.

use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicUsize, Ordering, fence};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// The longest channel name.
const NAME_BYTES: usize = 200;

/// The addresses of one map. Made once and used again for other maps; never freed, so that the handler may
/// look at all of them at any moment without a lock.
struct Range {
    start: AtomicUsize,
    /// 0: of no map at present.
    len: AtomicUsize,
    writable: AtomicBool,
    lost: AtomicBool,
    taken: AtomicBool,
    /// The channel whose frames are in a map for reading only; empty for others.
    name: [AtomicU8; NAME_BYTES],
    name_bytes: AtomicUsize,
    next: *const Range,
}

// SAFETY: all fields are atomics, but `next`, which does not change once other threads can see the range.
unsafe impl Sync for Range {}

static RANGES: AtomicPtr<Range> = AtomicPtr::new(null_mut());
/// True if any map was ever lost. Usually this is the only check.
static ANY_LOST: AtomicBool = AtomicBool::new(false);
/// Bytes of a page, asked before the handler is installed.
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);

fn ranges() -> impl Iterator<Item = &'static Range> {
    // Acquire: pairs with the Release in `Watched::new`; the range is complete.
    let mut next = RANGES.load(Ordering::Acquire).cast_const();
    std::iter::from_fn(move || {
        // SAFETY: null, or a range that was leaked by `Watched::new`; those live until the process ends and
        // are only shared.
        let range = unsafe { next.as_ref() }?;
        next = range.next;
        Some(range)
    })
}

/// A map whose loss will be noticed.
pub(super) struct Watched(&'static Range);

impl Watched {
    pub(super) fn new(start: usize, len: usize, writable: bool) -> Self {
        PAGE_BYTES.store(rustix::param::page_size(), Ordering::Relaxed);
        keep_installed();
        let free = ranges().find(|range| {
            range.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
        });
        let range = free.unwrap_or_else(Self::make);
        range.start.store(start, Ordering::Relaxed);
        range.writable.store(writable, Ordering::Relaxed);
        range.lost.store(false, Ordering::Relaxed);
        range.name_bytes.store(0, Ordering::Relaxed);
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
            name: [const { AtomicU8::new(0) }; NAME_BYTES],
            name_bytes: AtomicUsize::new(0),
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

    /// The map holds frames of this channel, to be read only.
    pub(super) fn set_channel(&self, channel: &str) {
        let bytes = &channel.as_bytes()[..channel.len().min(NAME_BYTES)];
        for (place, &byte) in self.0.name.iter().zip(bytes) {
            place.store(byte, Ordering::Relaxed);
        }
        // Release: the name comes before it. Pairs with the acquire in `Range::say_read_only`.
        self.0.name_bytes.store(bytes.len(), Ordering::Release);
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
    /// Returns the end of the map that contains `address`.
    fn end_of(&self, address: usize) -> Option<usize> {
        let len = self.len.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        // Twice: start and length must be those of one map.
        (self.len.load(Ordering::Relaxed) == len && (start..start + len).contains(&address))
            .then_some(start + len)
    }

    /// Replaces the lost page and all pages after it by zeros.
    fn replace(&self, address: usize, end: usize) -> bool {
        let page = address & !(PAGE_BYTES.load(Ordering::Relaxed) - 1);
        let writable =
            if self.writable.load(Ordering::Relaxed) { ProtFlags::WRITE } else { ProtFlags::empty() };
        // Before there are zeros: a thread that reads them, on any core, sees the mark. (The kernel makes
        // every core forget the old pages in between.)
        self.lost.store(true, Ordering::SeqCst);
        ANY_LOST.store(true, Ordering::SeqCst);
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: the pages from `page` to `end` belong to a live map of ours, since one of its users has
        // just faulted on them, and their file has been cut short there, so the replacement loses no data.
        // The protection stays the same, and so do all addresses. A system call, allowed in a signal handler.
        let replaced =
            unsafe { mmap_anonymous(page as *mut _, end - page, ProtFlags::READ | writable, flags) };
        replaced.is_ok()
    }

    /// Prints that a frame is read-only, if the map holds frames. Calls only what is allowed in a signal
    /// handler.
    fn say_read_only(&self) {
        const BEFORE: &[u8] = b"framelane: write to a received frame of channel ";
        const AFTER: &[u8] =
            b", which is read-only; work on a copy (or subscribe with the option writable)\n";
        static SAID: AtomicBool = AtomicBool::new(false);
        // Acquire: pairs with the release in `set_channel`.
        let name_bytes = self.name_bytes.load(Ordering::Acquire).min(NAME_BYTES);
        // A handler behind ours that returns brings the same fault again.
        if name_bytes == 0 || SAID.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut line = [0_u8; BEFORE.len() + NAME_BYTES + AFTER.len()];
        let name = self.name[..name_bytes].iter().map(|byte| byte.load(Ordering::Relaxed));
        let text = BEFORE.iter().copied().chain(name).chain(AFTER.iter().copied());
        let mut len = 0;
        for (place, byte) in line.iter_mut().zip(text) {
            *place = byte;
            len += 1;
        }
        say(&line[..len]);
    }
}

/// Writes to standard error, as a signal handler may.
fn say(line: &[u8]) {
    let _ = rustix::io::write(std::io::stderr(), line);
}

/// One of the signals that are handled, and the handlers that were there before ours.
struct Signal {
    number: libc::c_int,
    handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void),
    /// Null until ours is installed. What it points to is never freed, because a handler may be reading it.
    others: AtomicPtr<Others>,
    passed: [Passed; PASSED],
}

/// Handlers of other libraries that were found instead of ours, the newest first, each once.
struct Others {
    handlers: Vec<Other>,
    /// The number of times that the only one of them has put itself in front of ours.
    returns: AtomicUsize,
}

struct Other {
    action: libc::sigaction,
    /// It was to be called once only (SA_RESETHAND), and was.
    spent: AtomicBool,
}

/// Threads whose faults can be in the hands of other handlers at the same time. Further ones share places.
const PASSED: usize = 64;

/// A fault that a thread has passed to another handler.
///
/// That one may raise the signal again when it is done, or call ours with the very same fault: two copies of
/// framelane in one process each have the other behind them. Then an older handler is next, and the default
/// in the end.
struct Passed {
    /// 0: no thread's.
    thread: AtomicI32,
    /// The place in the list of handlers.
    depth: AtomicUsize,
    /// The address of the fault's description, and of our stack.
    description: AtomicUsize,
    stack: AtomicUsize,
    /// The handler has returned, and the signal that it has raised comes next.
    is_pending: AtomicBool,
}

impl Passed {
    const fn none() -> Self {
        Passed {
            thread: AtomicI32::new(0),
            depth: AtomicUsize::new(0),
            description: AtomicUsize::new(0),
            stack: AtomicUsize::new(0),
            is_pending: AtomicBool::new(false),
        }
    }
}

impl Signal {
    const fn new(
        number: libc::c_int,
        handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void),
    ) -> Self {
        let passed = [const { Passed::none() }; PASSED];
        Signal { number, handler, others: AtomicPtr::new(null_mut()), passed }
    }
}

static SIGNALS: [Signal; 2] = [Signal::new(libc::SIGBUS, on_sigbus), Signal::new(libc::SIGSEGV, on_sigsegv)];

/// Installs the handlers, or puts them in front of others that were installed since. Two system calls when
/// nothing has changed: for moments that make system calls anyway.
pub(super) fn keep_installed() {
    static INSTALLING: Mutex<()> = Mutex::new(());
    // Another thread is at it, or was when this process was forked.
    let Ok(_installing) = INSTALLING.try_lock() else { return };
    for signal in &SIGNALS {
        signal.install();
    }
}

impl Signal {
    fn install(&self) {
        /// A handler that was there before ours, and has come to the front so often, does so as ours does.
        /// One of the two has to give way: the one that has an older handler behind it stays in front.
        const GIVE_WAY: usize = 2;
        // SAFETY: all zeros are a valid `sigaction`.
        let mut found: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: asks only; `found` is valid for a `sigaction` to be written to.
        if unsafe { libc::sigaction(self.number, null(), &mut found) } != 0 {
            return;
        }
        let ours = self.handler as *const () as usize;
        if found.sa_sigaction == ours {
            return;
        }
        // SAFETY: null, or a list that was leaked here and is never changed, except for its atomics.
        let known = unsafe { self.others.load(Ordering::Relaxed).as_ref() };
        let known_handlers = known.map_or(&[][..], |known| &known.handlers);
        let is_newest = known_handlers.first().is_some_and(|newest| {
            (newest.action.sa_sigaction, newest.action.sa_flags) == (found.sa_sigaction, found.sa_flags)
        });
        match known {
            Some(known) if is_newest && !known.handlers[0].spent.load(Ordering::Relaxed) => {
                let is_chain = !matches!(found.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN);
                if is_chain
                    && known.handlers.len() == 1
                    && known.returns.fetch_add(1, Ordering::Relaxed) >= GIVE_WAY
                {
                    return;
                }
            }
            _ => {
                let others =
                    known_handlers.iter().filter(|other| other.action.sa_sigaction != found.sa_sigaction);
                let copied = others.map(|other| Other {
                    action: other.action,
                    spent: AtomicBool::new(other.spent.load(Ordering::Relaxed)),
                });
                let newest = Other { action: found, spent: AtomicBool::new(false) };
                let handlers = std::iter::once(newest).chain(copied).collect();
                let list = Box::leak(Box::new(Others { handlers, returns: AtomicUsize::new(0) }));
                // Before ours can run.
                self.others.store(list, Ordering::Release);
            }
        }
        // SAFETY: all zeros are a valid `sigaction`.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = ours;
        // On the alternative stack, if the thread has one: a stack that has overflown raises the same
        // signals.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `action` is a complete `sigaction` whose handler has the signature that SA_SIGINFO asks for
        // and calls nothing that is not allowed in a signal handler.
        unsafe { libc::sigaction(self.number, &action, null_mut()) };
    }

    /// Does what would have been done without us.
    fn hand_on(&self, code: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // SAFETY: null, or a list that `install` has leaked and that is never changed, except for its
        // atomics.
        let Some(others) = (unsafe { self.others.load(Ordering::Acquire).as_ref() }) else { return };
        // SAFETY: has no conditions; a system call, allowed in a signal handler.
        let thread = unsafe { libc::gettid() };
        let here = &raw const thread as usize;
        let passed = self.passed(thread);
        // Deeper in the stack: within a handler that this thread's fault was passed to. (A new fault that is
        // described at the same place of an alternative stack comes from no deeper.)
        let outer = passed.stack.load(Ordering::Relaxed);
        let is_nested = here < outer;
        let is_raised_again = code <= 0 && (passed.is_pending.swap(false, Ordering::Relaxed) || is_nested);
        let is_handed_back =
            code > 0 && is_nested && passed.description.load(Ordering::Relaxed) == info as usize;
        let is_next = is_raised_again || is_handed_back;
        let depth = if is_next { passed.depth.load(Ordering::Relaxed) + 1 } else { 0 };
        let default = |other: &&Other| {
            other.spent.load(Ordering::Relaxed) || other.action.sa_sigaction == libc::SIG_DFL
        };
        match others.handlers.get(depth).filter(|other| !default(other)) {
            // A fault cannot be ignored. A signal that a program has sent can be.
            Some(other) if other.action.sa_sigaction == libc::SIG_IGN && code <= 0 => {}
            Some(other) if other.action.sa_sigaction != libc::SIG_IGN => {
                passed.depth.store(depth, Ordering::Relaxed);
                passed.description.store(info as usize, Ordering::Relaxed);
                passed.stack.store(here, Ordering::Relaxed);
                other.call(self.number, info, context);
                // The signal that it has raised is blocked until we return.
                passed.is_pending.store(is_pending(self.number), Ordering::Relaxed);
                // The outermost call frees the place. No other thread may have it before.
                passed.stack.store(if is_nested { outer } else { 0 }, Ordering::Relaxed);
                if !is_nested && !passed.is_pending.load(Ordering::Relaxed) {
                    passed.thread.store(0, Ordering::Release);
                }
            }
            _ => {
                if !is_nested {
                    passed.thread.store(0, Ordering::Release);
                }
                // SAFETY: all zeros are a valid `sigaction`: the default.
                let default: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
                // SAFETY: `default` is valid; `sigaction` may be called in a signal handler.
                unsafe { libc::sigaction(self.number, &default, null_mut()) };
                // A fault is met again on return. One that was sent must be sent again; it waits until we
                // return.
                if code <= 0 {
                    // SAFETY: may be called in a signal handler.
                    unsafe { libc::raise(self.number) };
                }
            }
        }
    }

    /// The place of a thread. Where all are taken it shares one, and a handler may be called twice.
    fn passed(&self, thread: libc::pid_t) -> &Passed {
        let own = self.passed.iter().find(|passed| passed.thread.load(Ordering::Relaxed) == thread);
        let free = || {
            self.passed.iter().find(|passed| {
                // Acquire: pairs with the release of the thread that had it.
                passed.thread.compare_exchange(0, thread, Ordering::Acquire, Ordering::Relaxed).is_ok()
            })
        };
        if let Some(own) = own {
            return own;
        }
        let passed = free().unwrap_or(&self.passed[thread.unsigned_abs() as usize % PASSED]);
        passed.stack.store(0, Ordering::Relaxed);
        passed.is_pending.store(false, Ordering::Relaxed);
        passed
    }
}

impl Other {
    /// Calls it as the kernel would have: with the signals blocked that it asks for.
    fn call(&self, number: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let action = &self.action;
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the set was filled in by `sigaction`; `before` has room for another one. Allowed in a
        // signal handler.
        let is_known =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &action.sa_mask, before.as_mut_ptr()) } == 0;
        if action.sa_flags & libc::SA_NODEFER != 0 {
            // SAFETY: a set of all zeros is empty on Linux.
            let mut own: libc::sigset_t = unsafe { MaybeUninit::zeroed().assume_init() };
            // SAFETY: `own` is a valid set, and the number that of a signal.
            unsafe { libc::sigaddset(&mut own, number) };
            // SAFETY: `own` is a valid set; the former mask is not asked for.
            unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &own, null_mut()) };
        }
        if action.sa_flags & libc::SA_RESETHAND != 0 {
            self.spent.store(true, Ordering::Relaxed);
        }
        if action.sa_flags & libc::SA_SIGINFO != 0 {
            type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            // SAFETY: SA_SIGINFO says that the number is the address of a function of this type.
            let handler = unsafe { std::mem::transmute::<usize, Handler>(action.sa_sigaction) };
            handler(number, info, context);
        } else {
            // SAFETY: without SA_SIGINFO, the number is the address of a function of this type.
            let handler =
                unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(action.sa_sigaction) };
            handler(number);
        }
        if is_known {
            // SAFETY: the call above has filled it in.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), null_mut()) };
        }
    }
}

/// Returns true if a signal is pending for this thread, or the process.
fn is_pending(number: libc::c_int) -> bool {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `set` has room for a set. Allowed in a signal handler.
    let is_known = unsafe { libc::sigpending(set.as_mut_ptr()) } == 0;
    // SAFETY: zeros are a valid set on Linux, and so is what the call has filled in.
    is_known && unsafe { libc::sigismember(set.as_ptr(), number) } == 1
}

/// The map that holds the address of a fault, and where it ends; `None` for a signal that a program has sent.
fn range_of(info: &libc::siginfo_t) -> Option<(usize, &'static Range, usize)> {
    if info.si_code <= 0 {
        return None;
    }
    // SAFETY: a SIGBUS or SIGSEGV of the kernel's has an address, the one that was accessed.
    let address = unsafe { info.si_addr() } as usize;
    ranges().find_map(|range| Some((address, range, range.end_of(address)?)))
}

extern "C" fn on_sigbus(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` that no other code uses.
    let found = unsafe { &*info };
    let code = found.si_code;
    if code == libc::BUS_ADRERR
        && let Some((address, range, end)) = range_of(found)
    {
        if range.replace(address, end) {
            return;
        }
        say(b"framelane: a file of a channel was cut short by another process, and its memory could not be \
              replaced\n");
    }
    SIGNALS[0].hand_on(code, info, context);
}

extern "C" fn on_sigsegv(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    /// The access is not allowed by the protection of the map (`SEGV_ACCERR` of the system's headers).
    const PROTECTED: libc::c_int = 2;
    // SAFETY: the kernel passes a valid `siginfo_t` that no other code uses.
    let found = unsafe { &*info };
    let code = found.si_code;
    // Every map of ours may be read, so this was a write.
    if code == PROTECTED
        && let Some((_, range, _)) = range_of(found)
    {
        range.say_read_only();
    }
    SIGNALS[1].hand_on(code, info, context);
}
