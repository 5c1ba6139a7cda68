//! Boundaries between modules: the layers of `docs/ARCHITECTURE.md`, homes of external crates, and no import circles.

use super::{
    crate_modules::{self, Segments},
    dependencies::{Dependency, Workspace, circles},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::LazyLock,
};

/// The parts of the program, lowest layer first: folders and files of `src/`, and the crates beside it. A part names only
/// the parts that its line lists; all of these are in lines above it, so the layers cannot form a circle. An item that a part
/// re-exports counts as its own.
const PARTS: &[(&str, &str)] = &[
    // Plain values, and tools that know nothing of the program.
    ("build_info", ""),
    ("limits", ""),
    ("private", ""),
    ("process", ""),
    ("terms", ""),
    ("toml_file", ""),
    // Phrases and words of languages, from operators' files.
    ("language", "toml_file"),
    ("pause", "limits"),
    // The published contract in types, and the values that the server adds to it.
    ("protocol", ""),
    ("domain", "limits protocol"),
    // Settings. A development secret is a private file.
    ("config", "limits private"),
    ("logging", "config limits"),
    // Labels of metrics are types of the contract and of the domain, never texts.
    ("metrics", "build_info domain process protocol"),
    // The database. Commits and failures are measured.
    ("store", "config domain limits metrics private"),
    ("knowledge", "config domain language limits metrics store terms"),
    // The provider `extractive` judges sentences as the knowledge base judges passages.
    ("provider", "config domain language pause terms"),
    ("limiter", "config domain limits"),
    ("auth", "config domain limits metrics store"),
    // The log is pure; the frames of a subscription to it come from an encoder.
    ("turn", "domain limits metrics protocol"),
    // Live data between writers and connections.
    ("bus", "domain limits turn"),
    // Open connections, and the turns that are announced to them.
    ("registry", "auth bus domain limits pause protocol store turn"),
    // Takes a question, and writes what becomes of it into a turn's log. Its steps are those of the contract.
    (
        "workflow",
        "bus config domain knowledge language limiter limits logging metrics pause protocol provider store terms toml_file turn",
    ),
    ("preflight", "config language provider workflow"),
    ("steering", "auth config domain limiter limits logging store workflow"),
    // The errors of all layers below, as clients receive them.
    ("api_error", "auth domain limiter limits protocol registry steering store turn workflow"),
    // The frames of a turn, for every surface.
    ("encode", "api_error domain protocol turn"),
    // Authentication and inbound guard, the same for every kind of connection.
    ("connection", "auth config domain limiter limits protocol"),
    // Connections below their actors: the response body of one records in its statistics when it is polled.
    ("transport", "config limiter limits logging metrics protocol"),
    (
        "session",
        "api_error auth bus config connection domain encode limiter limits metrics pause protocol registry transport turn \
         workflow",
    ),
    (
        "ops",
        "auth config connection domain limiter limits metrics pause process protocol provider registry steering transport \
         workflow",
    ),
    (
        "http",
        "api_error auth bus config domain encode knowledge limiter limits logging metrics ops pause process protocol \
         provider registry session steering store transport turn workflow",
    ),
    // Clients of a running server: of its code they know the contract.
    ("client", "protocol"),
    ("load", "client protocol"),
    // Judges answers, however they came about.
    ("eval", ""),
    // The composition root.
    (
        "app",
        "api_error auth bus config domain encode http knowledge limiter limits metrics ops preflight process provider registry session \
         steering store transport turn workflow",
    ),
    (
        "cli",
        "app auth build_info client config domain eval knowledge language load logging preflight process protocol provider store",
    ),
    ("main", "cli"),
];

/// Names that only these files may use: external crates by their paths, items of the program as `part::Item`.
const HOMES: &[(&str, &[&str])] = &[
    // Deprecated upstream: only its types of the protocol are used.
    ("actix_web_actors", &["src/transport/decoder.rs", "src/transport/socket_context.rs"]),
    // Another database can stand beside SQLite.
    ("diesel", &["src/store/sqlite"]),
    ("diesel_migrations", &["src/store/sqlite"]),
    ("store::SqliteStore", &["src/app", "src/cli"]),
    // The layers below the edge have errors of their own; `api_error` maps them. `FailureMapping` is the type of a map.
    (
        "protocol::ApiError",
        &[
            "src/api_error",
            "src/encode",
            "src/session",
            "src/connection",
            "src/transport",
            "src/ops",
            "src/http",
            "src/cli/mod.rs",
            "src/turn/failure.rs",
        ],
    ),
    // The frames of a turn are built by encoders, so that a replay equals the live stream. A route names them in OpenAPI.
    ("protocol::CompleteFrame", &["src/encode", "src/http"]),
    ("protocol::PartFrame", &["src/encode", "src/http/pages/openapi.rs"]),
    ("protocol::ProgressFrame", &["src/encode"]),
    ("protocol::ReasoningFrame", &["src/encode"]),
    ("protocol::Resumed", &["src/encode"]),
    ("protocol::TokenFrame", &["src/encode"]),
    (
        "protocol::ErrorCode",
        &["src/api_error", "src/session", "src/connection", "src/transport", "src/ops", "src/http", "src/metrics"],
    ),
    ("argon2", &["src/auth"]),
    ("jsonwebtoken", &["src/auth"]),
    ("governor", &["src/limiter"]),
    ("prometheus_client", &["src/metrics"]),
    ("pdf_extract", &["src/knowledge/pdf"]),
    ("quick_xml", &["src/knowledge/docx"]),
    (
        "reqwest",
        &["src/provider", "src/knowledge/model_server.rs", "src/cli/ops", "src/config/check.rs", "crates/client"],
    ),
    // Connections are served below actix-web: its own server takes a lock of the whole process for each of them.
    ("actix_web::HttpServer", &[]),
    ("actix_http", &["src/transport"]),
    ("actix_codec", &["src/transport"]),
    ("actix_service", &["src/transport"]),
    ("socket2", &["src/transport"]),
];

/// Circles between sibling modules that remain, each with its reason.
const CIRCLES: &[&[&str]] = &[
    // An account signs in with a connector, and a connector renews its token through the account.
    &["client::account", "client::connection"],
    // A question returns its answer, which resumes itself with the client.
    &["client::answer", "client::chat"],
    // The report, its text and the verdict in it are one document.
    &["load::report", "load::run", "load::text", "load::verdict"],
    // A log tells its subscribers, and each event carries the log, so that the receiver can read there what it missed.
    &["turn::log", "turn::subscriber"],
];

/// The dependencies of the server, its program and the crates beside it.
static PROGRAM: LazyLock<BTreeSet<Dependency>> = LazyLock::new(|| workspace(super::root()).dependencies());

fn workspace(root: &Path) -> Workspace {
    let mut modules = crate_modules::read(root, "switchboard", "src/lib.rs");
    modules.extend(crate_modules::read(root, "main", "src/main.rs"));
    let mut external = dependencies_of(&root.join("Cargo.toml"));
    let crates = fs::read_dir(root.join("crates")).into_iter().flatten().map(|entry| entry.unwrap().path());
    for folder in crates.filter(|folder| folder.join("src/lib.rs").exists()) {
        external.extend(dependencies_of(&folder.join("Cargo.toml")));
        let file = folder.join("src/lib.rs");
        let file = file.strip_prefix(root).unwrap().to_str().unwrap();
        let name = format!("switchboard_{}", folder.file_name().unwrap().to_str().unwrap());
        modules.extend(crate_modules::read(root, &name, file));
    }
    Workspace::new(modules, external)
}

/// Names under which the crates of a manifest are used.
fn dependencies_of(manifest: &Path) -> BTreeSet<String> {
    let manifest: toml::Table = fs::read_to_string(manifest).unwrap().parse().unwrap();
    let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
    dependencies.into_iter().flat_map(toml::Table::keys).map(|name| name.replace('-', "_")).collect()
}

/// The part that a module belongs to; `None` for the root of the library.
fn part_of(module: &[String]) -> Option<&str> {
    match module[0].as_str() {
        "switchboard" => module.get(1).map(String::as_str),
        program => Some(program.strip_prefix("switchboard_").unwrap_or(program)),
    }
}

/// A dependency's target as [`HOMES`] names it.
fn name_of(dependency: &Dependency) -> String {
    match &dependency.defined_in {
        Some(module) => {
            let item = dependency.target[module.len()..].join("::");
            format!("{}::{item}", part_of(module).unwrap_or_default())
        }
        None => dependency.target.join("::"),
    }
}

fn layer_violations(dependencies: &BTreeSet<Dependency>, parts: &[(&str, &str)]) -> Vec<String> {
    let allowed: BTreeMap<&str, &str> = parts.iter().copied().collect();
    let mut violations = Vec::new();
    for dependency in dependencies {
        let Some(target) = dependency.named_in.as_ref().and_then(|module| part_of(module)) else { continue };
        let Some(part) = part_of(&dependency.by) else { continue };
        if part != target && !allowed.get(part).is_some_and(|allowed| allowed.split(' ').any(|lower| lower == target)) {
            let Dependency { file, line, .. } = dependency;
            violations.push(format!("{file}:{line}: `{part}` must not name `{}`", name_of(dependency)));
        }
    }
    violations
}

fn home_violations(dependencies: &BTreeSet<Dependency>, homes: &[(&str, &[&str])]) -> Vec<String> {
    let mut violations = Vec::new();
    for dependency in dependencies {
        let (name, file) = (name_of(dependency), &dependency.file);
        for (item, homes) in homes {
            let is_named = name.strip_prefix(item).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
            let (own, _) = item.split_once("::").unwrap_or((item, ""));
            let is_own = part_of(&dependency.by) == Some(own);
            if is_named && !is_own && !homes.iter().any(|home| file.starts_with(home)) {
                violations.push(format!("{file}:{}: `{item}` is for {homes:?}", dependency.line));
            }
        }
    }
    violations
}

/// Circles between the modules of one parent. A module and its descendants count as one there, so that a parent may use
/// and re-export its children, and children may use what their parent defines.
fn sibling_circles(dependencies: &BTreeSet<Dependency>) -> Vec<Vec<String>> {
    let mut edges = BTreeSet::new();
    for Dependency { by, defined_in, .. } in dependencies {
        let Some(target) = defined_in else { continue };
        let shared = by.iter().zip(target).take_while(|(one, other)| one == other).count();
        let within_a_part = shared >= 2 || (shared == 1 && by[0] != "switchboard");
        if within_a_part && by.len() > shared && target.len() > shared {
            edges.insert((short(&by[..=shared]), short(&target[..=shared])));
        }
    }
    circles(&edges)
}

/// `switchboard::a::b` and `switchboard_a::b` as `a::b`.
fn short(module: &[String]) -> String {
    let mut names = vec![part_of(module).unwrap_or_default()];
    names.extend(module[if module[0] == "switchboard" { 2 } else { 1 }..].iter().map(String::as_str));
    names.join("::")
}

#[test]
fn parts_import_only_lower_layers() {
    let violations = layer_violations(&PROGRAM, PARTS);
    assert!(violations.is_empty(), "{}", violations.join("\n"));

    for (index, (part, allowed)) in PARTS.iter().enumerate() {
        for lower in allowed.split_whitespace() {
            assert!(PARTS[..index].iter().any(|(part, _)| *part == lower), "`{lower}` is not below `{part}`");
        }
    }
    let modules =
        PROGRAM.iter().flat_map(|dependency| [Some(&dependency.by), dependency.defined_in.as_ref()]).flatten();
    let parts: BTreeSet<&str> = modules.filter_map(|module| part_of(module)).collect();
    let listed: BTreeSet<&str> = PARTS.iter().map(|(part, _)| *part).collect();
    assert_eq!(parts, listed, "the parts of the program, and those of the table");
}

#[test]
fn no_edge_of_the_layers_is_unused() {
    let used: BTreeSet<(&str, &str)> = PROGRAM
        .iter()
        .filter_map(|dependency| Some((part_of(&dependency.by)?, part_of(dependency.named_in.as_ref()?)?)))
        .collect();
    for (part, allowed) in PARTS {
        let unused: Vec<_> = allowed.split_whitespace().filter(|lower| !used.contains(&(*part, *lower))).collect();
        assert!(unused.is_empty(), "`{part}` no longer names {unused:?}: remove them from the table");
    }
}

#[test]
fn external_crates_stay_in_their_homes() {
    let violations = home_violations(&PROGRAM, HOMES);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn modules_do_not_import_each_other() {
    assert_eq!(sibling_circles(&PROGRAM), CIRCLES, "import circles, and those that are known");
}

/// The dependencies of inline modules.
fn planted(source: &str) -> BTreeSet<Dependency> {
    let (mut modules, mut files) = (BTreeMap::new(), Vec::<Segments>::new());
    let items = syn::parse_file(source).unwrap().items;
    crate_modules::add_module(vec!["switchboard".to_owned()], "src/lib.rs", items, &mut modules, &mut files);
    assert!(files.is_empty());
    Workspace::new(modules, ["diesel".to_owned()]).dependencies()
}

#[test]
fn a_planted_violation_is_found_however_it_is_written() {
    const LAYERS: &[(&str, &str)] = &[("domain", ""), ("http", "domain")];
    for named in [
        "use crate::{http::{self, Page}};",
        "use crate::{http as web};",
        "use super::http::*;",
        "fn page() -> crate::http::Page { todo!() }",
        "fn page() { println!(\"{}\", crate::http::Page::NAME); }",
        "fn page() { use crate::{http::Page as P}; let _ = P; }",
        "#[derive(crate::http::Page)] struct P;",
        "#[serde(with = \"crate::http::Page\")] struct P;",
        "use crate::prelude::Page;",
        "use crate::prelude::*; fn page(_: Page) {}",
    ] {
        let source = format!(
            "mod domain {{ {named} }} mod http {{ pub struct Page; use crate::domain; }} \
             mod prelude {{ pub use crate::http::*; }}"
        );
        let violations = layer_violations(&planted(&source), LAYERS);
        assert!(violations.iter().any(|line| line.contains("`domain` must not name")), "{named}: {violations:?}");
    }
    let clean = "mod domain { /// See [`crate::http::Page`].\n pub(crate) struct Id; #[cfg(test)] mod tests { use crate::http; } } \
                 mod http { use crate::domain::Id; pub struct Page(Id); }";
    assert_eq!(layer_violations(&planted(clean), LAYERS), Vec::<String>::new());
}

#[test]
fn a_crate_is_found_behind_names_of_our_own() {
    const DIESEL: &[(&str, &[&str])] = &[("diesel", &["src/store"])];
    for named in ["use diesel as d;", "use crate::{aliases::{Row as R}};", "fn f() { ::diesel::insert(); }"] {
        let source = format!("mod http {{ {named} }} mod aliases {{ pub use diesel::Row; }}");
        let violations = home_violations(&planted(&source), DIESEL);
        assert!(violations.len() > usize::from(named.contains("aliases")), "{named}: {violations:?}");
    }
}

#[test]
fn circles_are_those_of_siblings() {
    let source = "mod part {
        pub use a::A; struct Shared;
        mod a { use super::{Shared, b::B}; pub struct A; }
        mod b { use super::c::C; pub struct B; }
        mod c { fn of(_: super::A) {} pub struct C; mod child { use super::C; } }
        mod d { use super::A; }
    }";
    assert_eq!(sibling_circles(&planted(source)), [["part::a", "part::b", "part::c"]]);
}
