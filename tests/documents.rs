//! What the documents say of the tests is so: whoever reads that a promise is shown by a test finds that test.

#![expect(clippy::expect_used, reason = "a document that cannot be read fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// All files below a directory whose name ends so.
fn files(below: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(below)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("the directory can be read") {
            let path = entry.expect("the directory can be read").path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found
}

fn text(below: &str, ending: &str) -> String {
    files(below, ending).iter().map(|path| fs::read_to_string(path).expect("the file can be read")).collect()
}

#[test]
fn the_tests_that_the_page_on_safety_names_are_there() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/safety.md")).expect("the page can be read");
    let tests = text("tests/pool", ".rs");
    // Stories of real daemons are looked for where they are made, in netns-tests.
    let quoted: BTreeSet<&str> = page.split('`').skip(1).step_by(2).filter_map(|span| span.strip_prefix("pool: ")).collect();
    assert!(quoted.len() > 10, "the page names hardly any test: {quoted:?}");
    let missing: Vec<&str> = quoted.into_iter().filter(|name| !tests.contains(&format!("fn {name}()"))).collect();
    assert!(missing.is_empty(), "docs/safety.md names tests that are not there: {missing:?}");
}

#[test]
fn a_link_within_the_documents_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = files("docs", ".md");
    pages.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name)));
    let mut broken = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).expect("the page can be read");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let file = link.split('#').next().unwrap_or_default();
            let leads = file.is_empty() || file.contains("://") || page.parent().is_some_and(|directory| directory.join(file).exists());
            if !leads {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
