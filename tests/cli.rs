//! The program as a shell sees it: what it prints where, and how it ends.

use assert_cmd::Command;
use std::{path::Path, sync::Arc};
use switchboard::{
    auth::{Accounts, Passwords, Tokens},
    config::Config,
    domain::Email,
    store::{ServedTime, ServingClock, sqlite::SqliteStore},
};
use tempfile::TempDir;

/// The program in a folder of its own, in an environment without any setting.
fn switchboard(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.current_dir(folder).env_remove("RUST_LOG");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SWITCHBOARD__") {
            command.env_remove(name);
        }
    }
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn server_starts_without_configuration() {
    let folder = TempDir::new().unwrap();
    let output = switchboard(folder.path()).args(["config", "check"]).assert().success().get_output().clone();
    let searched = folder.path().canonicalize().unwrap().join("config");
    let expected =
        format!("The configuration is fine (env = \"development\").\nFiles read: none in {}.\n", searched.display());
    assert_eq!(text(&output.stdout), expected);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a check leaves something behind");
}

#[test]
fn a_refused_configuration_ends_with_2_and_one_message() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("config")).unwrap();
    std::fs::write(folder.path().join("config/default.toml"), "[log]\nlevl = 1\n").unwrap();
    for command in [["config", "check"].as_slice(), &["config", "print"], &["migrate"]] {
        let mut program = switchboard(folder.path());
        program.args(command).env("SWITCHBOARD__SERVER__PORT", "70000");
        let output = program.assert().code(2).get_output().clone();
        assert_eq!(text(&output.stdout), "");
        assert_eq!(
            text(&output.stderr),
            "error: invalid configuration:\
             \n  log.levl (from config/default.toml): unknown setting; expected one of format, level in `log`\
             \n  server.port = 70000 (from SWITCHBOARD__SERVER__PORT): must be a whole number from 0 to 65535\n"
        );
    }
}

/// A specialist as a TOML table, which is line 1 to 7.
const AGENT: &str = "[[agent]]\nname = \"a\"\ntopic = \"t\"\ndescription = \"d\"\nsystem_prompt = \"s\"\n\
                     examples = [\"e\"]\ndefault = true\n";

#[test]
fn a_check_refuses_what_a_start_refuses_in_the_same_words() {
    let agents = |text: &str| vec![("agents.toml", text.as_bytes().to_vec())];
    let file = ("SWITCHBOARD__WORKFLOW__AGENTS_FILE", "agents.toml");
    let key = "workflow.agents_file = \"agents.toml\": ";
    for (files, setting, wanted) in [
        (vec![], file, format!("{key}cannot be read: No such file")),
        (vec![("agents.toml/x", Vec::new())], file, format!("{key}cannot be read: it is not a file")),
        (vec![("agents.toml", vec![0xff, 0xfe])], file, format!("{key}cannot be read: ")),
        (vec![("agents.toml", vec![b'#'; 300_000])], file, format!("{key}cannot be read: it has 300000 bytes")),
        (agents(""), file, format!("{key}line 1, column 1: `agent` must have")),
        (agents("agent = ["), file, format!("{key}line 1, column ")),
        (agents(&AGENT.replace("true", "1")), file, format!("{key}line 7, column 11: `agent[0].default` ")),
        (
            agents(&AGENT.replace("topic", "tpic")),
            file,
            format!("{key}line 3, column 1: `agent[0].tpic` unknown field"),
        ),
        (agents(&AGENT.replace("\"a\"", "\"A b\"")), file, format!("{key}line 2, column 8: `agent[0].name` ")),
        (agents(&AGENT.repeat(2)), file, format!("{key}line 14, column 11: `agent[1].default` ")),
        (
            agents(&format!("{AGENT}[safety]\nwords = []\nwarning = \"w\"\n")),
            file,
            format!("{key}line 9, column 9: `safety.words` "),
        ),
        (
            vec![("data/jwt_secret", b"short".to_vec())],
            ("SWITCHBOARD__LOG__LEVEL", "info"),
            "data_dir = \"data\": data/jwt_secret holds fewer".to_owned(),
        ),
        (
            vec![],
            ("SWITCHBOARD__SERVER__HOST", "203.0.113.1"),
            "server.host = \"203.0.113.1\": is not an address of this machine".to_owned(),
        ),
        (vec![], ("SWITCHBOARD__ENV", "production"), "auth.jwt_secret".to_owned()),
        (vec![], ("SWITCHBOARD__SERVER__PORT", "70000"), "server.port = 70000".to_owned()),
    ] {
        let folder = TempDir::new().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let run = |arguments: &[&str]| {
            let mut program = switchboard(folder.path());
            // A start that is not refused would never end.
            program.args(arguments).env(setting.0, setting.1).timeout(std::time::Duration::from_secs(60));
            let output = program.output().unwrap();
            assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""), "{arguments:?} {wanted}");
            text(&output.stderr)
        };
        let (checked, started) = (run(&["config", "check"]), run(&["serve"]));
        assert!(checked.starts_with("error: invalid configuration:\n  ") && checked.contains(&wanted), "{checked}");
        assert_eq!(checked, started);
        assert!(!folder.path().join("data/switchboard.db").exists(), "a refused start made a database: {wanted}");
    }
}

#[test]
fn a_check_refuses_a_log_filter_and_a_database_as_a_start_does() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("text.db"), "this is no database".repeat(100)).unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let url = "SWITCHBOARD__DATABASE__URL";
    for (setting, words, code) in [
        (("RUST_LOG", "info,x=loud"), "RUST_LOG is not a valid filter", 2),
        ((url, "sqlite://nowhere/a.db"), "there is no folder", 1),
        ((url, "sqlite://."), "it is a folder", 1),
        ((url, "sqlite://file/a.db"), "Not a directory", 1),
        ((url, "sqlite://text.db"), "is not an SQLite database", 1),
        (("SWITCHBOARD__DATA_DIR", "file/data"), "data_dir = \"file/data\": ", 2),
    ] {
        let [checked, started] = [&["config", "check"] as &[_], &["serve", "--port", "0"]].map(|arguments| {
            let mut program = switchboard(folder.path());
            program.args(arguments).env(setting.0, setting.1).timeout(std::time::Duration::from_secs(60));
            let output = program.output().unwrap();
            assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(code), ""), "{setting:?}");
            let message = text(&output.stderr);
            message.split_once("error: ").unwrap_or_else(|| panic!("{message}")).1.to_owned()
        });
        assert!(checked.contains(words), "{setting:?}: {checked}");
        assert_eq!(checked, started);
    }
}

#[test]
fn a_check_leaves_an_existing_database_as_it_is() {
    let folder = TempDir::new().unwrap();
    migrate(folder.path());
    let files = || {
        let entries = std::fs::read_dir(folder.path().join("data")).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
        files.sort();
        files
    };
    let before = files();
    switchboard(folder.path()).args(["config", "check"]).assert().success();
    assert!(files() == before, "a check changed the database");
}

#[test]
fn production_has_its_settings_outside_of_the_repository() {
    let folder = TempDir::new().unwrap();
    let print = || {
        let mut print = switchboard(folder.path());
        print.args(["config", "print", "--env", "production"]).env("SWITCHBOARD__AUTH__JWT_SECRET", "x".repeat(32));
        text(&print.assert().success().get_output().stdout)
    };
    let printed = print();
    for line in ["host = \"0.0.0.0\"", "min_password_score = 3", "format = \"json\""] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is not in\n{printed}");
    }
    // With the files of the repository, the settings are the same.
    std::fs::create_dir(folder.path().join("config")).unwrap();
    for name in ["config/default.toml", "config/production.toml"] {
        std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(name), folder.path().join(name)).unwrap();
    }
    assert_eq!(print(), printed);
}

#[test]
fn a_file_of_specialists_that_is_right_passes_the_check() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("agents.toml"), AGENT).unwrap();
    let mut check = switchboard(folder.path());
    check.args(["config", "check"]).env("SWITCHBOARD__WORKFLOW__AGENTS_FILE", "agents.toml").assert().success();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a check leaves something behind");
}

#[test]
fn secrets_are_never_printed() {
    let folder = TempDir::new().unwrap();
    let secret = "correct horse battery staple, twice";
    let mut print = switchboard(folder.path());
    print.args(["config", "print"]).env("SWITCHBOARD__AUTH__JWT_SECRET", secret);
    let output = print.assert().success().get_output().clone();
    assert!(text(&output.stdout).contains("jwt_secret = \"[redacted]\""));
    assert!(!text(&output.stdout).contains(secret) && !text(&output.stderr).contains(secret));

    let mut refused = switchboard(folder.path());
    refused.args(["config", "check"]).env("SWITCHBOARD__AUTH__JWT_SECRET", "hunter2");
    let output = refused.assert().code(2).get_output().clone();
    assert!(text(&output.stderr).contains("auth.jwt_secret (from SWITCHBOARD__AUTH__JWT_SECRET)"));
    assert!(!text(&output.stderr).contains("hunter2"));
}

#[test]
fn production_without_a_secret_is_refused() {
    let folder = TempDir::new().unwrap();
    let output =
        switchboard(folder.path()).args(["--env", "production", "migrate"]).assert().code(2).get_output().clone();
    assert!(text(&output.stderr).contains("auth.jwt_secret"), "{}", text(&output.stderr));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it began before it refused");
}

#[test]
fn migrate_makes_the_database_once() {
    let folder = TempDir::new().unwrap();
    let migrate = || {
        let output = switchboard(folder.path()).arg("migrate").assert().success().get_output().clone();
        text(&output.stdout)
    };
    assert!(migrate().starts_with("Applied "));
    assert!(folder.path().join("data/switchboard.db").is_file());
    assert_eq!(migrate(), "The database is up to date.\n");
}

#[test]
fn a_database_that_cannot_be_made_ends_with_1() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("data"), "not a folder").unwrap();
    let output = switchboard(folder.path()).arg("migrate").assert().code(1).get_output().clone();
    let error = text(&output.stderr);
    assert!(error.starts_with("error: the database ") && error.contains("data/switchboard.db"), "{error}");
}

#[test]
fn commands_beside_the_server_make_no_database() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("a.md"), "# A\nText.").unwrap();
    let expected = folder.path().canonicalize().unwrap().join("data/switchboard.db");
    for arguments in [
        &["user", "set-role", "ada@example.org", "operator"] as &[_],
        &["user", "list"],
        &["user", "lock", "ada@example.org"],
        &["user", "unlock", "ada@example.org"],
        &["user", "add", "--email", "ada@example.org", "--password-stdin"],
        &["user", "set-password", "ada@example.org", "--password-stdin"],
        &["ingest", "a.md"],
        &["backup", "b.db"],
    ] {
        let mut command = switchboard(folder.path());
        let output =
            command.args(arguments).write_stdin("violet mammoth ladder\n").assert().code(1).get_output().clone();
        let error = text(&output.stderr);
        let error = error.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{error}"));
        for words in [expected.to_str().unwrap(), "database.url", "the compiled defaults", "--database-url"] {
            assert!(error.contains(words), "{arguments:?}: {words} is not in {error}");
        }
        let database = folder.path().join("data/switchboard.db");
        assert!(!database.exists() && !folder.path().join("b.db").exists(), "{arguments:?} made a database");
    }
}

#[test]
fn a_mistyped_database_is_refused_by_its_name() {
    let folder = TempDir::new().unwrap();
    for (url, words, code) in [
        ("sqlite://dta/switchboard.db", "there is no folder", 1),
        ("sqlite://x.db?mode=ro", "must be a path without parameters", 2),
        ("sqlite://.", "it is a folder", 1),
    ] {
        for arguments in [&["serve", "--port", "0"] as &[_], &["migrate"]] {
            let mut command = switchboard(folder.path());
            let output = command.args(arguments).args(["--database-url", url]).assert().code(code).get_output().clone();
            let error = text(&output.stderr);
            assert!(error.contains(words) && error.contains("--database-url") && error.contains(url), "{error}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was made");
}

#[test]
fn a_new_database_is_announced() {
    let folder = TempDir::new().unwrap();
    let output = switchboard(folder.path()).arg("migrate").assert().success().get_output().clone();
    let log = text(&output.stderr);
    assert!(log.contains("created a new, empty database") && log.contains("data/switchboard.db"), "{log}");
    let output = switchboard(folder.path()).arg("migrate").assert().success().get_output().clone();
    assert!(!text(&output.stderr).contains("created"), "{}", text(&output.stderr));
}

/// Makes the database, as the first start of the server does.
fn migrate(folder: &Path) {
    switchboard(folder).arg("migrate").assert().success();
}

/// Makes an account and returns its line in the list, cut at the tabs.
fn add_user(folder: &Path, email: &str, more: &[&str]) -> Vec<String> {
    migrate(folder);
    let mut add = switchboard(folder);
    add.args(["user", "add", "--email", email, "--password-stdin"]).args(more).write_stdin("violet mammoth ladder\n");
    fields(&text(&add.assert().success().get_output().stdout))
}

fn fields(line: &str) -> Vec<String> {
    line.trim_end().split('\t').map(str::to_owned).collect()
}

#[test]
fn an_operator_is_made_on_the_command_line() {
    let folder = TempDir::new().unwrap();
    let ada = add_user(folder.path(), "Ada@example.org", &["--name", "Ada Lovelace", "--role", "operator"]);
    assert_eq!(ada[1..], ["operator", "ada@example.org", "Ada Lovelace"]);
    let bob = add_user(folder.path(), "bob@example.org", &[]);
    assert_eq!(bob[1..3], ["user", "bob@example.org"]);

    switchboard(folder.path()).args(["user", "set-role", "bob@example.org", "agent"]).assert().success();
    let list = switchboard(folder.path()).args(["user", "list"]).assert().success().get_output().clone();
    let list: Vec<Vec<String>> = text(&list.stdout).lines().map(fields).collect();
    assert_eq!(list.len(), 2);
    assert_eq!(list[0], ada);
    assert_eq!((&list[1][0], list[1][1].as_str()), (&bob[0], "agent"));
}

#[test]
fn the_list_says_who_is_locked() {
    let folder = TempDir::new().unwrap();
    add_user(folder.path(), "ada@example.org", &[]);
    add_user(folder.path(), "bob@example.org", &[]);
    let list = || {
        let list = switchboard(folder.path()).args(["user", "list"]).assert().success().get_output().clone();
        text(&list.stdout).lines().map(|line| line.ends_with("\tlocked")).collect::<Vec<_>>()
    };
    assert_eq!(list(), [false, false]);
    switchboard(folder.path()).args(["user", "lock", "Bob@example.org"]).assert().success();
    assert_eq!(list(), [false, true]);
    switchboard(folder.path()).args(["user", "unlock", "bob@example.org"]).assert().success();
    assert_eq!(list(), [false, false]);
    let nobody =
        switchboard(folder.path()).args(["user", "lock", "eve@example.org"]).assert().code(1).get_output().clone();
    assert!(text(&nobody.stderr).contains("No account"), "{}", text(&nobody.stderr));
}

#[test]
fn refused_account_command_exits_with_1() {
    let folder = TempDir::new().unwrap();
    add_user(folder.path(), "ada@example.org", &[]);
    let refused = |arguments: &[&str], password: &str| {
        let mut command = switchboard(folder.path());
        let output = command.args(arguments).write_stdin(password).assert().code(1).get_output().clone();
        assert_eq!(text(&output.stdout), "");
        text(&output.stderr)
    };
    let again = refused(&["user", "add", "--email", "ADA@example.org", "--password-stdin"], "violet mammoth ladder");
    assert!(again.contains("already exists"), "{again}");
    let weak = refused(&["user", "set-password", "ada@example.org", "--password-stdin"], "password");
    assert!(weak.starts_with("error: ") && !weak.contains("password\n"), "{weak}");
    let nobody = refused(&["user", "set-role", "nobody@example.org", "operator"], "");
    assert!(nobody.contains("No account"), "{nobody}");
}

#[tokio::test]
async fn a_new_password_replaces_the_old_one() {
    let folder = TempDir::new().unwrap();
    add_user(folder.path(), "ada@example.org", &[]);
    let mut set = switchboard(folder.path());
    set.args(["user", "set-password", "ada@example.org", "--password-stdin"]).write_stdin("orchid tractor winter\n");
    set.assert().success();

    let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
    config.database.url = format!("sqlite://{}", folder.path().join("data/switchboard.db").display());
    let accounts = Accounts::new(
        Arc::new(SqliteStore::open(&config.database).unwrap()),
        Passwords::start(&config.auth).unwrap(),
        Arc::new(Tokens::new(
            &config.auth,
            &config.signing_secret().unwrap(),
            ServingClock::resume(ServedTime::default()),
        )),
    );
    let login = |password: &str| accounts.login(Email::parse("ada@example.org").unwrap(), password.into());
    assert!(login("violet mammoth ladder").await.is_err());
    assert!(login("orchid tractor winter").await.is_ok());
}

#[test]
fn a_password_is_taken_from_stdin_only() {
    let folder = TempDir::new().unwrap();
    let add = ["user", "add", "--email", "ada@example.org"];
    switchboard(folder.path()).args(add).args(["--password", "violet mammoth ladder"]).assert().code(2);
    switchboard(folder.path()).args(add).arg("--password-stdin").write_stdin("").assert().code(2);
    switchboard(folder.path()).args(["user", "add", "--email", "ada", "--password-stdin"]).assert().code(2);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it began before it refused");
}

#[test]
fn documents_are_taken_in_and_what_cannot_be_is_named() {
    let folder = TempDir::new().unwrap();
    let documents = folder.path().join("documents");
    std::fs::create_dir_all(documents.join("engine")).unwrap();
    migrate(folder.path());
    std::fs::write(documents.join("engine/power.md"), "# Engine\n\nThe engine has a power of 150 kW.\n").unwrap();
    let ingest = || {
        let mut command = switchboard(folder.path());
        command.args(["ingest", "documents", "--collection", "specs"]);
        command
    };
    let output = ingest().assert().success().get_output().clone();
    assert_eq!(text(&output.stdout), "Added \"documents/engine/power.md\" as \"engine/power.md\" (1 chunks)\n");

    std::fs::write(documents.join("picture.md"), [0xff, 0xfe, 0x00, 0x01]).unwrap();
    let output = ingest().assert().code(1).get_output().clone();
    let error = text(&output.stderr);
    assert!(error.contains("error: 1 of 2 documents were not added:\n  \"documents/picture.md\": "), "{error}");
    assert!(text(&output.stdout).contains("as \"engine/power.md\""), "one bad file kept another out");
}

#[test]
fn there_must_be_something_to_take_in() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    migrate(folder.path());
    switchboard(folder.path()).args(["ingest", "empty"]).assert().code(1);
    switchboard(folder.path()).args(["ingest", "nowhere"]).assert().code(1);
    switchboard(folder.path()).arg("ingest").assert().code(2);
}

#[test]
fn a_port_that_is_taken_is_named_with_what_to_do() {
    let folder = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = switchboard(folder.path()).args(["serve", "--port", &port]).assert().code(1).get_output().clone();
    let error = text(&output.stderr);
    assert!(error.contains(&format!("cannot listen on 127.0.0.1:{port}: Address already in use")), "{error}");
    assert!(error.contains("another server.port (--port)"), "{error}");
}

#[test]
fn wrong_use_ends_with_2() {
    let folder = TempDir::new().unwrap();
    switchboard(folder.path()).arg("frobnicate").assert().code(2);
    switchboard(folder.path()).args(["config", "check", "--port", "http"]).assert().code(2);
    switchboard(folder.path()).args(["config", "check", "--config-dir", "nowhere"]).assert().code(2);
    switchboard(folder.path()).arg("migrate").env("RUST_LOG", "info,x=loud").assert().code(2);
}

#[test]
fn settings_are_refused_where_the_server_is_another() {
    let folder = TempDir::new().unwrap();
    for command in [["ops", "stats"].as_slice(), &["load"]] {
        for flag in ["--config-dir=x", "--env=production", "--host=::1", "--port=9310", "--database-url=sqlite://x.db"]
        {
            let mut before = vec![flag];
            before.extend(command);
            for arguments in [before, [command, &[flag]].concat()] {
                let mut program = switchboard(folder.path());
                let output =
                    program.args(&arguments).env("SWITCHBOARD_TOKEN", "x").assert().code(2).get_output().clone();
                let name = flag.split_once('=').unwrap().0;
                let wanted = format!("error: {name} has no effect here; name the server with --url\n");
                assert_eq!(text(&output.stderr), wanted, "{arguments:?}");
            }
        }
        let output = switchboard(folder.path()).args(command).arg("--help").assert().success().get_output().clone();
        let help = text(&output.stdout);
        assert!(help.contains("--url") && !help.contains("--port") && !help.contains("--config-dir"), "{help}");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_noticed_before_the_load() {
    let folder = TempDir::new().unwrap();
    let report = folder.path().join("report.html");
    std::fs::write(&report, "an older one").unwrap();
    // Nobody listens there: were it tried first, that would be the message.
    let load = |option: &str, path: &str| {
        let mut program = switchboard(folder.path());
        program.args([
            "load",
            "--url",
            "ws://127.0.0.1:1",
            "--connections",
            "1",
            "--html",
            "report.html",
            option,
            path,
        ]);
        text(&program.assert().code(1).get_output().stderr)
    };
    let message = load("--json", "nowhere/report.json");
    assert!(message.starts_with("error: nowhere/report.json cannot be written: "), "{message}");
    assert!(!load("--json", "report.json").contains("cannot be written"));
    assert_eq!(std::fs::read_to_string(&report).unwrap(), "an older one", "a load that failed has no report");
}

#[test]
fn neither_passwords_nor_addresses_get_into_the_log() {
    let folder = TempDir::new().unwrap();
    migrate(folder.path());
    let mut add = switchboard(folder.path());
    add.args(["user", "add", "--email", "ada@example.org", "--name", "Lovelace", "--password-stdin"]);
    add.env("RUST_LOG", "trace").write_stdin("violet mammoth ladder\n");
    let log = text(&add.assert().success().get_output().stderr);
    assert!(log.contains("account created"), "{log}");
    let secret = std::fs::read_to_string(folder.path().join("data/jwt_secret")).unwrap();
    for private in ["violet mammoth ladder", "ada@example.org", "Lovelace", "$argon2id$", secret.as_str()] {
        assert!(!log.contains(private), "{private} is in the log:\n{log}");
    }
}

#[test]
fn the_log_is_json_when_that_is_configured() {
    let folder = TempDir::new().unwrap();
    migrate(folder.path());
    let mut add = switchboard(folder.path());
    add.args(["user", "add", "--email", "ada@example.org", "--password-stdin"]);
    add.env("SWITCHBOARD__LOG__FORMAT", "json").write_stdin("violet mammoth ladder\n");
    let output = add.assert().success().get_output().clone();
    let lines: Vec<serde_json::Value> =
        text(&output.stderr).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let made = lines.iter().find(|line| line["message"] == "account created").expect("no such line");
    assert_eq!(made["user_id"], fields(&text(&output.stdout))[0].as_str());
    assert_eq!((made["level"].as_str(), made["role"].as_str()), (Some("info"), Some("user")));
}

#[test]
fn closed_stdout_is_no_failure() {
    let folder = TempDir::new().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut print = std::process::Command::new(env!("CARGO_BIN_EXE_switchboard"));
    let output = print.args(["config", "print"]).current_dir(folder.path()).stdout(writer).output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn version_flag_prints_the_version() {
    let folder = TempDir::new().unwrap();
    let output = switchboard(folder.path()).arg("--version").assert().success().get_output().clone();
    assert_eq!(text(&output.stdout), format!("switchboard {}\n", switchboard::build_info::FULL_VERSION));
}
