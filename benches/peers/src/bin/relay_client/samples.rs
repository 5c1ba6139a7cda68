//! CPU time and memory of the server's process, sampled with the number of tokens received.

use crate::tally::Tally;
use serde::Serialize;
use std::{cell::RefCell, fs, io, rc::Rc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval};

const INTERVAL: Duration = Duration::from_millis(100);
/// Clock ticks per second, on every Linux that Rust supports.
const TICKS_PER_S: f64 = 100.0;

#[derive(Clone, Serialize)]
pub struct Sample {
    pub at_s: f64,
    pub tokens: u64,
    /// User and system time so far.
    pub cpu_s: f64,
    pub resident: u64,
}

pub struct Samples {
    taken: Rc<RefCell<Vec<Sample>>>,
    /// Samples at named moments.
    pub named: Vec<(&'static str, Sample)>,
    pid: u32,
    tally: Rc<RefCell<Tally>>,
}

impl Samples {
    pub fn start(pid: u32, tally: Rc<RefCell<Tally>>) -> io::Result<Self> {
        let mut samples = Self { taken: Rc::default(), named: Vec::new(), pid, tally };
        samples.take("start")?;
        let (taken, tally) = (Rc::clone(&samples.taken), Rc::clone(&samples.tally));
        tokio::task::spawn_local(async move {
            let mut ticks = interval(INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                let Ok(sample) = sample(pid, &tally.borrow()) else { break };
                taken.borrow_mut().push(sample);
            }
        });
        Ok(samples)
    }

    pub fn take(&mut self, name: &'static str) -> io::Result<()> {
        let sample = sample(self.pid, &self.tally.borrow())?;
        self.named.push((name, sample));
        Ok(())
    }

    pub fn all(&self) -> Vec<Sample> {
        self.taken.borrow().clone()
    }
}

fn sample(pid: u32, tally: &Tally) -> io::Result<Sample> {
    let missing = || io::Error::other("the process is gone");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is a name in brackets that may contain anything; utime and stime are the 14th and 15th.
    let rest = stat.rsplit_once(')').ok_or_else(missing)?.1;
    let mut ticks = rest.split_whitespace().skip(11).map_while(|field| field.parse::<u32>().ok());
    let (user, system) = (ticks.next().ok_or_else(missing)?, ticks.next().ok_or_else(missing)?);
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or_else(missing)?;
    let kib: u64 = resident.split_whitespace().next().and_then(|kib| kib.parse().ok()).ok_or_else(missing)?;
    Ok(Sample {
        at_s: Instant::now().duration_since(tally.began).as_secs_f64(),
        tokens: tally.tokens,
        cpu_s: f64::from(user + system) / TICKS_PER_S,
        resident: kib * 1024,
    })
}
