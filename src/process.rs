//! Resource usage of this process, read from /proc, for its metrics.

use std::{fs, io, time::Duration};

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
    fn fields_of_proc_are_parsed() {
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
