//! What one record in a histogram costs, which happens for each token: `cargo bench --bench histogram`.

use std::{
    hint::black_box,
    io::{self, Write},
    time::{Duration, Instant},
};
use switchboard::metrics::Histogram;

const RECORDS: u32 = 20_000_000;
const MS: u64 = 1_000_000;
/// About those of the time between two tokens, in nanoseconds.
const BOUNDS: &[u64] =
    &[MS, 5 * MS, 10 * MS, 20 * MS, 30 * MS, 50 * MS, 75 * MS, 100 * MS, 150 * MS, 250 * MS, 1_000 * MS];

fn main() -> io::Result<()> {
    let histogram = Histogram::new(BOUNDS);
    for threads in [1_u32, 2, 4] {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let histogram = &histogram;
                scope.spawn(move || {
                    for index in 0..RECORDS {
                        histogram.record(Duration::from_micros(u64::from(black_box(index + thread) % 120_000)));
                    }
                });
            }
        });
        writeln!(io::stdout(), "{threads} threads, each: {:?} a record", began.elapsed() / RECORDS)?;
    }
    Ok(())
}
