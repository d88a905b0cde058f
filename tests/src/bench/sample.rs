//! Samples of one quantity.
//!
//! numbers → median, quartiles, quantiles
//!
//! **Invariant:** a quantile is one of the samples (nearest rank): nothing is interpolated.

use std::time::Duration;

/// Samples in ascending order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<f64>);

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        Self(values)
    }
}

impl From<f64> for Samples {
    fn from(value: f64) -> Self {
        Self(vec![value])
    }
}

impl Samples {
    /// Durations in milliseconds.
    pub fn milliseconds(durations: impl IntoIterator<Item = Duration>) -> Self {
        durations.into_iter().map(|duration| duration.as_secs_f64() * 1e3).collect()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest sample that is not below `percent` of them; NaN if there are none.
    pub fn quantile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    /// The median.
    pub fn median(&self) -> f64 {
        self.quantile(50)
    }

    /// First and third quartile.
    pub fn quartiles(&self) -> (f64, f64) {
        (self.quantile(25), self.quantile(75))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples_by_nearest_rank() {
        let samples: Samples = (1..=100).rev().map(f64::from).collect();
        let found = [1, 25, 50, 99, 100].map(|percent| Samples::from(samples.quantile(percent)));
        assert_eq!(found, [1.0, 25.0, 50.0, 99.0, 100.0].map(Samples::from));
        assert_eq!(Samples::from(Samples::from(7.0).quantile(99)), Samples::from(7.0));
        assert!(Samples::default().median().is_nan());
    }
}
