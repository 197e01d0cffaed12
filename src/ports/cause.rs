//! An error with its causes in one line, for a log. Pure; called by ports and the daemon.

use std::error::Error;

/// The words of an error and of its causes, without those that are said already: some errors name their cause themselves,
/// others, as hyper's, say little without it.
pub(crate) fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !line.contains(&words) {
            line.push_str(": ");
            line.push_str(&words);
        }
        source = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Caused {
        words: &'static str,
        source: std::io::Error,
    }

    #[test]
    fn nothing_is_said_twice_and_nothing_left_out() {
        for (words, line) in
            [("cannot listen: in use; stop it", "cannot listen: in use; stop it"), ("cannot begin", "cannot begin: in use")]
        {
            assert_eq!(in_one_line(&Caused { words, source: std::io::Error::other("in use") }), line);
        }
    }
}
