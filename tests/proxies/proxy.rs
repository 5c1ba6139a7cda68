//! A real proxy with the configuration that `docs/PROXIES.md` has for it.

use super::TIMEOUT;
use crate::harness::{ReservedPort, eventually, holds, needs_installed};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Nginx,
    Haproxy,
    Caddy,
}

/// A running proxy. Dropping it kills it.
pub struct Proxy {
    /// Without TLS: a second listener beside the documented one.
    pub url: String,
    pub secure_url: String,
    /// Certificate that a client must trust.
    pub certificate: PathBuf,
    child: Child,
    _ports: Ports,
    _folder: TempDir,
}

/// The one block of code in this language on the page.
pub fn block(language: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/PROXIES.md")).unwrap();
    let fence = format!("```{language}\n");
    let mut blocks = page.split(&fence).skip(1);
    let block = blocks.next().and_then(|rest| rest.split("```").next()).expect("a block of code");
    assert!(blocks.next().is_none(), "more than one {language} block");
    block.to_owned()
}

impl Proxy {
    pub async fn start(kind: Kind, server: &str) -> Self {
        let folder = TempDir::new().unwrap();
        make_certificate(folder.path());
        let [plain, secure, redirect] = std::array::from_fn(|_| ReservedPort::new());
        let ports = Ports { plain, secure, redirect };
        let server = server.strip_prefix("http://").unwrap();
        let (program, file, text, arguments) = match kind {
            Kind::Nginx => {
                ("nginx", "nginx.conf", nginx(folder.path(), &ports, server), &["-p", ".", "-c", "nginx.conf"][..])
            }
            Kind::Haproxy => {
                ("haproxy", "haproxy.cfg", haproxy(folder.path(), &ports, server), &["-db", "-f", "haproxy.cfg"][..])
            }
            Kind::Caddy => {
                let arguments = &["run", "--config", "Caddyfile", "--adapter", "caddyfile"][..];
                ("caddy", "Caddyfile", caddy(folder.path(), &ports, server), arguments)
            }
        };
        fs::write(folder.path().join(file), text).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        needs_installed(program);
        let mut command = Command::new(program);
        // Debian keeps the servers where only root looks.
        command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
        command.current_dir(folder.path()).env("HOME", folder.path()).args(arguments);
        command.stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; run `make tools`"));
        let proxy = Self {
            url: format!("http://127.0.0.1:{}", ports.plain),
            secure_url: format!("https://localhost:{}", ports.secure),
            certificate: folder.path().join("certificate.pem"),
            child,
            _ports: ports,
            _folder: folder,
        };
        let ready = format!("{}/health/ready", proxy.url);
        eventually(async || {
            let is_ready = reqwest::get(&ready).await.is_ok_and(|answer| answer.status() == 200);
            let log = fs::read_to_string(proxy._folder.path().join("log")).unwrap_or_default();
            holds(is_ready, format!("{program} does not start: {log}"))
        })
        .await;
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Asked to stop, nginx and Caddy end their helpers, too.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if began.elapsed() > Duration::from_secs(5) {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

struct Ports {
    plain: ReservedPort,
    secure: ReservedPort,
    redirect: ReservedPort,
}

/// Replaces what must be there.
fn replaced(text: String, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in {text}");
    text.replace(from, to)
}

fn nginx(folder: &Path, ports: &Ports, server: &str) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let text = replaced(block("nginx"), "127.0.0.1:8000", server);
    let text = replaced(text, "listen 80;", &format!("listen 127.0.0.1:{};", ports.redirect));
    let listeners = format!("listen 127.0.0.1:{} ssl;\n    listen 127.0.0.1:{};", ports.secure, ports.plain);
    let text = replaced(text, "listen 443 ssl;", &listeners);
    let text = replaced(text, "/etc/ssl/chat.example.org.pem", &at("certificate.pem"));
    let text = replaced(text, "/etc/ssl/chat.example.org.key", &at("key.pem"));
    let text = replaced(text, "610s", TIMEOUT);
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("    {name}_temp_path {};\n", at(name)))
        .collect();
    // Root's workers would be somebody else, who may not write here; others cannot change who they are.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    format!(
        "{user}daemon off;\npid {};\nerror_log stderr;\nevents {{}}\nhttp {{\n    access_log off;\n{paths}{text}}}\n",
        at("nginx.pid")
    )
}

fn haproxy(folder: &Path, ports: &Ports, server: &str) -> String {
    let pair = ["certificate.pem", "key.pem"].map(|name| fs::read_to_string(folder.join(name)).unwrap()).concat();
    fs::write(folder.join("pair.pem"), pair).unwrap();
    let text = replaced(block("haproxy"), "127.0.0.1:8000", server);
    let text = replaced(text, "bind :80", &format!("bind 127.0.0.1:{}", ports.redirect));
    let pair = folder.join("pair.pem");
    let listeners =
        format!("bind 127.0.0.1:{}\n    bind 127.0.0.1:{} ssl crt {}", ports.plain, ports.secure, pair.display());
    let text = replaced(text, "bind :443 ssl crt /etc/haproxy/chat.example.org.pem", &listeners);
    // Each client takes two open files, and this process may have few.
    let text = replaced(text, "maxconn 20000", "maxconn 100");
    replaced(text, "610s", TIMEOUT)
}

fn caddy(folder: &Path, ports: &Ports, server: &str) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let text = replaced(block("caddyfile"), "127.0.0.1:8000", server);
    // Caddy mixes sites with and without TLS in no block.
    let plain = format!("http://127.0.0.1:{port}, http://chat.example.org:{port} {{\n", port = ports.plain);
    let tls = format!("https://localhost:{} {{\n    tls {} {}\n", ports.secure, at("certificate.pem"), at("key.pem"));
    let [plain, secure] = [plain, tls].map(|site| replaced(text.clone(), "chat.example.org {\n", &site));
    format!(
        "{{\n    admin off\n    auto_https disable_redirects\n    default_bind 127.0.0.1\n    storage file_system {}\n}}\n{plain}{secure}",
        at("storage")
    )
}

/// `certificate.pem` and `key.pem` for localhost, made by the `openssl` command.
fn make_certificate(folder: &Path) {
    let config = "[req]\ndistinguished_name = name\nx509_extensions = extensions\nprompt = no\n[name]\nCN = localhost\n\
                  [extensions]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = DNS:localhost, IP:127.0.0.1\n";
    fs::write(folder.join("openssl.cnf"), config).unwrap();
    needs_installed("openssl");
    let mut command = Command::new("openssl");
    command.current_dir(folder).args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command.args(["-nodes", "-days", "2", "-config", "openssl.cnf", "-keyout", "key.pem", "-out", "certificate.pem"]);
    let made = command.output().unwrap_or_else(|error| panic!("openssl: {error}; run `make tools`"));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
