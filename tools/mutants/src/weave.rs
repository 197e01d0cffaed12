//! Puts all mutants of a file into its text at once, each behind its number.
//!
//! Only one mutant is ever active, so the text of a mutant is taken from the file as it is, and the original alone carries the
//! mutants that lie within it: the text grows with the depth of nesting, not with the number of combinations.

use std::ops::Range;

use crate::find::{Change, Mutant};

/// A file with its mutants in it.
pub struct Woven {
    /// The text.
    pub text: String,
    /// Parts of the text and the mutants that they are there for.
    parts: Vec<(Range<usize>, Vec<u32>)>,
    /// Where statements may be left out.
    gaps: Vec<(Range<usize>, u32)>,
}

/// Where the borrow checker finds fault, the statement whose absence it minds comes soon after.
const NEAR_BYTES: usize = 600;

impl Woven {
    /// The mutants that stand behind what the compiler finds fault with at this place: those of the smallest part around it.
    #[must_use]
    pub fn at(&self, place: &Range<usize>) -> &[u32] {
        let around = |part: &&(Range<usize>, Vec<u32>)| part.0.start <= place.start && place.end <= part.0.end;
        self.parts.iter().filter(around).min_by_key(|(range, _)| range.len()).map_or(&[], |(_, ids)| ids.as_slice())
    }
}

impl Woven {
    /// The statements between the first and the last place that a complaint names, or soon after: without one of them something
    /// is moved twice, or borrowed too long.
    #[must_use]
    pub fn left_out_about(&self, places: &[Range<usize>]) -> Vec<u32> {
        let (Some(first), Some(last)) = (places.iter().map(|place| place.start).min(), places.iter().map(|place| place.end).max()) else {
            return Vec::new();
        };
        let within = |from: usize, to: usize| -> Vec<u32> {
            self.gaps.iter().filter(|(gap, _)| (from..to).contains(&gap.start)).map(|(_, id)| *id).collect()
        };
        let between = within(first, last);
        if between.is_empty() { within(last, last + NEAR_BYTES) } else { between }
    }
}

struct Knot<'a> {
    place: Range<usize>,
    is_expression: bool,
    changes: Vec<(u32, &'a Change)>,
}

/// Weaves `mutants`, each with its number, into `source`.
#[must_use]
pub fn weave(source: &str, mutants: &[(u32, &Mutant)]) -> Woven {
    let mut knots: Vec<Knot<'_>> = Vec::new();
    for (id, mutant) in mutants {
        let is_expression = matches!(mutant.change, Change::Instead(_));
        match knots.iter_mut().find(|knot| knot.place == mutant.place && knot.is_expression == is_expression) {
            Some(knot) => knot.changes.push((*id, &mutant.change)),
            None => knots.push(Knot { place: mutant.place.clone(), is_expression, changes: vec![(*id, &mutant.change)] }),
        }
    }
    // What is put in, then outer ones first; a statement before the expression that it consists of.
    knots.sort_by_key(|knot| (knot.place.start, !knot.place.is_empty(), usize::MAX - knot.place.end, knot.is_expression));
    let mut weaver = Weaver { source, text: String::new(), parts: Vec::new(), gaps: Vec::new() };
    weaver.range(0..source.len(), &knots);
    Woven { text: weaver.text, parts: weaver.parts, gaps: weaver.gaps }
}

struct Weaver<'a> {
    source: &'a str,
    text: String,
    parts: Vec<(Range<usize>, Vec<u32>)>,
    gaps: Vec<(Range<usize>, u32)>,
}

impl Weaver<'_> {
    fn copy(&mut self, place: Range<usize>) {
        self.text.push_str(self.source.get(place).unwrap_or_default());
    }

    fn range(&mut self, place: Range<usize>, knots: &[Knot<'_>]) {
        let mut at = place.start;
        let mut rest = knots;
        while let Some((knot, others)) = rest.split_first() {
            let inner = others.partition_point(|other| other.place.start < knot.place.end);
            let (inner, after) = others.split_at(inner);
            self.copy(at..knot.place.start);
            self.knot(knot, inner);
            at = knot.place.end;
            rest = after;
        }
        self.copy(at..place.end);
    }

    fn knot(&mut self, knot: &Knot<'_>, inner: &[Knot<'_>]) {
        let start = self.text.len();
        if knot.is_expression {
            self.text.push('(');
        }
        let mut left_out = false;
        for (id, change) in &knot.changes {
            let part = self.text.len();
            match change {
                Change::Instead(with) => self.text.push_str(&format!("if crate::mutant::on({id}) {{ ({with}) }} else ")),
                Change::Begins(statement) => self.text.push_str(&format!(" if crate::mutant::on({id}) {{ {statement} }} ")),
                Change::LeftOut => {
                    self.text.push_str(&format!("if !crate::mutant::on({id}) "));
                    left_out = true;
                }
            }
            self.parts.push((part..self.text.len(), vec![*id]));
        }
        let (open, close) = if knot.is_expression {
            ("{ (", ") })")
        } else if left_out {
            ("{ ", " }")
        } else {
            ("", "")
        };
        self.text.push_str(open);
        self.range(knot.place.clone(), inner);
        self.text.push_str(close);
        if left_out {
            self.gaps.extend(knot.changes.iter().map(|(id, _)| (start..self.text.len(), *id)));
        }
        self.parts.push((start..self.text.len(), knot.changes.iter().map(|(id, _)| *id).collect()));
    }
}

#[cfg(test)]
mod tests {
    use super::weave;
    use crate::find::mutants;

    #[test]
    fn the_text_between_mutants_stays_and_nested_ones_stand_in_the_original_only() {
        let source = "fn f() { x(a < b && !c); }";
        let found = mutants("a.rs", source).unwrap();
        let wanted: Vec<_> = found.iter().filter(|mutant| mutant.name.kind != "body" && mutant.name.kind != "statement").collect();
        let numbered: Vec<_> = (1..).zip(wanted).collect();
        let woven = weave(source, &numbered).text;
        assert_eq!(
            woven,
            "fn f() { x((if crate::mutant::on(1) { (a < b || !c) } else { ((if crate::mutant::on(2) { (a <= b) } else \
             if crate::mutant::on(3) { (a >= b) } else { (a < b) }) && (if crate::mutant::on(4) { (c) } else { (!c) })) })); }"
        );
    }

    #[test]
    fn the_compilers_complaint_leads_to_the_mutant() {
        let source = "fn f() { x(a < b); }";
        let found = mutants("a.rs", source).unwrap();
        let numbered: Vec<_> = (1..).zip(&found).collect();
        let woven = weave(source, &numbered);
        let at = woven.text.find("a <= b").unwrap();
        let id = numbered.iter().find(|(_, mutant)| mutant.words().ends_with("a <= b")).unwrap().0;
        assert_eq!(woven.at(&(at..at + 6)), [id]);
    }
}
