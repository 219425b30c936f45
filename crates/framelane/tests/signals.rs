//! The handlers of `SIGBUS` and `SIGSEGV` with others in the same process: handlers that fault, raise the
//! signal again, call the one before them, or belong to a second copy of framelane. Each case is a process,
//! because most of them end it.
//!
//! Not on Windows. Signals are of Unix.
#![cfg(unix)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::ptr::null_mut;
use std::sync::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use framelane::*;
use framelane_test_kit::Place;

type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// Runs one case in another process.
fn run(case: &str) -> Output {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "case_in_a_process", "--nocapture"])
        .env("FRAMELANE_CASE", case)
        .output()
        .unwrap();
    print!("{case}: {output:?}");
    output
}

fn count(output: &Output, word: &str) -> usize {
    String::from_utf8_lossy(&output.stdout).matches(word).count()
}

#[test]
fn case_in_a_process() {
    match std::env::var("FRAMELANE_CASE").as_deref() {
        Ok("threads") => many_threads_fault(),
        Ok("sent") => raising_handler_gets_a_sent_signal(),
        Ok("faults") => handler_that_faults_itself(),
        Ok("mask") => handler_with_a_mask(),
        Ok("once") => handler_for_one_signal(),
        Ok("lost") => handler_that_reads_a_lost_map(),
        Ok("copy behind") => second_copy(false),
        Ok("copy in front") => second_copy(true),
        Ok("junior") => copy_that_came_second(),
        Ok("handled") => signal_after_a_handled_fault(),
        _ => {}
    }
}

// ---- what the cases share ------------------------------------------------------------------------------

/// A channel with one frame; opening it installs the handlers.
struct Channel {
    directory: Place,
    publisher: Publisher,
    subscriber: Subscriber,
}

impl Channel {
    fn new() -> Self {
        let directory = Place::new();
        let mut publisher = PublisherOptions::new().directory(directory.path()).create("c").unwrap();
        let subscriber = SubscriberOptions::new().directory(directory.path()).open("c").unwrap();
        let layout = Layout::packed(PixelFormat::Gray8, 100, 100).unwrap();
        publisher.send(&layout, &FrameInfo::default(), &[7; 10_000]).unwrap();
        Channel { directory, publisher, subscriber }
    }

    /// A wait: the handlers are put in front again.
    fn wait(&mut self) {
        let _ = self.subscriber.recv_timeout(Duration::from_millis(1));
    }
}

/// Writes as a signal handler may.
fn say(word: &str) {
    // SAFETY: the bytes are valid for reading.
    unsafe { libc::write(1, word.as_ptr().cast(), word.len()) };
}

fn exit(code: i32) -> ! {
    // SAFETY: ends the process, which a signal handler may do.
    unsafe { libc::_exit(code) }
}

fn action(handler: usize, flags: libc::c_int) -> libc::sigaction {
    // SAFETY: all zeros are a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    (action.sa_sigaction, action.sa_flags) = (handler, flags);
    action
}

/// Installs a handler; returns the one before.
fn install(number: libc::c_int, new: &libc::sigaction) -> libc::sigaction {
    let mut before = action(libc::SIG_DFL, 0);
    // SAFETY: both are valid, and the handler has the type that its flags say.
    assert_eq!(unsafe { libc::sigaction(number, new, &mut before) }, 0);
    before
}

fn installed(number: libc::c_int) -> usize {
    let mut found = action(libc::SIG_DFL, 0);
    // SAFETY: asks only.
    assert_eq!(unsafe { libc::sigaction(number, std::ptr::null(), &mut found) }, 0);
    found.sa_sigaction
}

/// The previous handler, which the next one calls.
static BEFORE: RwLock<Option<libc::sigaction>> = RwLock::new(None);
static CALLS: AtomicUsize = AtomicUsize::new(0);

fn before() -> libc::sigaction {
    BEFORE.try_read().unwrap().unwrap()
}

/// Reads memory of a truncated file that belongs to no channel.
fn fault() {
    let file: File = tempfile::tempfile_in("/dev/shm").unwrap();
    file.set_len(4096).unwrap();
    // SAFETY: a new map of a file, at an address of the kernel's choice.
    let map = unsafe { libc::mmap(null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    file.set_len(0).unwrap();
    // SAFETY: the address is mapped; that its file is too short is what is wanted.
    unsafe { map.cast::<u8>().read_volatile() };
}

// ---- threads ---------------------------------------------------------------------------------------------

/// Handles a signal as Python's faulthandler does: prints, restores the previous handler, and raises it
/// again.
extern "C" fn raising(number: libc::c_int) {
    say("raising\n");
    if CALLS.fetch_add(1, Ordering::SeqCst) > 1000 {
        exit(99);
    }
    install(number, &action(before().sa_sigaction, before().sa_flags));
    // SAFETY: may be called in a signal handler.
    unsafe { libc::raise(number) };
}

fn many_threads_fault() {
    let mut channel = Channel::new();
    let new = action(raising as *const () as usize, libc::SA_NODEFER);
    *BEFORE.write().unwrap() = Some(install(libc::SIGBUS, &new));
    channel.wait();
    let start = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                fault();
            });
        }
    });
}

#[test]
fn threads_that_fault_at_once_end_the_process_as_one_does() {
    for _ in 0..5 {
        let output = run("threads");
        assert_eq!(output.status.signal(), Some(libc::SIGBUS));
        // A thread may fault again after another one has put the handlers back.
        assert!(count(&output, "raising") > 0);
    }
}

fn raising_handler_gets_a_sent_signal() {
    // The standard library has a handler too, which expects to be called for faults only.
    install(libc::SIGSEGV, &action(libc::SIG_DFL, 0));
    let mut channel = Channel::new();
    let new = action(raising as *const () as usize, 0);
    *BEFORE.write().unwrap() = Some(install(libc::SIGSEGV, &new));
    channel.wait();
    // SAFETY: sends a signal to this thread.
    unsafe { libc::raise(libc::SIGSEGV) };
    exit(98);
}

#[test]
fn sent_signal_ends_the_process_after_one_call_of_its_handler() {
    let output = run("sent");
    assert_eq!((output.status.signal(), count(&output, "raising")), (Some(libc::SIGSEGV), 1));
}

// ---- what a handler may do -------------------------------------------------------------------------------

extern "C" fn faulting(_: libc::c_int) {
    say("faulting\n");
    if CALLS.fetch_add(1, Ordering::SeqCst) == 1 {
        exit(74);
    }
    fault();
}

fn handler_that_faults_itself() {
    let new = action(faulting as *const () as usize, libc::SA_NODEFER);
    install(libc::SIGBUS, &new);
    let _channel = Channel::new();
    fault();
}

#[test]
fn handler_that_faults_is_entered_again_if_it_allows() {
    let output = run("faults");
    assert_eq!((output.status.code(), count(&output, "faulting")), (Some(74), 2));
}

extern "C" fn looking_at_the_mask(_: libc::c_int) {
    let mut set = std::mem::MaybeUninit::zeroed();
    // SAFETY: asks for the mask only.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr()) };
    // SAFETY: the call has filled it in.
    let is_blocked = |number| unsafe { libc::sigismember(set.as_ptr(), number) } == 1;
    exit(if is_blocked(libc::SIGUSR1) && is_blocked(libc::SIGBUS) { 75 } else { 97 });
}

fn handler_with_a_mask() {
    let mut new = action(looking_at_the_mask as *const () as usize, 0);
    // SAFETY: a valid set, and the number of a signal.
    unsafe { libc::sigaddset(&mut new.sa_mask, libc::SIGUSR1) };
    install(libc::SIGBUS, &new);
    let _channel = Channel::new();
    fault();
}

#[test]
fn handler_has_the_signals_blocked_that_it_asks_for() {
    assert_eq!(run("mask").status.code(), Some(75));
}

extern "C" fn once(_: libc::c_int) {
    say("once\n");
    if CALLS.fetch_add(1, Ordering::SeqCst) > 100 {
        exit(99);
    }
}

fn handler_for_one_signal() {
    install(libc::SIGBUS, &action(once as *const () as usize, libc::SA_RESETHAND));
    let _channel = Channel::new();
    fault();
}

#[test]
fn handler_for_one_signal_is_called_once() {
    let output = run("once");
    assert_eq!((output.status.signal(), count(&output, "once")), (Some(libc::SIGBUS), 1));
}

static LOST: AtomicUsize = AtomicUsize::new(0);

extern "C" fn reading_a_lost_map(_: libc::c_int) {
    let address = LOST.load(Ordering::SeqCst) as *const u8;
    // SAFETY: a frame of ours that is mapped; the file behind it was cut short.
    exit(if unsafe { address.read_volatile() } == 0 { 76 } else { 96 });
}

fn handler_that_reads_a_lost_map() {
    install(libc::SIGSEGV, &action(reading_a_lost_map as *const () as usize, 0));
    let mut channel = Channel::new();
    let frame = channel.subscriber.recv_timeout(Duration::ZERO).unwrap();
    LOST.store(frame.bytes().as_ptr().addr(), Ordering::SeqCst);
    let file = File::options().write(true).open(channel.directory.path().join("c.data.1")).unwrap();
    file.set_len(0).unwrap();
    // SAFETY: not at all: address 16 is never mapped, which is what is wanted.
    unsafe { (16 as *const u8).read_volatile() };
}

#[test]
fn lost_map_reads_as_zeros_within_another_handler() {
    assert_eq!(run("lost").status.code(), Some(76));
}

static RESOLVE: AtomicUsize = AtomicUsize::new(0);

/// Makes the access possible, as a program does that maps memory on demand; leaves signals that were sent
/// alone.
extern "C" fn resolving(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: valid, from the kernel.
    if unsafe { (*info).si_code } <= 0 {
        say("sent\n");
        return;
    }
    // SAFETY: the page was mapped by `signal_after_a_handled_fault`.
    unsafe { libc::mprotect(RESOLVE.load(Ordering::SeqCst) as *mut _, 4096, libc::PROT_READ) };
}

fn signal_after_a_handled_fault() {
    install(libc::SIGSEGV, &action(resolving as *const () as usize, libc::SA_SIGINFO));
    let channel = Channel::new();
    // SAFETY: a new map, at an address of the kernel's choice.
    let page = unsafe {
        libc::mmap(null_mut(), 4096, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    };
    RESOLVE.store(page.addr(), Ordering::SeqCst);
    // SAFETY: mapped, and readable once the handler has run.
    unsafe { page.cast::<u8>().read_volatile() };
    for _ in 0..3 {
        // SAFETY: sends a signal to this thread.
        unsafe { libc::raise(libc::SIGSEGV) };
    }
    drop(channel.publisher);
    exit(77);
}

#[test]
fn signal_sent_after_a_handled_fault_reaches_the_handler() {
    let output = run("handled");
    assert_eq!((output.status.code(), count(&output, "sent")), (Some(77), 3));
}

// ---- two copies of framelane -----------------------------------------------------------------------------

/// The program's own handler, older than both copies.
extern "C" fn oldest(_: libc::c_int) {
    exit(72);
}

/// The handler of another copy: passes foreign faults on, with the same description.
extern "C" fn copy(number: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    say("copy\n");
    if CALLS.fetch_add(1, Ordering::SeqCst) > 100 {
        exit(99);
    }
    // SAFETY: it was installed with SA_SIGINFO.
    let handler = unsafe { std::mem::transmute::<usize, Handler>(before().sa_sigaction) };
    handler(number, info, context);
}

fn second_copy(in_front: bool) {
    install(libc::SIGBUS, &action(oldest as *const () as usize, 0));
    let mut channel = Channel::new();
    let other = action(copy as *const () as usize, libc::SA_SIGINFO | libc::SA_ONSTACK);
    *BEFORE.write().unwrap() = Some(install(libc::SIGBUS, &other));
    channel.wait();
    assert_ne!(installed(libc::SIGBUS), copy as *const () as usize);
    if in_front {
        install(libc::SIGBUS, &other);
    }
    fault();
    exit(95);
}

#[test]
fn oldest_handler_is_reached_through_two_copies() {
    for case in ["copy behind", "copy in front"] {
        assert_eq!(run(case).status.code(), Some(72));
    }
}

/// The other copy was first, and knows an older handler.
extern "C" fn senior(number: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    say("senior\n");
    if CALLS.fetch_add(1, Ordering::SeqCst) == 1 {
        exit(72);
    }
    // SAFETY: it was installed with SA_SIGINFO.
    let handler = unsafe { std::mem::transmute::<usize, Handler>(before().sa_sigaction) };
    handler(number, info, context);
}

fn copy_that_came_second() {
    let other = action(senior as *const () as usize, libc::SA_SIGINFO | libc::SA_ONSTACK);
    install(libc::SIGBUS, &other);
    let mut channel = Channel::new();
    let mut rounds = 0;
    // Each waits in turn, and puts its own in front.
    while installed(libc::SIGBUS) != other.sa_sigaction {
        assert!(rounds < 10, "both handlers stay in front");
        rounds += 1;
        *BEFORE.write().unwrap() = Some(install(libc::SIGBUS, &other));
        channel.wait();
    }
    fault();
    exit(94);
}

#[test]
fn copy_that_came_second_gives_way_to_the_first() {
    assert_eq!(run("junior").status.code(), Some(72));
}
