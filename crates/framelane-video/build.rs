//! Passes the version of the installed FFmpeg on as `cfg(ffmpeg_6_0)` and so on ("at least that version").

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for version in ["6_0", "6_1"] {
        println!("cargo::rustc-check-cfg=cfg(ffmpeg_{version})");
        // ffmpeg-sys-next (`links = "ffmpeg"`) looks the version up in the headers it binds.
        if env::var(format!("DEP_FFMPEG_FFMPEG_{version}")).is_ok_and(|value| value == "true") {
            println!("cargo::rustc-cfg=ffmpeg_{version}");
        }
    }
}
