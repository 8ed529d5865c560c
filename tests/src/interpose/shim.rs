//! Stands between a real process and its C library, so that a test sees every change that the process makes to a disk, and
//! can end it, or refuse it, at any of them. Loaded by `LD_PRELOAD`; compiled by `tests::interpose` at run time, alone.
//!
//! What it is told by the environment: `INTERPOSE_ROOT`, the folder below which files count; `INTERPOSE_PLACES`, names of
//! places as `name=part of a path`, the first that fits, parted by `;`; `INTERPOSE_LOG`, a file that takes every event;
//! `INTERPOSE_AT`, as `CALL PLACE:NUMBER:DEED`, where the deed is `before` or `after` (the process kills itself), the number
//! of an error with which the call fails, or that and a `+`: all calls from there on fail. Sockets of the internet are the place `peer`.
//! `room any` are all calls for which a full disk has no room.
//!
//! Every function here has the contract of the function of the C library whose name it has, and hands its arguments on as they came:
//! pointers are read no further than that function would, and before the call returns.
//!
//! **Invariant:** nothing here is linked into a binary of ours, and what is not asked for passes unchanged.
#![allow(unsafe_code, missing_docs, clippy::missing_safety_doc)]

use std::collections::HashMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_long, c_void};
use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::{Mutex, OnceLock, PoisonError};

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn __errno_location() -> *mut c_int;
    fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut u32)
    -> c_int;
}

#[cfg(target_arch = "x86_64")]
mod number {
    pub const READ: i64 = 0;
    pub const WRITE: i64 = 1;
    pub const LSEEK: i64 = 8;
    pub const PWRITE: i64 = 18;
    pub const READV: i64 = 19;
    pub const WRITEV: i64 = 20;
    pub const GETPID: i64 = 39;
    pub const SENDTO: i64 = 44;
    pub const RECVFROM: i64 = 45;
    pub const SENDMSG: i64 = 46;
    pub const RECVMSG: i64 = 47;
    pub const KILL: i64 = 62;
    pub const FSYNC: i64 = 74;
    pub const FDATASYNC: i64 = 75;
    pub const FTRUNCATE: i64 = 77;
    pub const OPENAT: i64 = 257;
    pub const MKDIRAT: i64 = 258;
    pub const UNLINKAT: i64 = 263;
    pub const RENAMEAT: i64 = 264;
    pub const LINKAT: i64 = 265;
    pub const FALLOCATE: i64 = 285;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const MKDIRAT: i64 = 34;
    pub const UNLINKAT: i64 = 35;
    pub const LINKAT: i64 = 37;
    pub const RENAMEAT: i64 = 38;
    pub const FTRUNCATE: i64 = 46;
    pub const FALLOCATE: i64 = 47;
    pub const OPENAT: i64 = 56;
    pub const LSEEK: i64 = 62;
    pub const READ: i64 = 63;
    pub const WRITE: i64 = 64;
    pub const READV: i64 = 65;
    pub const WRITEV: i64 = 66;
    pub const PWRITE: i64 = 68;
    pub const FSYNC: i64 = 82;
    pub const FDATASYNC: i64 = 83;
    pub const KILL: i64 = 129;
    pub const GETPID: i64 = 172;
    pub const SENDTO: i64 = 206;
    pub const RECVFROM: i64 = 207;
    pub const SENDMSG: i64 = 211;
    pub const RECVMSG: i64 = 212;
}

const AT_FDCWD: c_int = -100;
const O_CREAT: c_int = 0o100;
const O_TRUNC: c_int = 0o1000;
const O_APPEND_CREATE_WRITE: c_int = 0o2_002_101;
const SEEK_CUR: c_int = 1;
const ENOSYS: c_int = 38;

/// Calls for which a full disk has no room.
const TAKES_ROOM: [&str; 5] = ["create", "link", "mkdir", "reserve", "write"];

/// What is asked of this process.
struct Asked {
    root: Vec<u8>,
    places: Vec<(Vec<u8>, Vec<u8>)>,
    log: Option<c_int>,
    at: Option<(String, u64, Deed)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Deed {
    KillBefore,
    KillAfter,
    Fail(c_int),
    /// And all that follow.
    FailFrom(c_int),
}

fn asked() -> Option<&'static Asked> {
    static ASKED: OnceLock<Option<Asked>> = OnceLock::new();
    ASKED.get_or_init(read_environment).as_ref()
}

fn read_environment() -> Option<Asked> {
    let root = std::env::var_os("INTERPOSE_ROOT")?.as_bytes().to_vec();
    let places = std::env::var("INTERPOSE_PLACES").unwrap_or_default();
    let places = places.split(';').filter_map(|place| place.split_once('='));
    let places = places
        .map(|(name, part)| (name.into(), part.into()))
        .collect();
    let log = std::env::var("INTERPOSE_LOG").ok().map(|path| {
        let path = std::ffi::CString::new(path).unwrap_or_default();
        unsafe {
            syscall(
                number::OPENAT,
                AT_FDCWD,
                path.as_ptr(),
                O_APPEND_CREATE_WRITE,
                0o644,
            ) as c_int
        }
    });
    let at = std::env::var("INTERPOSE_AT").ok().and_then(|at| {
        let mut parts = at.split(':');
        let (point, count, deed) = (parts.next()?, parts.next()?, parts.next()?);
        let deed = match deed {
            "before" => Deed::KillBefore,
            "after" => Deed::KillAfter,
            error => match error.strip_suffix('+') {
                Some(error) => Deed::FailFrom(error.parse().ok()?),
                None => Deed::Fail(error.parse().ok()?),
            },
        };
        Some((point.to_owned(), count.parse().ok()?, deed))
    });
    Some(Asked {
        root,
        places,
        log,
        at,
    })
}

/// How often each point was met.
fn met() -> &'static Mutex<HashMap<String, u64>> {
    static MET: OnceLock<Mutex<HashMap<String, u64>>> = OnceLock::new();
    MET.get_or_init(Mutex::default)
}

impl Asked {
    fn place_of(&self, path: &[u8]) -> Option<&[u8]> {
        if !path.starts_with(&self.root) {
            return None;
        }
        let holds = |part: &[u8]| path.windows(part.len()).any(|window| window == part);
        let named = self.places.iter().find(|(_, part)| holds(part));
        Some(named.map_or(b"other", |(name, _)| name))
    }

    /// What is to be done at this meeting of a point.
    fn deed(&self, call: &str, place: &[u8]) -> Option<Deed> {
        let (point, count, deed) = self.at.as_ref()?;
        let here = point.split_once(' ')?;
        let takes_room = here == ("room", "any") && TAKES_ROOM.contains(&call);
        if !takes_room && here != (call, std::str::from_utf8(place).ok()?) {
            return None;
        }
        let mut met = met().lock().unwrap_or_else(PoisonError::into_inner);
        let times = met.entry(point.clone()).or_default();
        *times += 1;
        let goes_on = matches!(deed, Deed::FailFrom(_));
        (*times == *count || goes_on && *times > *count).then_some(*deed)
    }

    fn tell(&self, call: &str, place: &[u8], file: u64, at: u64, first: &[u8], second: &[u8]) {
        let Some(log) = self.log else { return };
        let mut record = Vec::with_capacity(first.len() + second.len() + 64);
        for part in [
            call.as_bytes(),
            place,
            &file.to_le_bytes(),
            &at.to_le_bytes(),
            first,
            second,
        ] {
            record.extend_from_slice(&(part.len() as u32).to_le_bytes());
            record.extend_from_slice(part);
        }
        let mut rest = &record[..];
        while !rest.is_empty() {
            let done = unsafe { syscall(number::WRITE, log, rest.as_ptr(), rest.len()) };
            if done <= 0 {
                die();
            }
            rest = &rest[done as usize..];
        }
    }
}

fn die() -> ! {
    loop {
        unsafe { syscall(number::KILL, syscall(number::GETPID), 9) };
    }
}

/// One change at a time, so that the log has the order in which they were made.
static ORDER: Mutex<()> = Mutex::new(());

/// Makes a call that changes something, and what is asked at it.
fn change(
    call: &str,
    path: &[u8],
    make: impl FnOnce() -> c_long,
    told: impl FnOnce(&Asked, &[u8], c_long),
) -> c_long {
    let Some(asked) = asked() else { return make() };
    let Some(place) = asked.place_of(path) else {
        return make();
    };
    let _order = ORDER.lock().unwrap_or_else(PoisonError::into_inner);
    let deed = asked.deed(call, place);
    match deed {
        Some(Deed::KillBefore) => die(),
        Some(Deed::Fail(error) | Deed::FailFrom(error)) => {
            unsafe { *__errno_location() = error };
            return -1;
        }
        _ => {}
    }
    let done = make();
    if done >= 0 {
        let errno = unsafe { *__errno_location() };
        told(asked, place, done);
        unsafe { *__errno_location() = errno };
    }
    if deed == Some(Deed::KillAfter) {
        die();
    }
    done
}

/// An open file below the root, or a socket of the internet.
enum Open {
    File {
        path: Vec<u8>,
        number: u64,
        is_folder: bool,
    },
    Socket,
    Neither,
}

fn open_file(fd: c_int) -> Open {
    if asked().is_none() {
        return Open::Neither;
    }
    let errno = unsafe { *__errno_location() };
    let found = look(fd);
    unsafe { *__errno_location() = errno };
    found
}

fn look(fd: c_int) -> Open {
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    let Ok(metadata) = file.metadata() else {
        return Open::Neither;
    };
    if metadata.file_type().is_socket() {
        const SOL_SOCKET: c_int = 1;
        const SO_DOMAIN: c_int = 39;
        let (mut domain, mut len) = (0_i32, 4_u32);
        let asked = unsafe {
            getsockopt(
                fd,
                SOL_SOCKET,
                SO_DOMAIN,
                (&raw mut domain).cast(),
                &raw mut len,
            )
        };
        return if asked == 0 && (domain == 2 || domain == 10) {
            Open::Socket
        } else {
            Open::Neither
        };
    }
    if !(metadata.is_file() || metadata.is_dir()) {
        return Open::Neither;
    }
    match std::fs::read_link(format!("/proc/self/fd/{fd}")) {
        // What has no name is lost with the process, whatever is done to it.
        Ok(path) if metadata.is_dir() || metadata.nlink() > 0 => Open::File {
            path: path.as_os_str().as_bytes().to_vec(),
            number: metadata.ino(),
            is_folder: metadata.is_dir(),
        },
        _ => Open::Neither,
    }
}

/// The absolute path that a call names.
fn named(path: *const c_char) -> Vec<u8> {
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    let path = std::path::Path::new(OsStr::from_bytes(path));
    std::path::absolute(path)
        .map_or_else(|_| Vec::new(), |path| path.as_os_str().as_bytes().to_vec())
}

fn is_at_cwd(folder: c_int, path: *const c_char) -> bool {
    folder == AT_FDCWD || unsafe { CStr::from_ptr(path) }.to_bytes().first() == Some(&b'/')
}

fn opened(folder: c_int, path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    let open = || unsafe { syscall(number::OPENAT, folder, path, flags, mode) };
    if flags & (O_CREAT | O_TRUNC) == 0 || asked().is_none() || !is_at_cwd(folder, path) {
        return open() as c_int;
    }
    let name = named(path);
    change("create", &name, open, |asked, place, fd| {
        if let Open::File { number, .. } = look(fd as c_int) {
            asked.tell(
                "create",
                place,
                number,
                u64::from(flags & O_TRUNC != 0),
                &name,
                b"",
            );
        }
    }) as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    opened(AT_FDCWD, path, flags, mode)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    opened(AT_FDCWD, path, flags, mode)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat(
    folder: c_int,
    path: *const c_char,
    flags: c_int,
    mode: c_int,
) -> c_int {
    opened(folder, path, flags, mode)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat64(
    folder: c_int,
    path: *const c_char,
    flags: c_int,
    mode: c_int,
) -> c_int {
    opened(folder, path, flags, mode)
}

/// A call on a socket: nothing of it is told but that it was made.
fn talk(call: &str, make: impl FnOnce() -> c_long) -> c_long {
    let Some(asked) = asked() else { return make() };
    let deed = asked.deed(call, b"peer");
    if deed == Some(Deed::KillBefore) {
        die();
    }
    let done = make();
    if deed == Some(Deed::KillAfter) {
        die();
    }
    let errno = unsafe { *__errno_location() };
    asked.tell(call, b"peer", 0, 0, b"", b"");
    unsafe { *__errno_location() = errno };
    done
}

fn written(
    fd: c_int,
    at: Option<i64>,
    bytes: impl FnOnce(usize) -> Vec<u8>,
    make: impl FnOnce() -> c_long,
) -> c_long {
    match open_file(fd) {
        Open::Socket => talk("send", make),
        Open::Neither => make(),
        Open::File { path, number, .. } => change("write", &path, make, |asked, place, done| {
            let at =
                at.unwrap_or_else(|| unsafe { syscall(number::LSEEK, fd, 0_i64, SEEK_CUR) } - done);
            asked.tell(
                "write",
                place,
                number,
                at as u64,
                &bytes(done as usize),
                b"",
            );
        }),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, data: *const u8, len: usize) -> isize {
    let bytes = |done| unsafe { std::slice::from_raw_parts(data, done) }.to_vec();
    written(fd, None, bytes, || unsafe {
        syscall(number::WRITE, fd, data, len)
    }) as isize
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(fd: c_int, data: *const u8, len: usize, at: i64) -> isize {
    let bytes = |done| unsafe { std::slice::from_raw_parts(data, done) }.to_vec();
    written(fd, Some(at), bytes, || unsafe {
        syscall(number::PWRITE, fd, data, len, at)
    }) as isize
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(fd: c_int, data: *const u8, len: usize, at: i64) -> isize {
    unsafe { pwrite64(fd, data, len, at) }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Piece {
    data: *const u8,
    len: usize,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, pieces: *const Piece, many: c_int) -> isize {
    let bytes = |done| {
        let pieces = unsafe { std::slice::from_raw_parts(pieces, many as usize) };
        let mut all = Vec::new();
        for piece in pieces.iter().filter(|piece| piece.len > 0) {
            all.extend_from_slice(unsafe { std::slice::from_raw_parts(piece.data, piece.len) });
        }
        all.truncate(done);
        all
    };
    written(fd, None, bytes, || unsafe {
        syscall(number::WRITEV, fd, pieces, many)
    }) as isize
}

fn synced(fd: c_int, which: c_long) -> c_int {
    let make = || unsafe { syscall(which, fd) };
    let Open::File {
        mut path,
        number,
        is_folder,
    } = open_file(fd)
    else {
        return make() as c_int;
    };
    let call = if is_folder { "sync-folder" } else { "sync" };
    if is_folder {
        // So that it is the place of what lies in it.
        path.push(b'/');
    }
    change(call, &path, make, |asked, place, _| {
        asked.tell(call, place, number, 0, &path, b"")
    }) as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    synced(fd, number::FSYNC)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    synced(fd, number::FDATASYNC)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate64(fd: c_int, len: i64) -> c_int {
    let make = || unsafe { syscall(number::FTRUNCATE, fd, len) };
    let Open::File { path, number, .. } = open_file(fd) else {
        return make() as c_int;
    };
    let told = |asked: &Asked, place: &[u8], _| {
        asked.tell("truncate", place, number, len as u64, b"", b"")
    };
    change("truncate", &path, make, told) as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate(fd: c_int, len: i64) -> c_int {
    unsafe { ftruncate64(fd, len) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fallocate64(fd: c_int, mode: c_int, at: i64, len: i64) -> c_int {
    let make = || unsafe { syscall(number::FALLOCATE, fd, mode, at, len) };
    let Open::File { path, number, .. } = open_file(fd) else {
        return make() as c_int;
    };
    change("reserve", &path, make, |asked, place, _| {
        // Without growth it changes nothing that can be read.
        let end = if mode == 0 { at + len } else { 0 };
        asked.tell("reserve", place, number, end as u64, b"", b"");
    }) as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fallocate(fd: c_int, mode: c_int, at: i64, len: i64) -> c_int {
    unsafe { fallocate64(fd, mode, at, len) }
}

/// A change of names, without files that are open.
fn renamed(
    call: &str,
    from: *const c_char,
    to: Option<*const c_char>,
    make: impl FnOnce() -> c_long,
) -> c_int {
    if asked().is_none() {
        return make() as c_int;
    }
    let (from, to) = (named(from), to.map(named));
    let key = to.as_ref().unwrap_or(&from);
    change(call, key, make, |asked, place, _| {
        asked.tell(call, place, 0, 0, &from, to.as_deref().unwrap_or_default());
    }) as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    renamed("rename", from, Some(to), || unsafe {
        syscall(number::RENAMEAT, AT_FDCWD, from, AT_FDCWD, to)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn link(from: *const c_char, to: *const c_char) -> c_int {
    unsafe { linkat(AT_FDCWD, from, AT_FDCWD, to, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkat(
    a: c_int,
    from: *const c_char,
    b: c_int,
    to: *const c_char,
    flags: c_int,
) -> c_int {
    renamed("link", from, Some(to), || unsafe {
        syscall(number::LINKAT, a, from, b, to, flags)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    renamed("unlink", path, None, || unsafe {
        syscall(number::UNLINKAT, AT_FDCWD, path, 0)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    const AT_REMOVEDIR: c_int = 0x200;
    renamed("rmdir", path, None, || unsafe {
        syscall(number::UNLINKAT, AT_FDCWD, path, AT_REMOVEDIR)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdir(path: *const c_char, mode: u32) -> c_int {
    renamed("mkdir", path, None, || unsafe {
        syscall(number::MKDIRAT, AT_FDCWD, path, mode)
    })
}

/// Copies inside of the kernel would not be seen: callers then copy by reading and writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copy_file_range(
    _: c_int,
    _: *mut i64,
    _: c_int,
    _: *mut i64,
    _: usize,
    _: u32,
) -> isize {
    unsafe { *__errno_location() = ENOSYS };
    -1
}

/// As [`copy_file_range`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendfile64(_: c_int, _: c_int, _: *mut i64, _: usize) -> isize {
    unsafe { *__errno_location() = ENOSYS };
    -1
}

fn passed(call: &str, fd: c_int, make: impl FnOnce() -> c_long) -> isize {
    match open_file(fd) {
        Open::Socket => talk(call, make) as isize,
        _ => make() as isize,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn send(fd: c_int, data: *const u8, len: usize, flags: c_int) -> isize {
    passed("send", fd, || unsafe {
        syscall(number::SENDTO, fd, data, len, flags, 0_usize, 0_usize)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendmsg(fd: c_int, message: *const c_void, flags: c_int) -> isize {
    passed("send", fd, || unsafe {
        syscall(number::SENDMSG, fd, message, flags)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn recv(fd: c_int, data: *mut u8, len: usize, flags: c_int) -> isize {
    passed("receive", fd, || unsafe {
        syscall(number::RECVFROM, fd, data, len, flags, 0_usize, 0_usize)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn recvmsg(fd: c_int, message: *mut c_void, flags: c_int) -> isize {
    passed("receive", fd, || unsafe {
        syscall(number::RECVMSG, fd, message, flags)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(fd: c_int, data: *mut u8, len: usize) -> isize {
    passed("receive", fd, || unsafe {
        syscall(number::READ, fd, data, len)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn readv(fd: c_int, pieces: *const Piece, many: c_int) -> isize {
    passed("receive", fd, || unsafe {
        syscall(number::READV, fd, pieces, many)
    })
}
