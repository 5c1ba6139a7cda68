//! Measures of rankings, and statistics of their values.

/// The normal quantile of a two-sided 95 % interval.
const Z_95: f64 = 1.959_963_984_540_054;

/// Normalized discounted cumulative gain of the first `k` places, with gains of 0 and 1: `ranking` says of each place whether
/// it is relevant, `relevant` is the number of relevant items that exist. 0 if there are none.
pub fn ndcg(ranking: &[bool], relevant: usize, k: usize) -> f64 {
    let discount = |place: usize| 1.0 / (place as f64 + 2.0).log2();
    let gained: f64 =
        ranking.iter().take(k).enumerate().filter(|(_, hit)| **hit).map(|(place, _)| discount(place)).sum();
    let ideal: f64 = (0..relevant.min(k)).map(discount).sum();
    if ideal > 0.0 { gained / ideal } else { 0.0 }
}

/// Inverse of the first relevant place, from 1; 0 if no place is relevant.
pub fn reciprocal_rank(ranking: &[bool]) -> f64 {
    ranking.iter().position(|hit| *hit).map_or(0.0, |place| 1.0 / (place as f64 + 1.0))
}

/// Whether one of the first `k` places is relevant.
pub fn hits_within(ranking: &[bool], k: usize) -> bool {
    ranking.iter().take(k).any(|hit| *hit)
}

/// Bounds of an interval, each from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Wilson score interval at 95 % for a proportion; everything is possible without observations.
pub fn wilson(count: usize, n: usize) -> Interval {
    if n == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let (count, n) = (count as f64, n as f64);
    let share = count / n;
    let z2 = Z_95 * Z_95;
    let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z_95 / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    Interval { low: (centre - half).max(0.0), high: (centre + half).min(1.0) }
}

/// The value below or at which `percent` of `values` lie (nearest rank); `None` without values.
pub fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_close(left: f64, right: f64) -> bool {
        (left - right).abs() < 5e-5
    }

    #[test]
    fn measures_of_a_ranking() {
        let ranking = [false, true, false, true];
        // (1/log2(3) + 1/log2(5)) / (1/log2(2) + 1/log2(3) + 1/log2(4))
        assert!(is_close(ndcg(&ranking, 3, 10), 0.498_18), "{}", ndcg(&ranking, 3, 10));
        assert!(is_close(ndcg(&ranking, 1, 2), 0.630_93));
        assert_eq!(ndcg(&[true, true], 2, 10), 1.0);
        assert_eq!((ndcg(&[], 2, 10), ndcg(&[], 0, 10)), (0.0, 0.0));
        assert_eq!((reciprocal_rank(&ranking), reciprocal_rank(&[false])), (0.5, 0.0));
        assert!(hits_within(&ranking, 2) && !hits_within(&ranking, 1));
    }

    #[test]
    fn wilson_intervals_are_those_of_the_literature() {
        // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
        for (count, n, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let interval = wilson(count, n);
            assert!(is_close(interval.low, low) && is_close(interval.high, high), "{count} of {n}: {interval:?}");
        }
        assert_eq!(wilson(0, 0), Interval { low: 0.0, high: 1.0 });
        assert_eq!(wilson(20, 20).high, 1.0);
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 95)), (Some(10.0), Some(19.0)));
        assert_eq!((percentile(&[7.0], 50), percentile(&[], 50)), (Some(7.0), None));
    }
}
