//! Where a file can be changed so that a test should notice.
//!
//! Reads one source file and names its mutants; changes nothing. Constants, patterns, types, macros, tests and what only prints
//! for people (`Debug`, `Display`) are left alone. A mutant that does not compile is found out by the compiler, not here.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use anyhow::{Context, Result};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Attribute, BinOp, Block, Expr, ExprBinary, ExprClosure, ExprConst, ExprIf, ExprMatch, ExprMethodCall, ExprRepeat, ExprUnary, ExprWhile,
    File, GenericArgument, ImplItemConst, ImplItemFn, ItemConst, ItemFn, ItemImpl, ItemMod, ItemStatic, Local, Pat, PathArguments,
    ReturnType, Signature, Stmt, TraitItemFn, Type, UnOp,
};

/// What identifies a mutant as long as its function keeps its shape: lines may come and go around it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Name {
    /// Path of the file in the project.
    pub file: String,
    /// The function, with the type it belongs to.
    pub function: String,
    /// What kind of change.
    pub kind: &'static str,
    /// The how-many-eth of its kind in the function, from 1.
    pub ordinal: u32,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.file, self.function, self.kind, self.ordinal)
    }
}

/// How a mutant is put into the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The expression reads like this instead.
    Instead(String),
    /// The function starts with this statement.
    Begins(String),
    /// The statement is left out.
    LeftOut,
}

/// One change of one place.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// What it is called.
    pub name: Name,
    /// The line of the place, from 1.
    pub line: usize,
    /// The place, in bytes.
    pub place: Range<usize>,
    /// What becomes of it.
    pub change: Change,
    /// What stands there, on one line.
    pub before: String,
}

impl Mutant {
    /// The change in words, on one line.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.change {
            Change::Instead(with) => format!("{}  ->  {}", self.before, one_line(with)),
            Change::Begins(statement) => format!("begins with  {statement}"),
            Change::LeftOut => format!("{}  is left out", self.before),
        }
    }
}

/// The mutants of one file, in their order.
///
/// # Errors
/// The file is no Rust.
pub fn mutants(file: &str, source: &str) -> Result<Vec<Mutant>> {
    let syntax: File = syn::parse_file(source).with_context(|| format!("{file} is no Rust"))?;
    let mut finder = Finder { file, source, functions: Vec::new(), counts: BTreeMap::new(), found: Vec::new() };
    finder.visit_file(&syntax);
    Ok(finder.found)
}

struct Finder<'a> {
    file: &'a str,
    source: &'a str,
    /// The type and the functions around the place at hand.
    functions: Vec<String>,
    counts: BTreeMap<(String, &'static str), u32>,
    found: Vec<Mutant>,
}

/// Methods that are exchanged for each other, with the number of their arguments.
const TWINS: [(&str, &str, usize); 13] = [
    ("saturating_add", "saturating_sub", 1),
    ("checked_add", "checked_sub", 1),
    ("min", "max", 1),
    ("min", "max", 0),
    ("min_by_key", "max_by_key", 1),
    ("min_by", "max_by", 1),
    ("any", "all", 1),
    ("is_some", "is_none", 0),
    ("is_ok", "is_err", 0),
    ("first", "last", 0),
    ("first_key_value", "last_key_value", 0),
    ("pop_first", "pop_last", 0),
    ("div_ceil", "div_euclid", 1),
];

/// Methods whose closure says yes or no.
const ASKING: [&str; 14] = [
    "filter",
    "retain",
    "any",
    "all",
    "find",
    "position",
    "is_some_and",
    "is_none_or",
    "take_while",
    "skip_while",
    "partition",
    "extract_if",
    "take_if",
    "is_ok_and",
];

fn twin(call: &ExprMethodCall) -> Option<&'static str> {
    let name = call.method.to_string();
    let fits =
        |(one, other, arguments): &&(&'static str, &'static str, usize)| *arguments == call.args.len() && (name == *one || name == *other);
    TWINS.iter().find(fits).map(|(one, other, _)| if name == *one { *other } else { *one })
}

impl Finder<'_> {
    fn text(&self, place: Range<usize>) -> String {
        self.source.get(place).unwrap_or_default().to_owned()
    }

    fn text_of(&self, node: &impl Spanned) -> String {
        self.text(node.span().byte_range())
    }

    fn add(&mut self, kind: &'static str, node: &impl Spanned, change: Change) {
        self.add_at(kind, node.span().byte_range(), change);
    }

    fn add_at(&mut self, kind: &'static str, place: Range<usize>, change: Change) {
        // Outside functions there are constants only.
        if self.functions.is_empty() {
            return;
        }
        let function = self.functions.join("::");
        let ordinal = self.counts.entry((function.clone(), kind)).or_default();
        *ordinal += 1;
        let name = Name { file: self.file.to_owned(), function, kind, ordinal: *ordinal };
        let line = self.source.as_bytes().iter().take(place.start).filter(|byte| **byte == b'\n').count() + 1;
        let before = one_line(&self.text(place.clone()));
        self.found.push(Mutant { name, line, place, change, before });
    }

    fn function(&mut self, name: String, signature: &Signature, block: &Block) {
        if signature.constness.is_some() {
            return;
        }
        self.functions.push(name);
        let start = block.brace_token.span.open().byte_range().end;
        for value in values(&signature.output) {
            self.add_at("body", start..start, Change::Begins(format!("return {value};")));
        }
        self.visit_block(block);
        self.functions.pop();
    }

    /// What decides between two ways is turned round, unless another mutant of the same place does that already.
    fn turn(&mut self, condition: &Expr) {
        match condition {
            Expr::Paren(inner) => self.turn(&inner.expr),
            Expr::Binary(ExprBinary { op: BinOp::And(_) | BinOp::Or(_), left, right, .. }) => {
                self.turn(left);
                self.turn(right);
            }
            Expr::MethodCall(call) if twin(call).is_some_and(|name| name != "any" && name != "all") => {}
            Expr::MethodCall(_) | Expr::Call(_) | Expr::Path(_) | Expr::Field(_) | Expr::Macro(_) => {
                let text = self.text_of(condition);
                self.add("turned", condition, Change::Instead(format!("!({text})")));
            }
            _ => {}
        }
    }

    /// A number or a bound that is handed on.
    fn bend(&mut self, operand: &Expr) {
        let is_bound = match operand {
            Expr::Lit(literal) => matches!(literal.lit, syn::Lit::Int(_)),
            Expr::Path(path) => path.path.segments.last().is_some_and(|last| is_constant(&last.ident.to_string())),
            _ => false,
        };
        if is_bound {
            let text = self.text_of(operand);
            self.add("bound", operand, Change::Instead(format!("crate::mutant::bend({text})")));
        }
    }

    fn binary(&mut self, binary: &ExprBinary) {
        let is_literal = |side: &Expr| matches!(side, Expr::Lit(_));
        let (kind, others): (&'static str, &[&str]) = match &binary.op {
            BinOp::Lt(_) => ("compare", &["<=", ">="]),
            BinOp::Le(_) => ("compare", &["<", ">"]),
            BinOp::Gt(_) => ("compare", &[">=", "<="]),
            BinOp::Ge(_) => ("compare", &[">", "<"]),
            BinOp::Eq(_) => ("compare", &["!="]),
            BinOp::Ne(_) => ("compare", &["=="]),
            BinOp::And(_) if !has_let(&binary.left) && !has_let(&binary.right) => ("and-or", &["||"]),
            BinOp::Or(_) => ("and-or", &["&&"]),
            BinOp::Add(_) => ("arithmetic", &["-"]),
            BinOp::Sub(_) => ("arithmetic", &["+"]),
            BinOp::Mul(_) => ("arithmetic", &["/"]),
            BinOp::Div(_) => ("arithmetic", &["*"]),
            BinOp::Rem(_) => ("arithmetic", &["/"]),
            BinOp::AddAssign(_) => ("arithmetic", &["-="]),
            BinOp::SubAssign(_) => ("arithmetic", &["+="]),
            BinOp::BitAnd(_) => ("arithmetic", &["|"]),
            BinOp::BitOr(_) => ("arithmetic", &["&"]),
            BinOp::Shl(_) => ("arithmetic", &[">>"]),
            BinOp::Shr(_) => ("arithmetic", &["<<"]),
            _ => ("", &[]),
        };
        let (whole, op) = (binary.span().byte_range(), binary.op.span().byte_range());
        for other in others {
            let with = format!("{}{other}{}", self.text(whole.start..op.start), self.text(op.end..whole.end));
            self.add(kind, binary, Change::Instead(with));
        }
        let is_order = matches!(binary.op, BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_));
        for side in [&binary.left, &binary.right] {
            // One more or less is what the turned comparison does.
            if !(is_order && is_literal(side)) {
                self.bend(side);
            }
        }
    }

    fn method(&mut self, call: &ExprMethodCall) {
        let name = call.method.to_string();
        if let Some(other) = twin(call) {
            let (whole, method) = (call.span().byte_range(), call.method.span().byte_range());
            let with = format!("{}{other}{}", self.text(whole.start..method.start), self.text(method.end..whole.end));
            self.add("twin", call, Change::Instead(with));
        }
        if ASKING.contains(&name.as_str())
            && let Some(Expr::Closure(closure)) = call.args.last()
        {
            self.turn(&closure.body);
            if matches!(name.as_str(), "filter" | "retain") {
                self.add("unfiltered", &closure.body, Change::Instead("true".to_owned()));
            }
        }
        self.bend_all(&call.args);
    }

    fn bend_all<P>(&mut self, arguments: &Punctuated<Expr, P>) {
        for argument in arguments {
            self.bend(argument);
        }
    }

    fn statement(&mut self, statement: &Stmt) {
        let Stmt::Expr(expr, end) = statement else { return };
        let kind = match expr {
            Expr::Return(_) | Expr::Continue(_) | Expr::Break(_) => "exit",
            Expr::MethodCall(_) | Expr::Call(_) | Expr::Assign(_) if end.is_some() => "statement",
            Expr::Binary(ExprBinary { op, .. }) if end.is_some() && is_assigning(op) => "statement",
            _ => return,
        };
        self.add(kind, statement, Change::LeftOut);
    }
}

impl<'a> Visit<'a> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'a ItemImpl) {
        let for_people = |name: &str| matches!(name, "Debug" | "Display" | "Error" | "Drop");
        let of_trait = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last()).map(|last| last.ident.to_string());
        if is_test(&item.attrs) || of_trait.as_deref().is_some_and(for_people) {
            return;
        }
        let name = match &*item.self_ty {
            Type::Path(path) => path.path.segments.last().map_or_else(String::new, |last| last.ident.to_string()),
            other => one_line(&self.text_of(other)).replace(' ', ""),
        };
        self.functions.push(name);
        visit::visit_item_impl(self, item);
        self.functions.pop();
    }

    fn visit_item_fn(&mut self, item: &'a ItemFn) {
        if !is_test(&item.attrs) {
            self.function(item.sig.ident.to_string(), &item.sig, &item.block);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'a ImplItemFn) {
        if !is_test(&item.attrs) {
            self.function(item.sig.ident.to_string(), &item.sig, &item.block);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'a TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(item.sig.ident.to_string(), &item.sig, block);
        }
    }

    fn visit_block(&mut self, block: &'a Block) {
        for statement in &block.stmts {
            self.statement(statement);
            self.visit_stmt(statement);
        }
    }

    fn visit_local(&mut self, local: &'a Local) {
        let Some(init) = &local.init else { return };
        self.visit_expr(&init.expr);
        // The way out of a `let else` cannot be left out.
        if let Some((_, otherwise)) = &init.diverge
            && let Expr::Block(otherwise) = &**otherwise
        {
            for statement in &otherwise.block.stmts {
                self.visit_stmt(statement);
            }
        }
    }

    fn visit_expr_binary(&mut self, binary: &'a ExprBinary) {
        self.binary(binary);
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'a ExprUnary) {
        if matches!(unary.op, UnOp::Not(_)) {
            let operand = self.text_of(&unary.expr);
            self.add("not", unary, Change::Instead(operand));
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_method_call(&mut self, call: &'a ExprMethodCall) {
        self.method(call);
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_call(&mut self, call: &'a syn::ExprCall) {
        self.bend_all(&call.args);
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_if(&mut self, branch: &'a ExprIf) {
        self.turn(&branch.cond);
        visit::visit_expr_if(self, branch);
    }

    fn visit_expr_while(&mut self, round: &'a ExprWhile) {
        self.turn(&round.cond);
        visit::visit_expr_while(self, round);
    }

    fn visit_expr_match(&mut self, choice: &'a ExprMatch) {
        self.visit_expr(&choice.expr);
        for arm in &choice.arms {
            if let Some((_, guard)) = &arm.guard {
                for value in ["true", "false"] {
                    self.add("guard", guard, Change::Instead(value.to_owned()));
                }
                self.visit_expr(guard);
            }
            self.visit_expr(&arm.body);
        }
    }

    fn visit_expr_repeat(&mut self, repeat: &'a ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }

    fn visit_expr_closure(&mut self, closure: &'a ExprClosure) {
        self.visit_expr(&closure.body);
    }

    fn visit_attribute(&mut self, _: &'a Attribute) {}
    fn visit_expr_const(&mut self, _: &'a ExprConst) {}
    fn visit_impl_item_const(&mut self, _: &'a ImplItemConst) {}
    fn visit_item_const(&mut self, _: &'a ItemConst) {}
    fn visit_item_static(&mut self, _: &'a ItemStatic) {}
    fn visit_macro(&mut self, _: &'a syn::Macro) {}
    fn visit_pat(&mut self, _: &'a Pat) {}
    fn visit_type(&mut self, _: &'a Type) {}
}

/// Values that a function could return without doing anything.
fn values(output: &ReturnType) -> Vec<&'static str> {
    let ReturnType::Type(_, output) = output else { return vec![""] };
    let Type::Path(path) = &**output else { return Vec::new() };
    let Some(last) = path.path.segments.last() else { return Vec::new() };
    match last.ident.to_string().as_str() {
        "bool" => vec!["true", "false"],
        "Option" => vec!["None"],
        "Result" if is_unit(&last.arguments) => vec!["Ok(())"],
        "Result" => vec!["Ok(Default::default())"],
        "u8" | "u16" | "u32" | "u64" | "usize" => vec!["0", "1"],
        // Words for people, and constructors.
        "String" | "Self" => Vec::new(),
        _ => vec!["Default::default()"],
    }
}

fn is_unit(arguments: &PathArguments) -> bool {
    let PathArguments::AngleBracketed(list) = arguments else { return false };
    matches!(list.args.first(), Some(GenericArgument::Type(Type::Tuple(tuple))) if tuple.elems.is_empty())
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let cfg_test = || attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|what| what == "test");
        attribute.path().is_ident("test") || cfg_test()
    })
}

fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(ExprBinary { op: BinOp::And(_), left, right, .. }) => has_let(left) || has_let(right),
        _ => false,
    }
}

fn is_assigning(op: &BinOp) -> bool {
    use BinOp as Op;
    matches!(
        op,
        Op::AddAssign(_)
            | Op::SubAssign(_)
            | Op::MulAssign(_)
            | Op::DivAssign(_)
            | Op::BitAndAssign(_)
            | Op::BitOrAssign(_)
            | Op::BitXorAssign(_)
    )
}

fn is_constant(name: &str) -> bool {
    name.len() > 1 && name.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_')
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::mutants;

    fn words(source: &str) -> Vec<String> {
        mutants("a.rs", source).unwrap().iter().map(|mutant| format!("{} {}", mutant.name, mutant.words())).collect()
    }

    #[test]
    fn a_comparison_is_turned_and_moved_by_one() {
        assert_eq!(
            words("fn f(a: u8) -> bool { a < 3 }"),
            [
                "a.rs f body 1 begins with  return true;",
                "a.rs f body 2 begins with  return false;",
                "a.rs f compare 1 a < 3  ->  a <= 3",
                "a.rs f compare 2 a < 3  ->  a >= 3",
            ]
        );
    }

    #[test]
    fn constants_patterns_tests_and_texts_are_left_alone() {
        assert_eq!(
            words(
                "const A: u8 = 1 + 2; const fn g() -> u8 { 1 + 2 } #[cfg(test)] mod tests { fn t() {} } \
                 impl Display for A { fn fmt(&self) { a(1) } } impl B { const C: bool = 1 < 2; }"
            ),
            [""; 0]
        );
    }

    #[test]
    fn a_chain_with_a_let_keeps_its_and() {
        assert_eq!(
            words("impl A { fn f(&self) -> B { if let Some(x) = y() && x.is_live() { self.z.insert(1); } } }"),
            [
                "a.rs A::f body 1 begins with  return Default::default();",
                "a.rs A::f turned 1 x.is_live()  ->  !(x.is_live())",
                "a.rs A::f statement 1 self.z.insert(1);  is left out",
                "a.rs A::f bound 1 1  ->  crate::mutant::bend(1)",
            ]
        );
    }
}
