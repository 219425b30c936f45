//! Text of other processes and machines, for a terminal or a log. For the crates of framelane, not part of
//! the public interface.

/// Returns the text with `?` for each character that could change a terminal or the text around it.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if changes_terminal(c) { '?' } else { c }).collect()
}

/// Returns true if a character moves the cursor, is invisible, or turns the text around it.
pub fn changes_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
