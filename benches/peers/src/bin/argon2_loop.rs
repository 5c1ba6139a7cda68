//! What argon2 alone allows: passwords checked in a loop, with Switchboard's parameters (`src/auth/argon2id.rs`), on as many
//! threads. Prints one line of JSON.

use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const PASSWORD: &[u8] = b"quiet-otter-paints-thursday";

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (Some(Ok(threads)), Some(Ok(seconds))) = (arguments.next(), arguments.next()) else {
        panic!("usage: argon2_loop THREADS SECONDS");
    };
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are sound");
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = hasher.hash_password(PASSWORD).expect("a password has a hash").to_string();
    let (checked, started) = (AtomicU64::new(0), Instant::now());
    let until = started + Duration::from_secs(seconds);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while Instant::now() < until {
                    let hash = PasswordHash::new(&hash).expect("what was written can be read");
                    hasher.verify_password(PASSWORD, &hash).expect("the password fits");
                    checked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    println!(r#"{{"checks": {}, "seconds": {seconds}, "cpu_s": {}}}"#, checked.into_inner(), cpu_s());
}

/// CPU time of all threads of this process: user and system, the 14th and 15th field, in hundredths of a second on every
/// Linux that Rust knows.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc is there");
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}
