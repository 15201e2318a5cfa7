//! What `slipstream local` prints: a status table that is redrawn in place, or one line per change where nobody watches.

use std::collections::BTreeMap;
use std::io::Write;

use crate::cli::{Member, status_table};

/// More nodes than this are counted, not shown: a table that is higher than the terminal cannot be redrawn in place.
const SHOWN_NODES: usize = 20;

/// Standard output, or a test's buffer.
pub(super) struct Screen<W> {
    out: W,
    is_table: bool,
    table: String,
    /// Without a table: what was last said of each node.
    said: BTreeMap<String, String>,
}

impl<W: Write> Screen<W> {
    pub(super) fn new(out: W, is_table: bool) -> Self {
        Self {
            out,
            is_table,
            table: String::new(),
            said: BTreeMap::new(),
        }
    }

    /// Prints a line for good, above the table.
    pub(super) fn say(&mut self, line: &str) {
        let table = std::mem::take(&mut self.table);
        self.replace(&table, &format!("{line}\n{table}"));
        self.table = table;
    }

    /// Prints a last line in place of the table.
    pub(super) fn finish(&mut self, line: &str) {
        let table = std::mem::take(&mut self.table);
        self.replace(&table, &format!("{line}\n"));
    }

    /// Shows where the nodes stand.
    pub(super) fn show(&mut self, members: &[Member]) {
        if !self.is_table {
            self.say_changes(members);
            return;
        }
        let mut table = status_table(&members[..members.len().min(SHOWN_NODES)]).to_string() + "\n";
        if members.len() > SHOWN_NODES {
            table += &format!("and {} more\n", members.len() - SHOWN_NODES);
        }
        let old = std::mem::replace(&mut self.table, table.clone());
        self.replace(&old, &table);
    }

    /// Moves up over what was drawn, clears to the screen's end, prints.
    fn replace(&mut self, drawn: &str, text: &str) {
        let lines = drawn.lines().count();
        let erase = if lines == 0 {
            String::new()
        } else {
            format!("\x1b[{lines}A\x1b[0J")
        };
        // An output that is gone (a closed pipe, a terminal that hung up) stops nobody's graph.
        let _ = write!(self.out, "{erase}{text}").and_then(|()| self.out.flush());
    }

    fn say_changes(&mut self, members: &[Member]) {
        let mut lines = Vec::new();
        for member in members {
            let (state, at) = match &member.answer {
                Ok(answer) if answer.ready => ("ready".to_owned(), answer.seq),
                Ok(answer) => (answer.state_text(), answer.seq),
                Err(_) => ("without status".to_owned(), None),
            };
            if self.said.get(&member.name) != Some(&state) {
                let at = at.map(|seq| format!(" at seq {seq}")).unwrap_or_default();
                lines.push(format!("{} {state}{at}", member.name));
                self.said.insert(member.name.clone(), state);
            }
        }
        self.said
            .retain(|name, _| members.iter().any(|member| member.name == *name));
        for line in lines {
            self.say(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::StatusAnswer;

    fn member(name: &str, state: &str, ready: bool, seq: u64) -> Member {
        let answer = StatusAnswer {
            state: state.to_owned(),
            ready,
            seq: Some(seq),
            ..StatusAnswer::default()
        };
        Member {
            name: name.to_owned(),
            address: "http://x".to_owned(),
            answer: Ok(answer),
        }
    }

    #[test]
    fn without_a_table_only_changes_are_said() {
        let mut screen = Screen::new(Vec::new(), false);
        screen.show(&[member("writer", "following", true, 3)]);
        screen.show(&[
            member("writer", "following", true, 4),
            member("replica-1", "building", false, 0),
        ]);
        screen.say("hello");
        screen.show(&[
            member("writer", "following", true, 5),
            member("replica-1", "following", true, 5),
        ]);
        screen.show(&[member("writer", "following", true, 5)]);
        screen.show(&[
            member("writer", "following", true, 5),
            member("replica-1", "following", true, 6),
        ]);
        let said = String::from_utf8(screen.out).unwrap();
        let expected = "writer ready at seq 3\nreplica-1 building at seq 0\nhello\nreplica-1 ready at seq 5\nreplica-1 ready at seq 6\n";
        assert_eq!(said, expected);
    }

    #[test]
    fn a_table_is_replaced_in_place_and_lines_stand_above_it() {
        let mut screen = Screen::new(Vec::new(), true);
        screen.say("first");
        screen.show(&[member("writer", "following", true, 3)]);
        let height = screen.table.lines().count();
        screen.out.clear();
        screen.say("second");
        let said = String::from_utf8(screen.out.clone()).unwrap();
        assert!(
            said.starts_with(&format!("\x1b[{height}A\x1b[0Jsecond\n┌")),
            "{said:?}"
        );
        assert_eq!(screen.table.lines().count(), height);
        let many: Vec<_> = (0..50)
            .map(|number| member(&format!("replica-{number}"), "following", true, 1))
            .collect();
        screen.show(&many);
        assert!(screen.table.ends_with("and 30 more\n"));
    }
}
