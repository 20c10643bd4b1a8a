//! Two tables of one file as one.

use std::iter::Peekable;

use crate::build::push_row;
use crate::rule::{Row, Rule};

/// The first table's rules; where it has NONE, the second's. Both sorted; one pass over each.
pub(crate) fn fill_gaps(first: &[Row], second: &[Row]) -> Vec<Row> {
    let mut filled = Vec::with_capacity(first.len() + second.len());
    let mut sides = [first, second].map(|rows| Side {
        rule: Rule::NONE,
        rest: rows.iter().peekable(),
    });
    while let Some(pc) = sides.iter_mut().filter_map(Side::next_pc).min() {
        let [first, second] = sides.each_mut().map(|side| side.advance_to(pc));
        let rule = if first == Rule::NONE { second } else { first };
        push_row(&mut filled, Row { pc, rule });
    }
    filled.shrink_to_fit();
    filled
}

/// A table on the way up: the rule in hand and the rows to come.
struct Side<'rows> {
    rule: Rule,
    rest: Peekable<std::slice::Iter<'rows, Row>>,
}

impl Side<'_> {
    fn next_pc(&mut self) -> Option<u32> {
        self.rest.peek().map(|row| row.pc)
    }

    /// The rule that holds at `pc`, which no address asked before was above.
    fn advance_to(&mut self, pc: u32) -> Rule {
        while let Some(row) = self.rest.next_if(|row| row.pc <= pc) {
            self.rule = row.rule;
        }
        self.rule
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::find_rule;

    fn rows(pcs: &[(u32, u32)]) -> Vec<Row> {
        pcs.iter()
            .map(|&(pc, rule)| Row {
                pc,
                rule: Rule(rule),
            })
            .collect()
    }

    #[test]
    fn the_first_table_wins_and_the_second_is_seen_in_its_gaps_alone() {
        let first = rows(&[(10, 1), (20, 0), (40, 2), (50, 0)]);
        let second = rows(&[(5, 7), (15, 8), (30, 9), (45, 0), (60, 9), (70, 0)]);
        let expected = rows(&[
            (5, 7),
            (10, 1),
            (20, 8),
            (30, 9),
            (40, 2),
            (50, 0),
            (60, 9),
            (70, 0),
        ]);
        let filled = fill_gaps(&first, &second);
        assert_eq!(filled, expected);
        for pc in 0..80 {
            let first = find_rule(&first, pc);
            let rule = if first == Rule::NONE {
                find_rule(&second, pc)
            } else {
                first
            };
            assert_eq!(find_rule(&filled, pc), rule, "{pc}");
        }
        assert_eq!(fill_gaps(&first, &[]), first);
        assert_eq!(fill_gaps(&[], &first), first);
    }
}
