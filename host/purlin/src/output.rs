//! What commands print on standard output: tables for people, JSON for programs.

use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;

/// Prints a value as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)
}

/// Prints one line.
pub(crate) fn line(text: impl AsRef<str>) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", text.as_ref())
}

/// Prints one line on standard error: what is going on, not what came of it.
pub(crate) fn note(text: &str) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{text}")
}

/// Asks a person on the terminal. Without one the answer is no.
pub(crate) fn confirm(question: &str) -> io::Result<bool> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Ok(false);
    }
    let mut out = io::stderr().lock();
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Prints what has its form already.
pub(crate) fn bytes(content: &[u8]) -> io::Result<()> {
    io::stdout().lock().write_all(content)
}

/// Whether all that went wrong is that the reader of our output has read enough, as `head` does.
pub(crate) fn unread(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints an error with its causes, in one line, on standard error.
pub(crate) fn error(error: &anyhow::Error) -> io::Result<()> {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Some libraries repeat their cause in their own text.
        if text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    writeln!(io::stderr().lock(), "error: {text}")
}

/// Prints rows in aligned columns, as kubectl does.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    io::stdout().lock().write_all(layout(head, rows).as_bytes())
}

fn layout(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 3 - cell.chars().count()));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["a".to_owned(), "x".to_owned()], vec!["longer".to_owned(), String::new()]];
        assert_eq!(layout(&["NAME", "V"], &rows), "NAME     V\na        x\nlonger\n");
    }
}
