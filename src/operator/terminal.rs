//! What is shown on: a terminal with colours and a width, or a pipe with neither.
//!
//! Owns the choice of colours and the shape of tables; called by everything that shows something to people. Colours only
//! ever repeat what a word says as well.

use std::io::IsTerminal;

use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};

use super::words::printable;

/// Spaces before each line of a table.
const INDENT: &str = "  ";

/// What a colour stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Not as it should be, for a reason that passes or was asked for.
    Doubtful,
    /// Somebody has to look.
    Bad,
    /// Less important than the rest.
    Quiet,
    /// No colour.
    Plain,
}

impl Tone {
    /// The code of ECMA-48 §8.3.117 (SGR); none for [`Tone::Plain`].
    fn code(self) -> Option<u8> {
        match self {
            Self::Good => Some(32),
            Self::Doubtful => Some(33),
            Self::Bad => Some(31),
            Self::Quiet => Some(90),
            Self::Plain => None,
        }
    }

    /// The same for a cell of a table, whose width must not count the code.
    fn cell_color(self) -> Option<Color> {
        match self {
            Self::Good => Some(Color::DarkGreen),
            Self::Doubtful => Some(Color::DarkYellow),
            Self::Bad => Some(Color::DarkRed),
            Self::Quiet => Some(Color::DarkGrey),
            Self::Plain => None,
        }
    }
}

/// Where something is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Terminal {
    /// A file, a pipe or a program: one line per thing, no width, no colour.
    Pipe,
    /// Somebody reads it.
    Screen {
        /// Whether colours are wanted.
        colours: Colours,
        /// In columns, if it is known.
        width: Option<u16>,
    },
}

/// Whether colours are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Colours {
    /// They are.
    Shown,
    /// `NO_COLOR` is set, or the terminal is a dumb one.
    Unwanted,
}

impl Terminal {
    /// What the standard output is.
    #[must_use]
    pub fn of_stdout() -> Self {
        if !std::io::stdout().is_terminal() {
            return Self::Pipe;
        }
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|kind| kind == "dumb");
        // https://no-color.org: any value but the empty one.
        let colours = if set("NO_COLOR") || dumb { Colours::Unwanted } else { Colours::Shown };
        Self::Screen { colours, width: Table::new().width() }
    }

    /// Text in a colour.
    #[must_use]
    pub fn paint(self, tone: Tone, text: &str) -> String {
        match (self.colours(), tone.code()) {
            (Colours::Shown, Some(code)) => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            (Colours::Shown, None) | (Colours::Unwanted, Some(_) | None) => text.to_owned(),
        }
    }

    /// A cell of a table.
    #[must_use]
    pub fn cell(self, tone: Tone, text: impl AsRef<str>) -> Cell {
        let cell = Cell::new(printable(text.as_ref()));
        match (self.colours(), tone.cell_color()) {
            (Colours::Shown, Some(color)) => cell.fg(color),
            (Colours::Shown, None) | (Colours::Unwanted, Some(_) | None) => cell,
        }
    }

    /// A table with these headings and no lines.
    #[must_use]
    pub fn table(self, headings: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        match self {
            Self::Pipe => {
                table.force_no_tty().set_content_arrangement(ContentArrangement::Disabled);
            }
            Self::Screen { colours, width } => {
                table.force_no_tty().set_content_arrangement(ContentArrangement::Dynamic);
                if colours == Colours::Shown {
                    table.enforce_styling();
                }
                if let Some(width) = width {
                    table.set_width(width.saturating_sub(2));
                }
            }
        }
        table.set_header(headings.iter().map(|heading| self.cell(Tone::Quiet, heading)));
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table
    }

    /// The same; the first column, which names what the line is about, is never broken.
    #[must_use]
    pub fn table_of(self, headings: &[&str]) -> Table {
        let mut table = self.table(headings);
        if let Some(first) = table.column_mut(0) {
            first.set_constraint(ColumnConstraint::ContentWidth);
        }
        table
    }

    /// A table as lines of text, indented, each ended.
    #[must_use]
    pub fn lines(self, table: &Table) -> String {
        let mut text = String::new();
        for line in table.lines() {
            text.push_str(INDENT);
            text.push_str(line.trim_end());
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }

    fn colours(self) -> Colours {
        match self {
            Self::Pipe => Colours::Unwanted,
            Self::Screen { colours, .. } => colours,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_gets_no_colour_and_a_screen_only_if_it_wants() {
        let screen = |colours| Terminal::Screen { colours, width: None };
        assert_eq!(Terminal::Pipe.paint(Tone::Bad, "unserved"), "unserved");
        assert_eq!(screen(Colours::Unwanted).paint(Tone::Bad, "unserved"), "unserved");
        assert_eq!(screen(Colours::Shown).paint(Tone::Bad, "unserved"), "\u{1b}[31munserved\u{1b}[0m");
        assert_eq!(screen(Colours::Shown).paint(Tone::Plain, "served"), "served");
    }

    #[test]
    fn a_table_keeps_within_the_width_of_the_screen_and_is_not_bent_in_a_pipe() {
        let text = "a sentence that is longer than the screen is wide";
        let lines = |terminal: Terminal| {
            let mut table = terminal.table(&["ONE", "TWO"]);
            table.add_row([terminal.cell(Tone::Plain, text), terminal.cell(Tone::Plain, text)]);
            terminal.lines(&table)
        };
        let narrow = lines(Terminal::Screen { colours: Colours::Unwanted, width: Some(40) });
        assert!(narrow.lines().all(|line| line.len() <= 40), "{narrow}");
        assert_eq!(lines(Terminal::Pipe).lines().count(), 2);
    }
}
