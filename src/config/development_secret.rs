//! The secret that signs tokens while nobody has set one: made once, kept in the data folder. Only for development; in
//! production the check refuses to start without a secret of its own.

use super::{Config, Environment, JWT_SECRET_MIN_BYTES};
use crate::private;
use secrecy::SecretString;
use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::Path,
};

const FILE: &str = "jwt_secret";

impl Config {
    /// The secret that signs tokens: what is configured or else, in development, [`development_secret`].
    ///
    /// # Errors
    /// When there is none in production, or the kept one cannot be made or read.
    pub fn signing_secret(&self) -> io::Result<SecretString> {
        match (&self.auth.jwt_secret, self.env) {
            (Some(secret), _) => Ok(secret.clone()),
            (None, Environment::Development) => development_secret(&self.data_dir),
            (None, Environment::Production) => {
                Err(io::Error::new(io::ErrorKind::NotFound, "`auth.jwt_secret` must be set in production"))
            }
        }
    }

    /// Whether the secret that was kept at an earlier start, if there is one and it is needed, can sign tokens.
    ///
    /// # Errors
    /// When it cannot be read, or is too short.
    pub fn check_kept_secret(&self) -> io::Result<()> {
        let is_needed = self.auth.jwt_secret.is_none() && self.env == Environment::Development;
        let path = self.data_dir.join(FILE);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            read if is_needed => checked(&path, read).map(|_| ()),
            _ => Ok(()),
        }
    }
}

/// Reads `<data_dir>/jwt_secret`, or makes it: 32 random bytes in hex, readable by its owner only. Servers that start at
/// the same time get the same secret.
///
/// # Errors
/// When the folder or the file cannot be made or read, or the file holds less than a secret needs.
pub fn development_secret(data_dir: &Path) -> io::Result<SecretString> {
    let path = data_dir.join(FILE);
    let secret = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(data_dir, &path),
        read => read,
    };
    checked(&path, secret)
}

/// A secret that was read from `path`, if it can sign tokens.
fn checked(path: &Path, secret: io::Result<String>) -> io::Result<SecretString> {
    let secret = secret.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    let secret = secret.trim();
    if secret.len() < JWT_SECRET_MIN_BYTES {
        let reason =
            format!("{} holds less than {JWT_SECRET_MIN_BYTES} bytes; remove it to get another", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(SecretString::from(secret))
}

/// Makes the file and returns what it holds then: the secret of whoever was first.
fn make(data_dir: &Path, path: &Path) -> io::Result<String> {
    let mut bytes = [0; JWT_SECRET_MIN_BYTES];
    getrandom::fill(&mut bytes)?;
    let mut secret = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(secret, "{byte:02x}").map_err(io::Error::other)?;
    }

    private::create_folder(data_dir)?;
    // Written beside its place (mode 0600) and moved there whole, so that nobody ever reads half a secret.
    let mut file = tempfile::Builder::new().prefix(".jwt_secret").tempfile_in(data_dir)?;
    file.write_all(secret.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(secret),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => fs::read_to_string(path),
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::{collections::BTreeSet, sync::Barrier};
    use tempfile::TempDir;

    #[test]
    fn it_is_made_once_and_kept() {
        let folder = TempDir::new().unwrap();
        let data_dir = folder.path().join("not/there/yet");
        let first = development_secret(&data_dir).unwrap();
        assert_eq!(first.expose_secret().len(), 64);
        assert_eq!(development_secret(&data_dir).unwrap().expose_secret(), first.expose_secret());
        assert_eq!(fs::read_dir(&data_dir).unwrap().count(), 1, "something is left beside it");
        let elsewhere = development_secret(&folder.path().join("elsewhere")).unwrap();
        assert_ne!(elsewhere.expose_secret(), first.expose_secret());
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = TempDir::new().unwrap();
        development_secret(folder.path()).unwrap();
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn who_starts_at_the_same_time_gets_the_same() {
        let folder = TempDir::new().unwrap();
        let start = Barrier::new(8);
        let secrets: BTreeSet<String> = std::thread::scope(|scope| {
            let make = || {
                start.wait();
                development_secret(folder.path()).unwrap().expose_secret().to_owned()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(secrets.len(), 1);
    }

    #[test]
    fn what_is_configured_wins_and_production_makes_none() {
        let folder = TempDir::new().unwrap();
        let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
        config.env = Environment::Production;
        assert!(config.signing_secret().is_err());
        config.auth.jwt_secret = Some(SecretString::from("configured"));
        assert_eq!(config.signing_secret().unwrap().expose_secret(), "configured");
        assert!(!config.data_dir.exists());
    }

    #[test]
    fn a_file_with_too_little_is_refused() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join(FILE), "short\n").unwrap();
        let error = development_secret(folder.path()).unwrap_err().to_string();
        assert!(error.contains("jwt_secret") && !error.contains("short"), "{error}");
    }
}
