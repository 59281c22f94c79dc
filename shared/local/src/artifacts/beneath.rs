//! Work with files relative to an open directory, never through a symbolic link.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

/// An open directory.
#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

impl Directory {
    /// Opens a directory by its path, which is trusted.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).bits())
            .open(path)?;
        Ok(Self(file.into()))
    }

    /// The directory that many levels down.
    pub(super) fn walk(&self, names: &[&str]) -> io::Result<Self> {
        let mut here = Self(self.0.try_clone()?);
        for name in names {
            here = here.enter(name)?;
        }
        Ok(here)
    }

    /// [`Self::walk`], creating what is missing.
    pub(super) fn walk_or_create(&self, names: &[&str]) -> io::Result<Self> {
        let mut here = Self(self.0.try_clone()?);
        for name in names {
            here = here.enter_or_create(name)?;
        }
        Ok(here)
    }

    fn enter(&self, name: &str) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(Self(openat(&self.0, name, flags, Mode::empty())?))
    }

    /// A directory in this one, created where there is none; its entry is durable.
    pub(super) fn enter_or_create(&self, name: &str) -> io::Result<Self> {
        match self.enter(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match mkdirat(&self.0, name, Mode::S_IRWXU) {
                    // Somebody else may just have made it.
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                self.sync()?;
                self.enter(name)
            }
            entered => entered,
        }
    }

    /// Creates a file that must not exist.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        Ok(openat(&self.0, name, flags, mode)?.into())
    }

    /// Opens a regular file.
    pub(super) fn read(&self, name: &str) -> io::Result<File> {
        // Not blocking: a FIFO must not stop us before it is seen to be one.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        regular(openat(&self.0, name, flags, Mode::empty())?.into())
    }

    /// Gives the file at `path` a second name here; false when another file is there by now.
    pub(super) fn link(&self, path: &Path, name: &str, expected: &Metadata) -> io::Result<bool> {
        linkat(
            nix::fcntl::AT_FDCWD,
            path,
            self.0.as_fd(),
            name,
            AtFlags::empty(),
        )?;
        let linked = self.read(name)?.metadata()?;
        Ok((linked.dev(), linked.ino()) == (expected.dev(), expected.ino()))
    }

    /// Moves a file of this directory to another, replacing what is there.
    pub(super) fn rename(&self, name: &str, to: &Self, new_name: &str) -> io::Result<()> {
        Ok(renameat(&self.0, name, &to.0, new_name)?)
    }

    /// Removes a file.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Makes the entries of the directory durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(nix::unistd::fsync(&self.0)?)
    }
}

/// Opens a regular file by its path, whose last component must not be a link.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path);
    match opened {
        Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => Err(not_regular()),
        opened => regular(opened?),
    }
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(not_regular())
    }
}

fn not_regular() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "only regular files can be artifacts, not directories, symbolic links or devices",
    )
}
