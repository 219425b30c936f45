//! A reader that is stopped while it holds a frame: no other process notices, and its frame is unchanged.

use std::time::{Duration, Instant};

use framelane::{
    Backpressure, CancelToken, Delivery, FrameInfo, Layout, LoanError, PixelFormat, Publisher, RecvError,
};
use framelane_tests::{Channels, Pattern, Place, Running, wait_until};

const SUBSCRIBER: &str = env!("CARGO_BIN_EXE_subscriber");
const BYTES: usize = 100_000;

fn deep() -> bool {
    std::env::var("FRAMELANE_DEPTH").is_ok_and(|depth| depth == "deep")
}

fn signal(child: &Running, signal: libc::c_int) {
    // SAFETY: the process is a child that has not been waited for, so the id is still its own.
    assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, signal) }, 0);
}

fn send(publisher: &mut Publisher, pattern: &Pattern, last: bool) -> Result<u64, LoanError> {
    let sequence = publisher.sequence() + 1;
    publisher.set_cancel_token(CancelToken::with_check(|| true));
    let mut loan = publisher.loan(&Layout::packed(PixelFormat::Gray8, BYTES as u32, 1).unwrap())?;
    pattern.fill(loan.bytes_mut(), sequence, last);
    Ok(loan.publish(&FrameInfo::default()))
}

/// Starts a reader that holds two frames all the time, and waits until it does.
fn start_reader(place: &Place, publisher: &mut Publisher, pattern: &Pattern, delivery: &str) -> Running {
    let mut reader = place.start_program(SUBSCRIBER, &["c", delivery, "2", "5"]);
    reader.numbers("ready");
    let (sender, received) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let reader = &mut reader;
        scope.spawn(move || sender.send(reader.numbers("received")).unwrap());
        while received.try_recv().is_err() {
            let _ = send(publisher, pattern, false);
        }
    });
    reader
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn stopped_reader_with_a_lease_slows_no_other() {
    let place = Place::new();
    let pattern = Pattern::new();
    let mut publisher = place.publisher().slots(8).create("c").unwrap();
    let mut other = place.subscriber().delivery(Delivery::Every).open("c").unwrap();
    let mut stopped = start_reader(&place, &mut publisher, &pattern, "newest");
    // In turn, so that other load affects both. In all, it is stopped for 2 s or 10 s.
    let slice = Duration::from_millis(200);
    let turns = if deep() { 50 } else { 10 };
    let mut rates = [Vec::new(), Vec::new()];
    let mut received = 0;
    for _ in 0..turns {
        for (stop, rates) in [true, false].into_iter().zip(&mut rates) {
            signal(&stopped, if stop { libc::SIGSTOP } else { libc::SIGCONT });
            wait_until!(stopped.is_stopped() == stop);
            let (start, before) = (Instant::now(), publisher.sequence());
            while start.elapsed() < slice {
                send(&mut publisher, &pattern, false)
                    .expect("8 slots: 2 held, 2 read, the newest, and the next");
                match other.recv_timeout(Duration::ZERO) {
                    Ok(frame) => {
                        pattern.check(frame.bytes(), frame.sequence()).unwrap();
                        received += 1;
                    }
                    Err(RecvError::Timeout) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            rates.push((publisher.sequence() - before) as f64 / start.elapsed().as_secs_f64());
        }
    }
    // It checks what it held, and ends well only if that was whole.
    while send(&mut publisher, &pattern, true).is_err() {}
    stopped.numbers("end");
    assert!(stopped.end().success());
    let [with, without] = rates.each_mut().map(|rates| median(rates));
    println!(
        "stop: {with:.0} frames/s while a reader is stopped with 2 leases for {:.0} s in all, {without:.0} frames/s while \
         it runs; another reader received {received}",
        slice.as_secs_f64() * f64::from(turns)
    );
    assert!(with > 0.8 * without, "{with} against {without} frames/s");
    assert!(received > 0);
}

#[test]
fn lossless_publisher_waits_for_a_stopped_reader() {
    let pattern = Pattern::new();
    for kill in [false, true] {
        let place = Place::new();
        let mut publisher = place.publisher().slots(6).backpressure(Backpressure::Block).create("c").unwrap();
        let mut stopped = start_reader(&place, &mut publisher, &pattern, "every");
        signal(&stopped, libc::SIGSTOP);
        wait_until!(stopped.is_stopped());
        // Until the check of its token ends the wait.
        while send(&mut publisher, &pattern, false).is_ok() {}
        if kill {
            stopped.kill();
            while send(&mut publisher, &pattern, false).is_err() {}
        } else {
            signal(&stopped, libc::SIGCONT);
            while send(&mut publisher, &pattern, true).is_err() {}
            let [received, missed, ..] = stopped.numbers("end")[..] else { panic!("counts") };
            assert_eq!((received, missed), (publisher.sequence(), 0), "it has every frame");
            assert!(stopped.end().success());
        }
    }
}
