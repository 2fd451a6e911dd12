//! The learning rate of each step: linear warm-up, then half a cosine.

use std::f64::consts::PI;

/// Learning rate as a function of the optimiser step.
///
/// Warm-up: `warmup_lr + step * (peak_lr - warmup_lr) / n_warmup` for `step < n_warmup`.
/// Then: `final_lr + (peak_lr - final_lr) * (1 + cos(pi * t)) / 2` with `t = (step - n_warmup) / (n_steps - n_warmup)`,
/// and `final_lr` from step `n_steps` on. With `final_lr = peak_lr` the rate stays constant after the warm-up.
///
/// # Units
/// - steps count optimiser updates from 0; rates are per update
///
/// # Reference
/// timm 0.6 `CosineLRScheduler(warmup_prefix=True, t_initial=n_steps - n_warmup)`, as the released Seq2Exp code calls it
/// once per step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRateSchedule {
    /// Rate at the end of the warm-up.
    pub peak_lr: f64,
    /// Rate of step 0 when there is a warm-up.
    pub warmup_lr: f64,
    /// Rate from step `n_steps` on.
    pub final_lr: f64,
    /// Number of warm-up steps.
    pub n_warmup: u64,
    /// Number of steps in all, warm-up included.
    pub n_steps: u64,
}

impl LearningRateSchedule {
    /// The learning rate of the update that follows `step` completed updates.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.n_warmup {
            let slope = (self.peak_lr - self.warmup_lr) / self.n_warmup as f64;
            return self.warmup_lr + step as f64 * slope;
        }
        if step >= self.n_steps {
            return self.final_lr;
        }
        let elapsed = (step - self.n_warmup) as f64 / (self.n_steps - self.n_warmup) as f64;
        self.final_lr + 0.5 * (self.peak_lr - self.final_lr) * (1.0 + (PI * elapsed).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Double precision on both sides, a few operations apart.
    const RTOL: f64 = 1e-12;

    const PUBLISHED: LearningRateSchedule = LearningRateSchedule {
        peak_lr: 5e-4,
        warmup_lr: 1e-5,
        final_lr: 1e-4,
        n_warmup: 5_000,
        n_steps: 50_000,
    };

    fn assert_matches_golden(file: &str, schedule: LearningRateSchedule) {
        let path = format!("{}/tests/golden/{file}", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).expect("the golden is committed");
        let golden = safetensors::SafeTensors::deserialize(&bytes)
            .expect("the golden is a safetensors file");
        let words = |name: &str| -> Vec<[u8; 8]> {
            let tensor = golden.tensor(name).expect("the golden holds step and lr");
            tensor.data().as_chunks::<8>().0.to_vec()
        };
        let (steps, rates) = (words("step"), words("lr"));
        assert_eq!(steps.len(), 50);
        for (step, rate) in steps.into_iter().zip(rates) {
            let step = u64::from_le_bytes(step);
            let expected = f64::from_le_bytes(rate);
            let found = schedule.at(step);
            assert!(
                (found - expected).abs() <= RTOL * expected,
                "step {step}: {found:e}, expected {expected:e}"
            );
        }
    }

    #[test]
    fn schedule_published_matches_timm() {
        assert_matches_golden("lr_schedule_seq2exp.safetensors", PUBLISHED);
    }

    #[test]
    fn schedule_enformer_matches_timm() {
        // The golden covers the first 60,000 steps only, where the Enformer rate warms up and then stays.
        let enformer = LearningRateSchedule {
            peak_lr: 7e-6,
            warmup_lr: 0.0,
            final_lr: 7e-6,
            n_warmup: 50_000,
            n_steps: 200_000,
        };
        assert_matches_golden("lr_schedule_enformer.safetensors", enformer);
    }

    #[test]
    fn schedule_without_warmup_starts_at_the_peak() {
        let schedule = LearningRateSchedule {
            n_warmup: 0,
            n_steps: 4,
            ..PUBLISHED
        };
        // Half a cosine over 4 steps: cos(0), cos(pi/4), cos(pi/2) = 0, cos(3 pi/4).
        assert_eq!(schedule.at(0), 5e-4);
        assert!((schedule.at(2) - 3e-4).abs() < 1e-18);
        assert_eq!(schedule.at(4), 1e-4);
    }

    #[test]
    fn schedule_of_warmup_only_never_divides_by_zero() {
        let schedule = LearningRateSchedule {
            n_warmup: 3,
            n_steps: 3,
            ..PUBLISHED
        };
        assert_eq!(schedule.at(3), 1e-4);
        assert_eq!(
            LearningRateSchedule {
                n_warmup: 0,
                n_steps: 0,
                ..PUBLISHED
            }
            .at(0),
            1e-4
        );
    }
}
