//! What argon2 alone allows: passwords checked in a loop, with Switchboard's parameters (`src/auth/password.rs`), on as many
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
    println!(r#"{{"checks": {}, "seconds": {}}}"#, checked.into_inner(), started.elapsed().as_secs_f64());
}
