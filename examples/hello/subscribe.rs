//! Prints what arrives in `hello`, until the publisher is done.
use framelane::Subscriber;

fn main() -> Result<(), framelane::Error> {
    let mut subscriber = Subscriber::open("hello")?;
    for frame in subscriber.frames() {
        let frame = frame?;
        println!(
            "{}: {}x{} brightness {}",
            frame.sequence(),
            frame.width(),
            frame.height(),
            frame.bytes()[0]
        );
    }
    Ok(())
}
