//! Folders and files that only their owner may look into.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// Makes a folder, and those above it, with mode 0700. What is there already keeps its rights.
///
/// # Errors
/// When it cannot be made, or something else than a folder has its name.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes an empty file with mode 0600. What is there already keeps its rights and its content.
///
/// # Errors
/// When it cannot be made.
pub fn create_file(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};
    use tempfile::TempDir;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_for_its_owner() {
        let root = TempDir::new().unwrap();
        let folder = root.path().join("a/b");
        create_folder(&folder).unwrap();
        create_file(&folder.join("c")).unwrap();
        assert_eq!((mode(&root.path().join("a")), mode(&folder), mode(&folder.join("c"))), (0o700, 0o700, 0o600));
    }

    #[test]
    fn what_is_there_stays_as_it_is() {
        let root = TempDir::new().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let file = root.path().join("file");
        fs::write(&file, "content").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        create_folder(root.path()).unwrap();
        create_file(&file).unwrap();
        assert_eq!((mode(root.path()), mode(&file)), (0o755, 0o644));
        assert_eq!(fs::read_to_string(&file).unwrap(), "content");
        assert!(create_folder(&file).is_err());
    }
}
