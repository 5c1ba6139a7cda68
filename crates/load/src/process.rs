//! CPU time and memory of a process on this host, read from /proc, and the limits of this one. The server has a reader of its own, with
//! more fields, since this crate depends only on the client.

use std::{fs, io, net::SocketAddr, time::Duration};

/// The state of a listening socket in /proc/net/tcp.
const LISTENING: &str = "0A";

/// A process that is measured.
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
        let read = |file| fs::read_to_string(format!("/proc/{}/{file}", self.pid));
        let ticks = cpu_ticks(&read("stat")?).ok_or(io::ErrorKind::InvalidData)?;
        let resident = resident_bytes(&read("status")?).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Usage { cpu: Duration::from_millis(ticks * 1_000 / self.ticks_per_second), resident })
    }
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

/// Returns utime + stime, the 14th and 15th field. The second is a name in brackets that may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
    Some(fields.next()? + fields.next()?)
}

/// Returns the resident memory in bytes; the file has it in KiB.
fn resident_bytes(status: &str) -> Option<u64> {
    let kib: u64 =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
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
        assert_eq!(cpu_ticks("7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 100 23 0 0"), Some(123));
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t  12 kB\n"), Some(12 * 1024));
    }
}
