//! `forker refused|links|publisher|subscriber CHANNEL`: forks with open handles.
//!
//! `refused` checks in child and parent what works and what does not, `links` the same of URLs. The others
//! wait, parent and child, until the standard input that they share ends; the child prints `ready`.

use std::error::Error;
use std::io::Read;
use std::time::Duration;

use framelane::{
    ErrorKind, FrameInfo, Layout, LoanError, PixelFormat, PublisherOptions, RecvError, SubscriberOptions,
};
use framelane_net::{Access, Server, ServerOptions};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, channel] = &arguments[..] else {
        return Err("forker refused|links|publisher|subscriber CHANNEL".into());
    };
    match what.as_str() {
        "refused" => refused(channel),
        "links" => links(channel),
        "publisher" => {
            let _publisher = PublisherOptions::new().create(channel)?;
            wait_in_both()
        }
        "subscriber" => {
            let mut subscriber = SubscriberOptions::new().open(channel)?;
            let _frame = subscriber.recv()?;
            wait_in_both()
        }
        _ => Err("refused, links, publisher or subscriber".into()),
    }
}

/// Forks, and runs `child` in the child. Returns its exit status in the parent.
fn fork(child: impl FnOnce() -> Outcome) -> Result<Option<libc::pid_t>, Box<dyn Error>> {
    // SAFETY: the process has one thread, so the child may do everything that the parent may. With links
    // there are more threads. Then the child only drops handles and ends, for which it needs the allocator,
    // and the allocator is intact after a fork.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(std::io::Error::last_os_error().into()),
        0 => {
            let outcome = child();
            if let Err(error) = &outcome {
                eprintln!("child: {error}");
            }
            // Not `exit`: the parent's buffers and handles are the parent's to flush and close.
            // SAFETY: ends the process; nothing of it is used afterwards.
            unsafe { libc::_exit(i32::from(outcome.is_err())) }
        }
        pid => Ok(Some(pid)),
    }
}

fn wait_for(pid: libc::pid_t) -> Outcome {
    let mut status = 0;
    // SAFETY: `status` may be written to.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    if waited == pid && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 {
        Ok(())
    } else {
        Err(format!("the child ended with status {status:#x}").into())
    }
}

fn wait_in_both() -> Outcome {
    let wait = || {
        let mut rest = Vec::new();
        std::io::stdin().read_to_end(&mut rest).map(|_| ()).map_err(Into::into)
    };
    fork(|| {
        // Said by the child: before it runs for the first time it still has its parent's descriptors.
        println!("ready");
        wait()
    })?;
    wait()
}

fn ensure(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(what.into()) }
}

fn refused(channel: &str) -> Outcome {
    let layout = Layout::packed(PixelFormat::Gray8, 8, 8)?;
    let info = FrameInfo::default();
    let mut publisher = PublisherOptions::new().slots(3).create(channel)?;
    let mut subscriber = SubscriberOptions::new().open(channel)?;
    publisher.send(&layout, &info, &[1; 64])?;
    let frame = subscriber.recv()?;
    let owned = publisher.try_loan_owned(&layout)?;
    let mut moved = Some((publisher, subscriber, frame, owned));
    let pid = {
        fork(|| {
            let (mut publisher, mut subscriber, frame, owned) = moved.take().ok_or("moved once")?;
            let loaned = publisher.loan(&layout).err();
            ensure(matches!(loaned, Some(LoanError::Forked)), "loan")?;
            let error = loaned.map(framelane::Error::from).ok_or("an error")?;
            ensure(error.kind() == ErrorKind::Forked && error.hint().is_some(), "kind and hint")?;
            ensure(matches!(publisher.send(&layout, &info, &[2; 64]), Err(LoanError::Forked)), "send")?;
            ensure(matches!(publisher.try_loan_owned(&layout), Err(LoanError::Forked)), "try_loan_owned")?;
            let published = publisher.publish_owned(&owned, &layout, &info);
            ensure(matches!(published, Err(LoanError::Forked)), "publish_owned")?;
            let received = subscriber.recv_timeout(Duration::ZERO);
            ensure(matches!(received, Err(RecvError::Forked)), "recv")?;
            let lease = frame.check_fork().err().map(|error| error.kind());
            // The parent may release it at any moment.
            assert!(!frame.is_intact());
            ensure(lease == Some(ErrorKind::Forked), "lease")?;
            // None of these may touch what is the parent's.
            drop((owned, frame, subscriber));
            publisher.close();
            // What the child opens itself works.
            let busy = PublisherOptions::new().create(channel).err().map(|error| error.kind());
            ensure(busy == Some(ErrorKind::ChannelBusy), "the parent still publishes")?;
            let mut own = SubscriberOptions::new().open(channel)?;
            let frame = own.recv()?;
            ensure(frame.bytes() == [1; 64], "the child's own subscriber")?;
            // Gone without a clean end: `_exit` runs no destructor.
            std::mem::forget((own, frame));
            Ok(())
        })?
    };
    wait_for(pid.ok_or("the parent")?)?;
    let (mut publisher, mut subscriber, frame, owned) = moved.take().ok_or("moved in the child only")?;
    ensure(publisher.subscribers() == 1, "the parent's subscriber is there, the child's is gone")?;
    ensure(frame.bytes() == [1; 64] && frame.check_fork().is_ok(), "the parent's lease")?;
    publisher.publish_owned(&owned, &layout, &info)?;
    let second = subscriber.recv()?;
    ensure(second.sequence() == 2, "the parent goes on")?;
    // One of three slots is leased, one is leased, on loan and newest.
    ensure(publisher.send(&layout, &info, &[3; 64])? == Some(3), "the third slot")?;
    ensure(publisher.send(&layout, &info, &[4; 64])?.is_none(), "all slots are taken: the lease holds")?;
    drop((frame, second, owned));
    ensure(publisher.send(&layout, &info, &[5; 64])? == Some(5), "the slots are free again")?;
    ensure(subscriber.recv()?.bytes() == [5; 64], "and are received")?;
    publisher.close();
    println!("end");
    Ok(())
}

/// A child that drops handles of URLs waits for no thread, and the parent's links continue.
fn links(channel: &str) -> Outcome {
    framelane_net::register_url_schemes();
    let (layout, info) = (Layout::packed(PixelFormat::Gray8, 8, 8)?, FrameInfo::default());
    let directory = std::env::var("FRAMELANE_DIR")?;
    let address = format!("unix:{directory}/links.sock");
    let mut options = ServerOptions::new(Access::Anyone);
    options.listen = vec![address.parse()?];
    (options.read, options.write) = ("**".parse()?, "**".parse()?);
    let cancel = options.cancel.clone();
    let server = Server::bind(options)?;
    let mut publisher = PublisherOptions::new().create(channel)?;
    std::thread::scope(|scope| {
        scope.spawn(|| server.run(&|_| ()));
        let outcome = (|| {
            let mut subscriber = SubscriberOptions::new().open(&format!("{address}/{channel}"))?;
            let sender = PublisherOptions::new().create(&format!("{address}/{channel}/back"))?;
            publisher.send(&layout, &info, &[1; 64])?;
            drop(subscriber.recv()?);
            let mut moved = Some((subscriber, sender));
            let pid = fork(|| {
                let (mut subscriber, sender) = moved.take().ok_or("moved once")?;
                let received = subscriber.recv_timeout(Duration::ZERO);
                ensure(matches!(received, Err(RecvError::Forked)), "recv")?;
                ensure(sender.link_fault().is_none(), "no fault")?;
                drop((subscriber, sender));
                Ok(())
            })?;
            wait_for(pid.ok_or("the parent")?)?;
            let (mut subscriber, mut sender) = moved.take().ok_or("moved in the child only")?;
            publisher.send(&layout, &info, &[2; 64])?;
            ensure(subscriber.recv()?.bytes() == [2; 64], "the parent still receives")?;
            sender.send(&layout, &info, &[3; 64])?;
            let mut back = SubscriberOptions::new().open(&format!("{channel}/back"))?;
            ensure(back.recv()?.bytes() == [3; 64], "the parent still sends")
        })();
        cancel.cancel();
        outcome
    })?;
    println!("end");
    Ok(())
}
