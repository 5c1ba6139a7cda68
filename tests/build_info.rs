//! The commit that `build.rs` records, and what the program prints about itself: version, completions, manual pages.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_switchboard");

fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"];
    stdout(Command::new("git").current_dir(folder).args(identity).args(arguments).output().unwrap()).trim().to_owned()
}

/// Compiles the build script.
fn build_script(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
    let program = folder.join("build-script");
    stdout(Command::new("rustc").args(["--edition", "2024", "-o"]).arg(&program).arg(source).output().unwrap());
    program
}

/// Runs the build script in `folder` as Cargo would.
fn run_build_script(script: &Path, folder: &Path, profile: &str, given: Option<&str>) -> String {
    let mut command = Command::new(script);
    command
        .current_dir(folder)
        .env("PROFILE", profile)
        .env("CARGO_PKG_VERSION", "1.2.3")
        .env_remove("SWITCHBOARD_COMMIT");
    command.envs(given.map(|commit| ("SWITCHBOARD_COMMIT", commit)));
    stdout(command.output().unwrap())
}

#[test]
fn the_build_script_records_the_commit_of_a_release() {
    let folder = TempDir::new().unwrap();
    let script = build_script(folder.path());
    let (checkout, worktree) = (folder.path().join("checkout"), folder.path().join("worktree"));
    std::fs::create_dir_all(checkout.join("inner")).unwrap();
    git(&checkout, &["init", "--quiet"]);
    git(&checkout, &["commit", "--quiet", "--allow-empty", "--message", "First"]);
    git(&checkout, &["worktree", "add", "--quiet", worktree.to_str().unwrap()]);
    git(&worktree, &["commit", "--quiet", "--allow-empty", "--message", "Second"]);
    for top in [&checkout, &worktree] {
        let commit = git(top, &["show", "--no-patch", "--abbrev=12", "--format=%h %cs", "HEAD"]);
        let recorded = run_build_script(&script, top, "release", None);
        assert!(recorded.contains(&format!("=SWITCHBOARD_VERSION=1.2.3 ({commit})\n")), "{recorded}");
        let hash = commit.split_once(' ').unwrap().0;
        assert!(hash.len() == 12 && recorded.contains(&format!("=SWITCHBOARD_COMMIT_HASH={hash}\n")), "{recorded}");
        let watched = recorded.lines().filter_map(|line| line.strip_prefix("cargo::rerun-if-changed="));
        let watched: Vec<_> = watched.filter(|path| *path != "build.rs").collect();
        // Cargo runs a script again on every build when it names a file that does not exist.
        assert!(watched.len() == 1 && top.join(watched[0]).exists(), "{recorded}");
    }
    let unknown = "=SWITCHBOARD_VERSION=1.2.3\n";
    for (top, profile) in
        [(&checkout, "debug"), (&checkout.join("inner"), "release"), (&folder.path().to_owned(), "release")]
    {
        let recorded = run_build_script(&script, top, profile, None);
        assert!(recorded.contains(unknown) && recorded.ends_with("=SWITCHBOARD_COMMIT_HASH=\n"), "{recorded}");
    }
    let recorded = run_build_script(&script, folder.path(), "debug", Some("abcdef123456 2026-11-26"));
    assert!(recorded.contains("=SWITCHBOARD_VERSION=1.2.3 (abcdef123456 2026-11-26)\n"), "{recorded}");
    assert!(recorded.ends_with("=SWITCHBOARD_COMMIT_HASH=abcdef123456\n"), "{recorded}");
}

fn switchboard(folder: &Path, arguments: &[&str]) -> String {
    // A wrong setting must not matter.
    let mut command = Command::new(PROGRAM);
    command.current_dir(folder).env("SWITCHBOARD__SERVER__PORT", "wrong");
    stdout(command.args(arguments).output().unwrap())
}

#[test]
fn bash_loads_the_completions_and_completes_commands() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("script"), switchboard(folder.path(), &["completions", "bash"])).unwrap();
    let complete = "source ./script && complete -p switchboard && COMP_WORDS=(switchboard \"$@\") && COMP_CWORD=$# && \
                    _switchboard switchboard \"${!#}\" \"${COMP_WORDS[$#-1]}\"; echo \"${COMPREPLY[*]}\"";
    for (words, wanted) in [
        (&["in"] as &[&str], "ingest"),
        (&["ops", "ki"], "kick"),
        (&["completions", "f"], "fish"),
        (&["load", "--connec"], "--connections"),
        (&["extr"], ""),
        (&["ops", "--por"], ""),
    ] {
        let shell = Command::new("bash").current_dir(folder.path()).args(["-c", complete, "bash"]).args(words).output();
        let lines = stdout(shell.unwrap());
        let lines: Vec<&str> = lines.lines().collect();
        assert!(lines.len() == 2 && lines[0].contains("-F _switchboard"), "{words:?}: {lines:?}");
        assert_eq!(lines[1].trim(), wanted, "{words:?}");
    }
}

#[test]
fn each_shell_has_completions_of_every_command() {
    let folder = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = switchboard(folder.path(), &["completions", shell]);
        for command in ["serve", "ingest", "set-password", "undrain", "think-ms"] {
            assert!(script.contains(command), "{shell} does not complete {command}");
        }
    }
}

#[test]
fn each_command_has_a_manual_page() {
    let folder = TempDir::new().unwrap();
    let main = switchboard(folder.path(), &["man"]);
    let pages = folder.path().join("man/man1");
    switchboard(folder.path(), &["man", "--folder", pages.to_str().unwrap()]);
    for name in ["switchboard", "switchboard-serve", "switchboard-ops", "switchboard-ops-kick", "switchboard-user-add"]
    {
        let page =
            std::fs::read_to_string(pages.join(format!("{name}.1"))).unwrap_or_else(|_| panic!("no page {name}"));
        for part in [".TH", ".SH NAME", ".SH SYNOPSIS"] {
            assert!(page.contains(part), "{name} has no {part}");
        }
    }
    assert!(main.contains("switchboard\\-ingest(1)"), "{main}");
    assert!(!main.contains("extract") && !pages.join("switchboard-extract.1").exists());
}
