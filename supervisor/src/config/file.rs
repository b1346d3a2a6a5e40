//! The file itself: where it is, and its text.
//!
//! Owns the places that are searched. Never looks into the text.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::error::{Complaint, Errors};

/// Searched in this order when no file is named.
const PLACES: [&str; 2] = ["./config.toml", "/etc/ratoon/config.toml"];

/// The largest file that is read, in bytes: a thousand pools fit, a device or a core dump named by mistake does not.
const LARGEST: u64 = 1 << 20;

/// The configuration file to use: the one named, whether it exists or not, else the first that exists of
/// `./config.toml` and `/etc/ratoon/config.toml`.
///
/// # Errors
///
/// None was named and none exists.
pub fn find(explicit: Option<PathBuf>) -> Result<PathBuf, Errors> {
    explicit.map_or_else(|| first_of(&PLACES), Ok)
}

fn first_of(places: &[&str]) -> Result<PathBuf, Errors> {
    // One that exists but cannot be read is the one that was meant: to take the next instead would hide it.
    let exists = |place: &&&str| {
        let found = fs::symlink_metadata(place);
        !matches!(found, Err(error) if error.kind() == ErrorKind::NotFound)
    };
    places.iter().find(exists).map(PathBuf::from).ok_or_else(|| {
        let places = places.join(" nor ");
        Complaint::about_file("", format!("found neither {places}: write one, or name another with --config FILE"))
            .into()
    })
}

/// The text at `path`.
pub(super) fn read(path: &Path) -> Result<String, Errors> {
    let wrong = |message: String| Errors::from(Complaint::about_file(path.display().to_string(), message));
    let failed = |error: std::io::Error| {
        wrong(match error.kind() {
            ErrorKind::NotFound => "no such file (os error 2): write it, or name another with --config FILE".to_owned(),
            ErrorKind::PermissionDenied => {
                "cannot be read: Permission denied (os error 13): let the user that starts ratoon read it".to_owned()
            }
            _ => format!("cannot be read: {error}: name another with --config FILE"),
        })
    };

    // A pipe would block whoever opens it, and a supervisor that reloads must not block.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(wrong("is not a regular file: name one with --config FILE".to_owned()));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(wrong("is larger than 1MiB: is this a configuration file?".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
        let byte = error.as_bytes()[valid];
        let message = format!("the byte 0x{byte:02x} is not UTF-8: save the file as UTF-8");
        Complaint { line: Some(line), ..Complaint::about_file(path.display().to_string(), message) }.into()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn scratch(name: &str, content: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("ratoon-config-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn a_named_file_is_taken_as_it_is() {
        assert_eq!(find(Some("/nowhere/x.toml".into())), Ok(PathBuf::from("/nowhere/x.toml")));
    }

    #[test]
    fn the_first_place_that_exists_is_taken() {
        let there = scratch("there", b"");
        let there = std::str::from_utf8(there.as_os_str().as_bytes()).unwrap();
        assert_eq!(first_of(&["/nowhere/a", there, "/etc"]), Ok(PathBuf::from(there)));
        fs::remove_file(there).unwrap();
    }

    #[test]
    fn where_no_file_is_both_places_are_named() {
        let errors = first_of(&["/nowhere/a", "/nowhere/b"]).unwrap_err();
        assert_eq!(
            errors.to_string(),
            "found neither /nowhere/a nor /nowhere/b: write one, or name another with --config FILE"
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_the_reason() {
        let errors = read(Path::new("/nowhere/x.toml")).unwrap_err();
        assert_eq!(
            errors.to_string(),
            "/nowhere/x.toml: no such file (os error 2): write it, or name another with --config FILE"
        );
        for path in ["/", "/dev/zero"] {
            let errors = read(Path::new(path)).unwrap_err();
            assert_eq!(errors.to_string(), format!("{path}: is not a regular file: name one with --config FILE"));
        }
    }

    #[test]
    fn a_file_that_is_no_text_is_told_the_line() {
        let path = scratch("latin1", b"# ok\n# caf\xe9\n");
        let errors = read(&path).unwrap_err();
        let place = path.display();
        assert_eq!(errors.to_string(), format!("{place}:2: the byte 0xe9 is not UTF-8: save the file as UTF-8"));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_too_large_to_be_a_configuration_is_refused() {
        let path = scratch("large", &vec![b'#'; (1 << 20) + 1]);
        let errors = read(&path).unwrap_err();
        let place = path.display();
        assert_eq!(errors.to_string(), format!("{place}: is larger than 1MiB: is this a configuration file?"));
        fs::remove_file(path).unwrap();
    }
}
