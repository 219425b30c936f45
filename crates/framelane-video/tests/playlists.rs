//! Files that name other files: they play nothing but themselves, unless the user asks for it.

mod support;

use std::io::Write;
use std::net::TcpListener;

use framelane::{Error, ErrorKind};
use framelane_video::SourceOptions;
use support::cameras::{request, serve};
use support::{Folder, take_all};

const CLIP: &str = "-f lavfi -i testsrc2=size=64x48:rate=5:duration=1 -c:v libx264 -f mpegts";

fn hls(segment: &str) -> String {
    format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{segment}\n#EXT-X-ENDLIST\n")
}

/// A playlist of each format that plays `clip`.
fn playlists(clip: &str) -> Vec<(&'static str, String)> {
    let sdp = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 26\n";
    let dash = format!(
        "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
         profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\" \
         mediaPresentationDuration=\"PT1S\"><Period><AdaptationSet contentType=\"video\"><Representation id=\"1\" \
         bandwidth=\"1\"><BaseURL>{clip}</BaseURL></Representation></AdaptationSet></Period></MPD>"
    );
    vec![
        ("hls", hls(clip)),
        ("hls", hls(&format!("file:{clip}"))),
        ("concat", format!("ffconcat version 1.0\nfile {clip}\n")),
        ("dash", dash),
        ("sdp", sdp.to_owned()),
    ]
}

fn refusal(source: &str) -> Error {
    match SourceOptions::new().open(source) {
        Err(error) => error,
        Ok(_) => panic!("{source} was opened"),
    }
}

#[test]
fn plain_file_that_is_a_playlist_is_refused() {
    let folder = Folder::new();
    // Next to the playlist, where FFmpeg's own rules let it play.
    folder.make("secret.ts", CLIP);
    for (format, text) in playlists("secret.ts") {
        for name in ["holiday.mp4", "holiday.m3u8", "holiday", "a:b.ts"] {
            let file = folder.file(name);
            std::fs::write(&file, &text).unwrap();
            let path = file.to_str().unwrap();
            for source in [path.to_owned(), format!("file:{path}")] {
                let error = refusal(&source);
                assert_eq!(error.kind(), ErrorKind::InvalidOption, "{format} {source}: {error}");
                assert!(error.message().contains("playlist"), "{error}");
                assert!(error.hint().unwrap().contains("--input-format hls"), "{error}");
            }
        }
        // The name of a picture decides its format: no picture can be decoded.
        let picture = folder.file("holiday.jpg");
        std::fs::write(&picture, &text).unwrap();
        let played = SourceOptions::new()
            .open(&picture)
            .and_then(|mut source| source.decode(&mut |_| std::ops::ControlFlow::Continue(())));
        assert!(played.is_err(), "{format}");
    }
}

#[test]
fn playlist_in_a_pipe_is_refused() {
    let folder = Folder::new();
    let clip = folder.make("secret.ts", CLIP);
    let fifo = folder.file("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
    for (format, text) in playlists(&clip) {
        let path = fifo.clone();
        let writing = std::thread::spawn(move || {
            let _ = std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all(text.as_bytes());
        });
        let error = refusal(fifo.to_str().unwrap());
        assert!(error.message().contains("playlist"), "{format}: {error}");
        writing.join().unwrap();
    }
}

#[test]
fn playlist_plays_when_its_format_is_named() {
    let folder = Folder::new();
    folder.make("clip.ts", CLIP);
    for (format, text) in
        [("hls", hls("clip.ts")), ("concat", "ffconcat version 1.0\nfile clip.ts\n".to_owned())]
    {
        let file = folder.file("list");
        std::fs::write(&file, text).unwrap();
        let options = SourceOptions::new().input_format(Some(format));
        assert_eq!(take_all(options, file.to_str().unwrap()).0.len(), 5, "{format}");
    }
    let whole = folder.file("clip.ts").to_str().unwrap().to_owned();
    assert_eq!(take_all(SourceOptions::new(), &format!("concat:{whole}|{whole}")).0.len(), 10);
    assert_eq!(take_all(SourceOptions::new(), &format!("subfile,,start,0,end,0,,:{whole}")).0.len(), 5);
}

#[test]
fn playlist_from_the_network_opens_no_local_file() {
    let folder = Folder::new();
    let clip = folder.make("secret.ts", CLIP);
    for (format, text) in
        playlists(&format!("file:{clip}")).into_iter().filter(|(format, _)| *format != "sdp")
    {
        let answer = text.clone();
        let address = serve(move |mut stream, _| {
            request(&mut stream);
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        });
        refusal(&format!("http://{address}/holiday.mp4"));
        refusal(&format!("http://{address}/live.m3u8"));
        // A protocol for which FFmpeg itself has no limits.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let _ = listener.accept().unwrap().0.write_all(text.as_bytes());
        });
        let error = refusal(&format!("tcp://{address}"));
        assert!(!error.message().is_empty(), "{format}");
        serving.join().unwrap();
    }
}

#[test]
fn playlist_from_the_network_plays_its_segments() {
    let folder = Folder::new();
    let clip = std::fs::read(folder.make("clip.ts", CLIP)).unwrap();
    let address = serve(move |mut stream, _| {
        let body =
            if request(&mut stream).contains(".m3u8") { hls("clip.ts").into_bytes() } else { clip.clone() };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&body);
    });
    let frames = take_all(SourceOptions::new(), &format!("http://{address}/live.m3u8")).0;
    assert_eq!(frames.len(), 5);
}
