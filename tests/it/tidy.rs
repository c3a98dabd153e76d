//! The house itself: what is agreed in `docs/ARCHITECTURE.md` and `CONTRIBUTING.md`, checked.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Floors from the lowest to the highest. A file names only modules of lower floors, and its own.
const FLOORS: &[&[&str]] = &[
    &["content", "state", "limits", "loopback", "diagnostics", "blocking"],
    &["metrics"],
    &["notification"],
    &["event_id", "auth"],
    &["sse", "store"],
    &["delivery", "publish", "retention", "inbox", "access"],
    &["demo"],
    &["http"],
    &["config"],
    &["listener"],
    &["server"],
    &["cli"],
];

/// The same within modules that have several files, by `super::`.
const ROOMS: &[(&str, &[&[&str]])] = &[
    (
        "delivery",
        &[
            &["tail", "readers", "socket", "forms"],
            &["subscriber"],
            &["beginning", "body", "counts", "quiet"],
            &["mailbox"],
            &["turns"],
            &["inquiries", "revisions", "sink"],
            &["connection"],
            &["engine"],
            &["agreement"],
        ],
    ),
    (
        "http",
        &[
            &["error", "operations", "origins", "body", "request_log"],
            &["request", "assets", "shapes", "address"],
            &["outside"],
            &["identity", "language", "draft", "members"],
            &["notifications", "inbox", "poll", "session"],
            &[
                "batch",
                "stream",
                "timeline",
                "keys",
                "tokens",
                "topics",
                "users",
                "preferences",
                "page",
                "health",
                "metrics",
            ],
            &["openapi"],
        ],
    ),
    ("diagnostics", &[&["output", "repetition"]]),
    ("listener", &[&["descriptors", "tls", "refusal"], &["places"], &["ending"], &["http1", "http2"]]),
    (
        "cli",
        &[
            &["terminal"],
            &["client", "banner", "content"],
            &["publish", "listen", "inbox", "notification", "key", "token", "health", "completions", "serve"],
            &["dev"],
        ],
    ),
];

const LINES_OF_CODE_MAX: usize = 400;

/// Licences that go with `MIT OR Apache-2.0`, as the crates write them.
const LICENCES: &[&str] = &[
    "(MIT OR Apache-2.0) AND NCSA",
    "(MIT OR Apache-2.0) AND Unicode-3.0",
    "0BSD",
    "0BSD OR MIT OR Apache-2.0",
    "Apache-2.0",
    "Apache-2.0 / MIT",
    "Apache-2.0 AND ISC",
    "Apache-2.0 OR BSL-1.0",
    "Apache-2.0 OR ISC OR MIT",
    "Apache-2.0 OR MIT",
    "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
    "BSD-3-Clause",
    "BSD-3-Clause AND MIT",
    "BSD-3-Clause/MIT",
    "CC0-1.0 OR MIT-0 OR Apache-2.0",
    "ISC",
    "ISC AND (Apache-2.0 OR ISC)",
    "ISC AND (Apache-2.0 OR ISC) AND Apache-2.0 AND MIT AND BSD-3-Clause AND (Apache-2.0 OR ISC OR MIT) AND (Apache-2.0 OR ISC OR MIT-0)",
    "MIT",
    "MIT AND BSD-3-Clause",
    "MIT OR Apache-2.0",
    "MIT OR Apache-2.0 OR Zlib",
    "MIT OR Zlib OR Apache-2.0",
    "MIT/Apache-2.0",
    "Unicode-3.0",
    "Unlicense OR MIT",
    "Zlib",
    "Zlib OR Apache-2.0 OR MIT",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Rust files below a folder, with their code as it is without its tests.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    files(&root().join(folder), &mut found);
    let mut sources: Vec<_> = found
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code =
                text.split("#[cfg(test)]\nmod tests").next().unwrap().split("#[cfg(test)]\npub(super) mod tests");
            (path.strip_prefix(root()).unwrap().display().to_string(), code.clone().next().unwrap().to_owned())
        })
        .collect();
    sources.sort();
    sources
}

/// Lines that are neither blank nor comments.
fn code_lines(code: &str) -> impl Iterator<Item = &str> {
    code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"))
}

fn floor_of(floors: &[&[&str]], module: &str) -> Option<usize> {
    floors.iter().position(|floor| floor.contains(&module))
}

/// The names behind a prefix such as `crate::` in a line of code.
fn named<'a>(line: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(prefix).flat_map(move |(at, _)| {
        let rest = &line[at + prefix.len()..];
        let list = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or(rest, |(list, _)| list);
        let several = rest.starts_with('{');
        list.split(',')
            .take(if several { usize::MAX } else { 1 })
            .map(|name| name.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap())
    })
}

/// Every place where a module of the same or a higher floor is named.
fn violations(sources: &[(String, String)]) -> Vec<String> {
    let mut violations = Vec::new();
    for (path, code) in sources {
        let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut parts = inside.split('/');
        let (module, room) = (parts.next().unwrap(), parts.next());
        if module == "lib" || module == "main" {
            continue;
        }
        let Some(floor) = floor_of(FLOORS, module) else {
            violations.push(format!("{path}: {module} has no floor"));
            continue;
        };
        for line in code_lines(code) {
            for name in named(line, "crate::").filter(|name| *name != module) {
                if floor_of(FLOORS, name).is_some_and(|other| other >= floor) {
                    violations.push(format!("{path}: {module} may not name {name}"));
                }
            }
            let rooms = ROOMS.iter().find(|(name, _)| *name == module).map(|(_, floors)| *floors);
            if let (Some(floors), Some(room)) = (rooms, room) {
                let Some(floor) = floor_of(floors, room) else {
                    violations.push(format!("{path}: {room} has no floor within {module}"));
                    break;
                };
                for name in named(line, "super::") {
                    if name != room && floor_of(floors, name).is_some_and(|other| other >= floor) {
                        violations.push(format!("{path}: {module}/{room} may not name {name}"));
                    }
                }
            }
        }
    }
    violations
}

#[test]
fn a_file_names_only_lower_floors() {
    assert_eq!(violations(&sources("src")), Vec::<String>::new());
}

#[test]
fn a_file_that_names_a_higher_floor_is_found() {
    let source = |path: &str, code: &str| vec![(path.to_owned(), code.to_owned())];
    for (path, code, found) in [
        ("src/sse.rs", "use crate::store::Store;", "src/sse.rs: sse may not name store"),
        ("src/store.rs", "use crate::{content, delivery::Delivery};", "src/store.rs: store may not name delivery"),
        ("src/store/sqlite.rs", "fn x() -> crate::http::App {}", "src/store/sqlite.rs: store may not name http"),
        ("src/utils.rs", "", "src/utils.rs: utils has no floor"),
        ("src/delivery/tail.rs", "use super::engine::X;", "src/delivery/tail.rs: delivery/tail may not name engine"),
    ] {
        assert_eq!(violations(&source(path, code)), [found]);
    }
}

#[test]
fn no_file_is_longer_than_one_sitting() {
    for (path, code) in sources("src").into_iter().chain(sources("tests")) {
        let lines = code_lines(&code).count();
        assert!(lines <= LINES_OF_CODE_MAX, "{path} has {lines} lines of code: what does it hide?");
    }
}

/// It has no tests of its own: it is believed because it can be read at a glance.
#[test]
fn the_model_of_what_users_have_is_small() {
    let sources = sources("src/store/suite");
    let (_, code) = sources.iter().find(|(path, _)| path.ends_with("/model.rs")).expect("there is a model");
    assert!(code_lines(code).count() <= 120, "{} lines", code_lines(code).count());
}

#[test]
fn every_module_says_what_it_is_and_none_is_a_drawer() {
    for (path, code) in sources("src").into_iter().chain(sources("tests")) {
        assert!(code.starts_with("//!"), "{path} does not say what it is");
        for drawer in ["mod.rs", "utils", "common", "helpers", "misc"] {
            assert!(!path.contains(drawer), "{path}: {drawer} is no name for a room");
        }
        for unfinished in ["todo!(", "unimplemented!(", "FIXME", "#[ignore"] {
            assert!(path.ends_with("tidy.rs") || !code.contains(unfinished), "{path} has {unfinished}");
        }
    }
}

#[test]
fn the_map_names_every_file_of_the_house() {
    let map = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let browser = ["web/client", "web/widget"].into_iter().flat_map(|folder| {
        let files = fs::read_dir(root().join(folder)).unwrap();
        files.map(move |entry| format!("{folder}/{}", entry.unwrap().file_name().display()))
    });
    for path in sources("src").into_iter().map(|(path, _)| path).chain(browser) {
        assert!(map.contains(&format!("`{path}`")), "docs/ARCHITECTURE.md does not name {path}");
    }
}

#[test]
fn every_code_of_a_problem_is_documented() {
    let documented = fs::read_to_string(root().join("docs/api.md")).unwrap();
    let mut codes = BTreeSet::new();
    for (path, code) in sources("src/http") {
        if !path.contains("/error") && !path.ends_with("draft.rs") {
            continue;
        }
        // A code is a string of small letters and underscores that stands where a code does.
        for part in code.split('"').skip(1).step_by(2) {
            let is_code =
                part.contains('_') && part.len() > 1 && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if is_code {
                codes.insert(part.to_owned());
            }
        }
    }
    assert!(codes.len() > 15, "{codes:?}");
    for code in codes {
        // Names of fields within an example count too.
        let explained = ['`', '"'].iter().any(|quote| documented.contains(&format!("{quote}{code}{quote}")));
        assert!(explained, "docs/api.md does not explain {code}");
    }
}

/// The macros panic when their file can't be written: reporting a failure must not be one.
#[test]
fn nothing_is_printed_by_a_macro() {
    for (path, code) in sources("src") {
        let printing = code_lines(&code).find(|line| ["print!(", "println!("].iter().any(|name| line.contains(name)));
        assert_eq!(printing, None, "{path}: use cli::terminal, or log it");
    }
}

#[test]
fn unsafe_code_is_forbidden_in_every_crate_of_ours() {
    let beside = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let folders = beside(root()).chain(beside(root().join("crates"))).chain([root()]);
    let read = |path: PathBuf| fs::read_to_string(path).unwrap().parse::<toml::Table>().unwrap();
    let common = read(root().join("Cargo.toml"))["workspace"].clone();
    let mut crates = 0;
    for path in folders.map(|folder| folder.join("Cargo.toml")).filter(|path| path.exists()) {
        let manifest = read(path.clone());
        let lints = if manifest["lints"].get("workspace").is_some() { &common["lints"] } else { &manifest["lints"] };
        assert_eq!(lints["rust"]["unsafe_code"].as_str(), Some("forbid"), "{}", path.display());
        crates += 1;
    }
    assert!(crates >= 2, "the server and the load");
}

#[test]
fn every_dependency_has_a_licence_that_goes_with_ours() {
    let cargo = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        // Only what is built here: the rest may not have been fetched.
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&cargo.stdout).unwrap();
    for package in metadata["packages"].as_array().unwrap() {
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(LICENCES.contains(&licence), "{} is under {licence}", package["name"]);
    }
}
