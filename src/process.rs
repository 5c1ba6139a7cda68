//! Resource usage of processes on this host, read from /proc: of this one for its metrics, or of another one that is measured.

use std::{fs, io, net::SocketAddr, time::Duration};

/// The state of a listening socket in /proc/net/tcp.
const LISTENING: &str = "0A";

/// A process of this host.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pub pid: u32,
    ticks_per_second: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all its threads.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub resident: u64,
}

/// Everything that the metrics report about the process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    pub usage: Usage,
    pub virtual_bytes: u64,
    pub threads: u64,
    /// Files and connections.
    pub open_files: u64,
    pub max_open_files: u64,
    /// Unix time, in seconds.
    pub started_at: f64,
}

impl Process {
    pub fn this() -> Self {
        Self { pid: std::process::id(), ticks_per_second: rustix::param::clock_ticks_per_second() }
    }

    /// Finds the process that listens on `address`; `None` when it runs on another host or belongs to another user.
    pub fn listening_at(address: &SocketAddr) -> Option<Self> {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
        let inodes: Vec<String> = tables
            .iter()
            .flat_map(|table| inodes_listening_at(table, address.port()))
            .map(|inode| format!("socket:[{inode}]"))
            .collect();
        let processes = fs::read_dir("/proc").ok()?;
        let pid = processes
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
            .find(|pid| has_file(*pid, &inodes))?;
        Some(Self { pid, ..Self::this() })
    }

    /// # Errors
    /// When the process has ended.
    pub fn usage(&self) -> io::Result<Usage> {
        self.usage_of(&self.read("stat")?, &self.read("status")?)
    }

    /// Reads the usage and limits of this process. Slow on older kernels when very many files are open.
    ///
    /// # Errors
    /// Where there is no /proc.
    pub fn statistics_of_this() -> io::Result<Statistics> {
        let this = Self::this();
        let (stat, status) = (this.read("stat")?, this.read("status")?);
        let number = |key| of_status(&status, key).ok_or(io::ErrorKind::InvalidData);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let booted_at = fs::read_to_string("/proc/stat")?;
        let booted_at = booted_at.lines().find_map(|line| line.strip_prefix("btime ")?.parse::<u32>().ok());
        let started = started_after_ticks(&stat).ok_or(io::ErrorKind::InvalidData)?;
        let since_boot = Duration::from_millis(started * 1_000 / this.ticks_per_second);
        Ok(Statistics {
            usage: this.usage_of(&stat, &status)?,
            virtual_bytes: number("VmSize:")? * 1024,
            threads: number("Threads:")?,
            open_files: this.open_files()?,
            max_open_files: limit.current.unwrap_or(u64::MAX),
            started_at: f64::from(booted_at.ok_or(io::ErrorKind::InvalidData)?) + since_boot.as_secs_f64(),
        })
    }

    fn usage_of(&self, stat: &str, status: &str) -> io::Result<Usage> {
        let ticks = cpu_ticks(stat).ok_or(io::ErrorKind::InvalidData)?;
        let cpu = Duration::from_millis(ticks * 1_000 / self.ticks_per_second);
        Ok(Usage { cpu, resident: of_status(status, "VmRSS:").ok_or(io::ErrorKind::InvalidData)? * 1024 })
    }

    /// Counts open files. Newer kernels report the number as the size of the folder.
    fn open_files(&self) -> io::Result<u64> {
        let folder = format!("/proc/{}/fd", self.pid);
        match fs::metadata(&folder)?.len() {
            0 => Ok(fs::read_dir(&folder)?.count() as u64),
            files => Ok(files),
        }
    }

    fn read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid))
    }
}

/// Raises the soft limit of open files to the hard limit: the usual 1,024 only protects programs that use `select`. Returns the
/// limit now in effect.
pub fn raise_file_limit_to_maximum() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        log::warn!("could not raise the limit of open files: {error}");
    }
    file_limit()
}

/// Returns the limit of open files of this process.
pub fn file_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Tries to raise the limit of open files to `wanted`. Returns the limit now in effect.
pub fn raise_file_limit(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return limit.current.unwrap_or(u64::MAX);
    }
    // Only root may exceed the hard limit.
    let tries = [Some(wanted.max(limit.maximum.unwrap_or(wanted))), limit.maximum];
    for maximum in tries {
        if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
            break;
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Returns the number of ports that one address has for outgoing connections.
pub fn ephemeral_ports() -> u32 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = range.split_whitespace().filter_map(|bound| bound.parse::<u32>().ok());
    match (bounds.next(), bounds.next()) {
        (Some(low), Some(high)) if low <= high => high - low + 1,
        _ => 28_232,
    }
}

fn has_file(pid: u32, targets: &[String]) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .any(|link| link.to_str().is_some_and(|link| targets.iter().any(|target| target == link)))
}

/// Parses a table of /proc/net/tcp. Fields of a line: number, local address, remote address, state, …; the tenth is the inode.
fn inodes_listening_at(table: &str, port: u16) -> Vec<u64> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(local_port, 16) == Ok(port) && fields.get(3) == Some(&LISTENING);
        is_it.then(|| fields.get(9)?.parse().ok()).flatten()
    };
    table.lines().skip(1).filter_map(line).collect()
}

/// Returns utime + stime, the 14th and 15th field.
fn cpu_ticks(stat: &str) -> Option<u64> {
    Some(of_stat(stat, 14)? + of_stat(stat, 15)?)
}

/// Returns starttime, the 22nd field, in ticks since boot.
fn started_after_ticks(stat: &str) -> Option<u64> {
    of_stat(stat, 22)
}

/// Returns a field by its number, from 3 on. The second is a name in brackets that may contain any character.
fn of_stat(stat: &str, field: usize) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(field - 3)?.parse().ok()
}

/// Returns a number from /proc/<pid>/status. Sizes are in KiB.
fn of_status(status: &str, key: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listening_process_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let process = Process::listening_at(&listener.local_addr().unwrap()).unwrap();
        assert_eq!(process.pid, std::process::id());
        let usage = process.usage().unwrap();
        assert!(usage.resident > 100_000, "{usage:?}");
    }

    #[test]
    fn tables_of_proc_are_parsed() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n   \
            1: 0100007F:1F40 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1\n";
        assert_eq!(inodes_listening_at(table, 8000), [4711]);
        assert!(inodes_listening_at(table, 8001).is_empty());
        let stat = "7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 100 23 0 0";
        assert_eq!(cpu_ticks(stat), Some(123));
        assert_eq!(of_status("Name:\tx\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12));
    }

    #[test]
    fn statistics_of_this_process_are_plausible() {
        let before = Process::statistics_of_this().unwrap();
        let _files: Vec<_> = (0..10).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let now = Process::statistics_of_this().unwrap();
        // Other tests open and close files at the same time.
        assert!(now.open_files > 10 && now.open_files < now.max_open_files, "{now:?}");
        assert!(now.virtual_bytes > now.usage.resident && now.threads > 0, "{now:?}");
        let age_s = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64() - before.started_at;
        assert!((-2.0..3_600.0).contains(&age_s), "{age_s}");
    }
}
