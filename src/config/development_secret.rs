//! The key that signs tokens in development when none is configured: created once and kept in the data folder. In
//! production, the check of the configuration requires a configured key.

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
    /// The key that signs tokens: the configured one or else, in development, [`development_secret`].
    ///
    /// # Errors
    /// When none is configured in production, or the file cannot be created or read.
    pub fn signing_secret(&self) -> io::Result<SecretString> {
        match (&self.auth.jwt_secret, self.env) {
            (Some(secret), _) => Ok(secret.clone()),
            (None, Environment::Development) => development_secret(&self.data_dir),
            (None, Environment::Production) => {
                Err(io::Error::new(io::ErrorKind::NotFound, "`auth.jwt_secret` must be set in production"))
            }
        }
    }

    /// Checks that the file of an earlier start, if it is needed, holds a usable key or can be created.
    ///
    /// # Errors
    /// When the file cannot be read or created, or the key is too short.
    pub fn check_kept_secret(&self) -> io::Result<()> {
        let is_needed = self.auth.jwt_secret.is_none() && self.env == Environment::Development;
        if !is_needed {
            return Ok(());
        }
        let path = self.data_dir.join(FILE);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => private::check_creatable(&self.data_dir),
            read => checked(&path, read).map(|_| ()),
        }
    }
}

/// Reads `<data_dir>/jwt_secret`, or creates it with 32 random bytes in hexadecimal, readable by its owner only. Servers
/// that start at the same time get the same key.
///
/// # Errors
/// When the folder or the file cannot be created or read, or the key is too short.
pub fn development_secret(data_dir: &Path) -> io::Result<SecretString> {
    let path = data_dir.join(FILE);
    let secret = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(data_dir, &path),
        read => read,
    };
    checked(&path, secret)
}

/// Validates the key that was read from `path`.
fn checked(path: &Path, secret: io::Result<String>) -> io::Result<SecretString> {
    let secret = secret.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    let secret = secret.trim();
    if secret.len() < JWT_SECRET_MIN_BYTES {
        let reason =
            format!("{} holds fewer than {JWT_SECRET_MIN_BYTES} bytes; remove it to create a new one", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(SecretString::from(secret))
}

/// Creates the file and returns its content: the key of the server that came first.
fn create(data_dir: &Path, path: &Path) -> io::Result<String> {
    let mut bytes = [0; JWT_SECRET_MIN_BYTES];
    getrandom::fill(&mut bytes)?;
    let mut secret = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(secret, "{byte:02x}").map_err(io::Error::other)?;
    }

    private::create_folder(data_dir)?;
    // Written to a temporary file (mode 0600) and moved into place, so that no one reads half a key.
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
    fn the_secret_is_created_once_and_kept() {
        let folder = TempDir::new().unwrap();
        let data_dir = folder.path().join("not/there/yet");
        let first = development_secret(&data_dir).unwrap();
        assert_eq!(first.expose_secret().len(), 64);
        assert_eq!(development_secret(&data_dir).unwrap().expose_secret(), first.expose_secret());
        assert_eq!(fs::read_dir(&data_dir).unwrap().count(), 1, "a temporary file was left behind");
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
    fn concurrent_starts_get_the_same_key() {
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
    fn a_configured_key_wins_and_production_creates_none() {
        let folder = TempDir::new().unwrap();
        let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
        config.env = Environment::Production;
        assert!(config.signing_secret().is_err());
        config.auth.jwt_secret = Some(SecretString::from("configured"));
        assert_eq!(config.signing_secret().unwrap().expose_secret(), "configured");
        assert!(!config.data_dir.exists());
    }

    #[test]
    fn a_short_file_is_rejected() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join(FILE), "short\n").unwrap();
        let error = development_secret(folder.path()).unwrap_err().to_string();
        assert!(error.contains("jwt_secret") && !error.contains("short"), "{error}");
    }
}
