//! Means over seeds, and whether they are other than 0.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// A mean and its standard error, in percent or points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// The standard error; `None` for a single value.
    pub error: Option<f64>,
    /// How many values it is of.
    pub count: usize,
}

/// The part of true means that lie in their confidence intervals.
const CONFIDENCE: f64 = 0.95;

impl Mean {
    /// The mean of some values; `None` if there are none.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let error = (values.len() > 1).then(|| (squares / (n - 1.0) / n).sqrt());
        (!values.is_empty()).then_some(Mean { mean, error, count: values.len() })
    }

    /// Whether 0 lies outside of the 95 % confidence interval of the mean. Few seeds know their own spread badly: the
    /// interval is that of Student's distribution, ±4.3 standard errors with three seeds.
    #[must_use]
    pub fn is_clear(self) -> bool {
        self.error.is_some_and(|error| {
            let student = StudentsT::new(0.0, 1.0, (self.count - 1) as f64).expect("a degree of freedom");
            self.mean.abs() > student.inverse_cdf((1.0 + CONFIDENCE) / 2.0) * error
        })
    }

    /// The mean and its error with two digits, if `sign` with a sign.
    #[must_use]
    pub fn text(self, sign: bool) -> String {
        let mean = if sign { format!("{:+.2}", self.mean) } else { format!("{:.2}", self.mean) };
        self.error.map_or(mean.clone(), |error| format!("{mean} ± {error:.2}"))
    }
}
