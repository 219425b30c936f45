//! The files of the page, which are part of the program.

/// Path, media type and content of each file.
const FILES: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("../assets/index.html")),
    ("/assets/style.css", "text/css; charset=utf-8", include_str!("../assets/style.css")),
    ("/assets/icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
    ("/assets/page.js", JAVASCRIPT, include_str!("../assets/page.js")),
    ("/assets/tile.js", JAVASCRIPT, include_str!("../assets/tile.js")),
    ("/assets/socket.js", JAVASCRIPT, include_str!("../assets/socket.js")),
    ("/assets/details.js", JAVASCRIPT, include_str!("../assets/details.js")),
    ("/assets/text.js", JAVASCRIPT, include_str!("../assets/text.js")),
    ("/api/openapi.json", "application/json", include_str!("../assets/openapi.json")),
];

const HTML: &str = "text/html; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Returns media type and content of a file.
pub(crate) fn file(path: &str) -> Option<(&'static str, &'static str)> {
    FILES.iter().find(|(name, ..)| *name == path).map(|&(_, media_type, content)| (media_type, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_loads_only_its_own_files() {
        for (name, media_type, content) in FILES {
            for foreign in ["http://", "https://", "//cdn"] {
                let allowed = ["http://www.w3.org/2000/svg", "http://127.0.0.1:7480"];
                let rest = allowed.iter().fold((*content).to_owned(), |text, url| text.replace(url, ""));
                assert!(!rest.contains(foreign), "{name}: {foreign}");
            }
            if *media_type == HTML {
                for inline in ["<script>", "<style", " style=", " onclick=", " onload=", "javascript:"] {
                    assert!(!content.contains(inline), "{name}: {inline}");
                }
                for part in content.split("\"/assets/").skip(1) {
                    let path = format!("/assets/{}", part.split('"').next().unwrap());
                    assert!(file(&path).is_some(), "{path}");
                }
            }
        }
    }
}
