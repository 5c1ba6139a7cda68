//! Folders and files that only their owner can read.

use rustix::fs::{Access, access};
use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// Creates a folder and its parents with mode 0700. Existing ones keep their permissions.
///
/// # Errors
/// When it cannot be created, or something other than a folder exists at the path.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Checks whether this user could create files in a folder, or the folder itself, without creating anything.
///
/// # Errors
/// When the folder or its closest existing parent is not a folder or cannot be written to.
pub fn check_creatable(folder: &Path) -> io::Result<()> {
    let folder = std::path::absolute(folder)?;
    let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", existing.display()));
    if !existing.is_dir() {
        return Err(named(io::ErrorKind::NotADirectory.into()));
    }
    access(existing, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| named(error.into()))
}

/// Creates an empty file with mode 0600. An existing file keeps its permissions and content.
///
/// # Errors
/// When it cannot be created.
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
    fn new_folders_and_files_are_private() {
        let root = TempDir::new().unwrap();
        let folder = root.path().join("a/b");
        create_folder(&folder).unwrap();
        create_file(&folder.join("c")).unwrap();
        assert_eq!((mode(&root.path().join("a")), mode(&folder), mode(&folder.join("c"))), (0o700, 0o700, 0o600));
    }

    #[test]
    fn a_folder_is_creatable_unless_a_file_is_in_its_place() {
        let root = TempDir::new().unwrap();
        check_creatable(root.path()).unwrap();
        check_creatable(&root.path().join("a/b")).unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = check_creatable(&file.join("a")).unwrap_err();
        assert!(refused.to_string().starts_with(&format!("{}: ", file.display())), "{refused}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "a check created something");
    }

    #[test]
    fn existing_folders_and_files_stay_unchanged() {
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
