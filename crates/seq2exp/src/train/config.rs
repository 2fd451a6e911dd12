//! The settings of training.

use model::MaskCost;
use serde::{Deserialize, Serialize};

use crate::optimizer::AdamWConfig;
use crate::schedule::LearningRateSchedule;
use crate::train::numerics::{Precision, Storage};
use crate::train::random_masks::RandomMasks;

/// How a network is trained; the defaults are the published values.
///
/// Names in brackets are those of the released code. The seed is not part of it: an experiment trains one network per
/// seed with the same settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Optimiser updates; default 50,000 (`trainer.max_steps`).
    pub steps: u64,
    /// Genes per forward pass; default 8 (`dataset.batch_size`).
    pub batch: usize,
    /// Forward passes whose gradients make one update; default 1 (`trainer.accumulate_grad_batches`). A batch of 2 with
    /// accumulation 4 is the published batch of 8 in a quarter of the memory.
    pub accumulation: usize,
    /// Learning rate at the end of the warm-up; default 5e-4 (`optimizer.lr`).
    pub lr: f64,
    /// AdamW's decay rates of the mean gradient and the mean squared gradient; default 0.9 and 0.95
    /// (`optimizer.betas`).
    pub betas: [f64; 2],
    /// Added to AdamW's denominator; default 1e-8 (PyTorch's default).
    pub eps: f64,
    /// Decoupled weight decay, not applied to biases, A_log, D, norms with a bias, or embeddings; default 1e-6
    /// (`optimizer.weight_decay`).
    pub weight_decay: f64,
    /// Largest global norm of the gradient; default 1.0 (`trainer.gradient_clip_val`).
    pub clip_norm: f64,
    /// Steps of linear warm-up; default 5,000 (`scheduler.warmup_t`).
    pub warmup_steps: u64,
    /// Learning rate of the first warm-up step; default 1e-5 (`scheduler.warmup_lr_init`).
    pub warmup_lr: f64,
    /// Learning rate at the last step, after half a cosine; default 1e-4 (`scheduler.lr_min`).
    pub final_lr: f64,
    /// Weight of the KL divergence between mask and marginal in the loss; default 0.01.
    pub kl_weight: f64,
    /// Weight of the mask's mean in the loss; default 0, as published.
    #[serde(skip_serializing_if = "is_default")]
    pub mask_weight: f64,
    /// Steps in which the mask costs nothing, so that the predictor learns before the mask is pressed; default 0, as
    /// published.
    #[serde(skip_serializing_if = "is_default")]
    pub mask_start_step: u64,
    /// Steps after `mask_start_step` over which `kl_weight` and `mask_weight` rise linearly from 0; default 0, as
    /// published. The best network is the best of those validated at the full weights and after `random_mask_steps`.
    #[serde(skip_serializing_if = "is_default")]
    pub mask_warmup_steps: u64,
    /// Steps in which the predictor learns under random masks alone, and the generator alone from the masks it makes;
    /// after them a random share of the bases is shown to the predictor beside the mask. Default 0, as published: neither.
    #[serde(skip_serializing_if = "is_default")]
    pub random_mask_steps: u64,
    /// How activations are kept between the forward and the backward pass: `f32` (default), or `bf16` for less memory
    /// and slightly rounded gradients. The published runs used bf16 autocast for the arithmetic as well.
    #[serde(skip_serializing_if = "is_default")]
    pub storage: Storage,
    /// What the blocks compute in on a graphics processor: `f32` (default), `f16` or, through CUDA, `bf16`. States, sums,
    /// losses and parameters are single precision whatever this says.
    #[serde(skip_serializing_if = "is_default")]
    pub precision: Precision,
    /// Steps between validations; default: half an epoch, at least 1 (`trainer.val_check_interval = 0.5`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_every: Option<u64>,
    /// Steps between checkpoints that an interrupted run continues from; default 100. Every validation saves one too.
    pub checkpoint_every: u64,
    /// Threads that read examples ahead of training; default 2, at most 256. Results do not depend on it.
    pub loader_threads: usize,
}

/// Bounds that no training meets, within which nothing overflows.
const MOST_STEPS: u64 = 1 << 40;
const MOST_GENES: u64 = 1 << 16;
const MOST_GENES_PER_STEP: u64 = 1 << 20;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 50_000,
            batch: 8,
            accumulation: 1,
            lr: 5e-4,
            betas: [0.9, 0.95],
            eps: 1e-8,
            weight_decay: 1e-6,
            clip_norm: 1.0,
            warmup_steps: 5_000,
            warmup_lr: 1e-5,
            final_lr: 1e-4,
            kl_weight: 0.01,
            mask_weight: 0.0,
            mask_start_step: 0,
            mask_warmup_steps: 0,
            random_mask_steps: 0,
            storage: Storage::F32,
            precision: Precision::F32,
            validation_every: None,
            checkpoint_every: 100,
            loader_threads: 2,
        }
    }
}

impl TrainConfig {
    /// Fields that may differ between a run and its continuation, because no result depends on them.
    pub const FREE_FIELDS: [&str; 2] = ["loader_threads", "checkpoint_every"];

    /// More threads than this read no faster on any machine, and each takes memory.
    const MAX_LOADER_THREADS: usize = 256;

    /// Every problem of the settings, empty when they are sound.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut require = |is_sound: bool, problem: String| {
            if !is_sound {
                problems.push(problem);
            }
        };
        let counts = [
            ("steps", self.steps),
            ("batch", self.batch as u64),
            ("accumulation", self.accumulation as u64),
            ("checkpoint_every", self.checkpoint_every),
            ("loader_threads", self.loader_threads as u64),
            ("validation_every", self.validation_every.unwrap_or(1)),
        ];
        for (name, count) in counts {
            require(count > 0, format!("{name} is 0; it must be at least 1"));
        }
        require(
            self.loader_threads <= Self::MAX_LOADER_THREADS,
            format!(
                "loader_threads is {}; it must be at most {}, and as many as the machine has cores are enough",
                self.loader_threads,
                Self::MAX_LOADER_THREADS
            ),
        );
        let limits = [
            ("steps", self.steps, MOST_STEPS),
            ("batch", self.batch as u64, MOST_GENES),
            ("accumulation", self.accumulation as u64, MOST_GENES),
        ];
        for (name, count, most) in limits {
            require(
                count <= most,
                format!("{name} is {count}; it must be at most {most}"),
            );
        }
        let n_genes = (self.batch as u64).saturating_mul(self.accumulation as u64);
        require(
            n_genes <= MOST_GENES_PER_STEP || self.batch.max(self.accumulation) as u64 > MOST_GENES,
            format!(
                "batch {} times accumulation {} is {n_genes} genes an update; it must be at most {MOST_GENES_PER_STEP}",
                self.batch, self.accumulation
            ),
        );
        let positive = [
            ("lr", self.lr),
            ("eps", self.eps),
            ("clip_norm", self.clip_norm),
        ];
        for (name, value) in positive {
            require(
                value.is_finite() && value > 0.0,
                format!("{name} is {value}; it must be above 0"),
            );
        }
        let not_negative = [
            ("weight_decay", self.weight_decay),
            ("warmup_lr", self.warmup_lr),
            ("final_lr", self.final_lr),
            ("kl_weight", self.kl_weight),
            ("mask_weight", self.mask_weight),
        ];
        for (name, value) in not_negative {
            require(
                value.is_finite() && value >= 0.0,
                format!("{name} is {value}; it must be 0 or above"),
            );
        }
        for (index, beta) in self.betas.into_iter().enumerate() {
            require(
                (0.0..1.0).contains(&beta),
                format!("betas[{index}] is {beta}; it must be in [0, 1)"),
            );
        }
        require(
            self.warmup_steps < self.steps,
            format!(
                "warmup_steps is {}, but steps is {}: the warm-up would never end; lower warmup_steps",
                self.warmup_steps, self.steps
            ),
        );
        require(
            self.mask_full_step() < self.steps || self.mask_full_step() == 0,
            format!(
                "mask_start_step is {} and mask_warmup_steps {}, but steps is {}: the mask would never cost its full weights; lower them",
                self.mask_start_step, self.mask_warmup_steps, self.steps
            ),
        );
        require(
            self.random_mask_steps < self.steps,
            format!(
                "random_mask_steps is {}, but steps is {}: the predictor would never see the mask; lower random_mask_steps",
                self.random_mask_steps, self.steps
            ),
        );
        require(
            self.warmup_lr <= self.lr && self.final_lr <= self.lr,
            format!(
                "lr is {}, below warmup_lr {} or final_lr {}; it is the highest rate of the schedule",
                self.lr, self.warmup_lr, self.final_lr
            ),
        );
        problems
    }

    /// What the mask costs in the loss of a step, counted from 0.
    pub fn mask_cost_at(&self, step: u64) -> MaskCost {
        let share = if step >= self.mask_full_step() {
            1.0
        } else {
            let risen = step.saturating_sub(self.mask_start_step);
            risen as f64 / self.mask_warmup_steps.max(1) as f64
        };
        MaskCost {
            kl: share * self.kl_weight,
            mean: share * self.mask_weight,
        }
    }

    /// The same without what concerns a learned mask, for a network that learns none.
    pub fn without_learned_mask(self) -> Self {
        Self {
            mask_weight: 0.0,
            mask_start_step: 0,
            mask_warmup_steps: 0,
            random_mask_steps: 0,
            ..self
        }
    }

    /// The first step, counted from 0, at which the mask costs its full weights.
    pub fn mask_full_step(&self) -> u64 {
        self.mask_start_step.saturating_add(self.mask_warmup_steps)
    }

    /// The first step, counted from 0, from which on masks cost their full weights and the predictor sees them; the best
    /// network is the best of those validated from there on.
    pub fn settled_step(&self) -> u64 {
        self.mask_full_step().max(self.random_mask_steps)
    }

    /// What random masks do in a step, counted from 0.
    pub fn random_masks_at(&self, step: u64) -> RandomMasks {
        match self.random_mask_steps {
            0 => RandomMasks::Absent,
            n_steps if step < n_steps => RandomMasks::Alone,
            _ => RandomMasks::Beside,
        }
    }

    /// The learning rate of every step.
    pub fn schedule(&self) -> LearningRateSchedule {
        LearningRateSchedule {
            peak_lr: self.lr,
            warmup_lr: self.warmup_lr,
            final_lr: self.final_lr,
            n_warmup: self.warmup_steps,
            n_steps: self.steps,
        }
    }

    /// The optimiser's hyper-parameters.
    pub fn adamw(&self) -> AdamWConfig {
        AdamWConfig {
            beta1: self.betas[0],
            beta2: self.betas[1],
            eps: self.eps,
            weight_decay: self.weight_decay,
        }
    }

    /// Genes that one update sees.
    pub fn genes_per_step(&self) -> usize {
        self.batch.saturating_mul(self.accumulation)
    }

    /// Steps between validations when one epoch has `n_train` genes.
    pub fn validation_interval(&self, n_train: usize) -> u64 {
        let half_epoch = n_train / self.genes_per_step().saturating_mul(2).max(1);
        self.validation_every.unwrap_or(half_epoch as u64).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound_and_survive_toml() {
        let config = TrainConfig::default();
        assert_eq!(config.validate(), Vec::<String>::new());
        let text = toml::to_string(&config).expect("settings have a TOML form");
        assert_eq!(
            toml::from_str::<TrainConfig>(&text).expect("just written"),
            config
        );
        assert_eq!(
            toml::from_str::<TrainConfig>("").expect("all fields have defaults"),
            config
        );
    }

    #[test]
    fn unknown_key_is_refused_by_name() {
        let error = toml::from_str::<TrainConfig>("learning_rate = 1.0")
            .expect_err("unknown")
            .to_string();
        assert!(error.contains("learning_rate"), "{error}");
    }

    #[test]
    fn validate_reports_all_problems_at_once() {
        let config = TrainConfig {
            batch: 0,
            lr: f64::NAN,
            betas: [1.0, -0.1],
            kl_weight: -1.0,
            steps: 10,
            warmup_steps: 10,
            validation_every: Some(0),
            ..TrainConfig::default()
        };
        let problems = config.validate();
        for word in [
            "batch",
            "lr",
            "betas[0]",
            "betas[1]",
            "kl_weight",
            "warmup_steps",
            "validation_every",
        ] {
            assert!(
                problems.iter().any(|p| p.starts_with(word)),
                "{word} missing from {problems:?}"
            );
        }
    }

    #[test]
    fn validate_bounds_every_count() {
        let most = i64::MAX as usize;
        let sound = TrainConfig::default();
        for (config, expected) in [
            (
                TrainConfig {
                    steps: most as u64,
                    ..sound.clone()
                },
                "steps is 9223372036854775807; it must be at most 1099511627776",
            ),
            (
                TrainConfig {
                    batch: most,
                    ..sound.clone()
                },
                "batch is 9223372036854775807; it must be at most 65536",
            ),
            (
                TrainConfig {
                    accumulation: most,
                    ..sound.clone()
                },
                "accumulation is 9223372036854775807; it must be at most 65536",
            ),
            (
                TrainConfig {
                    batch: 4096,
                    accumulation: 4096,
                    ..sound
                },
                "batch 4096 times accumulation 4096 is 16777216 genes an update",
            ),
        ] {
            let problems = config.validate();
            assert!(
                problems.len() == 1 && problems[0].starts_with(expected),
                "{expected}: {problems:?}"
            );
        }
    }

    #[test]
    fn random_masks_stand_alone_and_then_beside_until_which_nothing_is_settled() {
        let config = |random_mask_steps, mask_start_step| TrainConfig {
            random_mask_steps,
            mask_start_step,
            mask_warmup_steps: 4,
            steps: 30,
            warmup_steps: 0,
            ..TrainConfig::default()
        };
        for (config, settled, at_9, at_10) in [
            (config(0, 3), 7, RandomMasks::Absent, RandomMasks::Absent),
            (config(10, 3), 10, RandomMasks::Alone, RandomMasks::Beside),
            (config(10, 12), 16, RandomMasks::Alone, RandomMasks::Beside),
        ] {
            assert_eq!(config.validate(), [""; 0]);
            assert_eq!(config.settled_step(), settled);
            let found = [9, 10].map(|step| config.random_masks_at(step));
            assert_eq!(found, [at_9, at_10]);
        }
        let problems = config(30, 3).validate();
        assert!(problems.len() == 1 && problems[0].contains("random_mask_steps is 30"));
    }

    #[test]
    fn loader_threads_are_1_to_256() {
        for (loader_threads, n_problems) in [(0, 1), (1, 0), (256, 0), (257, 1), (1_000_000, 1)] {
            let config = TrainConfig {
                loader_threads,
                ..TrainConfig::default()
            };
            let problems = config.validate();
            let start = format!("loader_threads is {loader_threads}; it must be at ");
            assert_eq!(problems.len(), n_problems, "{problems:?}");
            assert!(problems.iter().all(|problem| problem.starts_with(&start)));
        }
    }

    #[test]
    fn cost_of_the_mask_starts_late_and_rises_to_its_weights() {
        let config = TrainConfig {
            kl_weight: 0.02,
            mask_weight: 0.4,
            mask_warmup_steps: 4,
            ..TrainConfig::default()
        };
        let late = TrainConfig {
            mask_start_step: 10,
            ..config.clone()
        };
        let sudden = TrainConfig {
            mask_warmup_steps: 0,
            ..late.clone()
        };
        let published = TrainConfig::default();
        for (config, step, kl, mean) in [
            (&config, 0, 0.0, 0.0),
            (&config, 1, 0.005, 0.1),
            (&config, 3, 0.015, 0.3),
            (&config, 4, 0.02, 0.4),
            (&config, 900, 0.02, 0.4),
            (&late, 0, 0.0, 0.0),
            (&late, 10, 0.0, 0.0),
            (&late, 11, 0.005, 0.1),
            (&late, 14, 0.02, 0.4),
            (&sudden, 9, 0.0, 0.0),
            (&sudden, 10, 0.02, 0.4),
            (&published, 0, 0.01, 0.0),
        ] {
            let cost = config.mask_cost_at(step);
            let distance = (cost.kl - kl).abs().max((cost.mean - mean).abs());
            assert!(distance < 1e-15, "{step} {cost:?}");
        }
    }

    #[test]
    fn mask_that_never_costs_its_full_weights_is_refused() {
        let config = TrainConfig {
            steps: 10,
            warmup_steps: 1,
            mask_start_step: 5,
            mask_warmup_steps: 5,
            ..TrainConfig::default()
        };
        let problems = config.validate();
        assert!(
            problems.len() == 1 && problems[0].contains("never cost its full weights"),
            "{problems:?}"
        );
        let shorter = TrainConfig {
            mask_warmup_steps: 4,
            ..config
        };
        assert_eq!(shorter.validate(), Vec::<String>::new());
    }

    #[test]
    fn validation_interval_is_half_an_epoch() {
        let config = TrainConfig {
            batch: 4,
            accumulation: 2,
            ..TrainConfig::default()
        };
        // 100 genes / 8 per step = 12.5 steps an epoch, half of it rounded down is 6.
        for (n_train, expected) in [(100, 6), (16, 1), (3, 1), (0, 1)] {
            assert_eq!(config.validation_interval(n_train), expected);
        }
        let fixed = TrainConfig {
            validation_every: Some(7),
            ..config
        };
        assert_eq!(fixed.validation_interval(100), 7);
    }
}
