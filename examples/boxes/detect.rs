//! Finds the ball in the frames of channel `boxes`, and sends its box back.
use framelane::{Detection, DetectionPublisher, Subscriber};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut finder = DetectionPublisher::create("boxes/detections", &["ball"], "threshold")?;
    let mut subscriber = Subscriber::open("boxes")?;
    for frame in subscriber.frames() {
        let frame = frame?;
        let width = frame.width() as usize;
        let bright =
            frame.bytes().chunks_exact(3).enumerate().filter(|(_, pixel)| pixel.iter().all(|&v| v >= 200));
        let places: Vec<_> = bright.map(|(at, _)| (at % width, at / width)).collect();
        let (columns, rows) = (places.iter().map(|place| place.0), places.iter().map(|place| place.1));
        let (left, right) = (columns.clone().min().unwrap_or(0), columns.max().map_or(0, |x| x + 1));
        let (top, bottom) = (rows.clone().min().unwrap_or(0), rows.max().map_or(0, |y| y + 1));
        let ball = Detection {
            x: left as f32,
            y: top as f32,
            width: (right - left) as f32,
            height: (bottom - top) as f32,
            score: 1.0,
            ..Detection::default()
        };
        finder.send(&frame.id(), &[ball])?;
    }
    Ok(())
}
