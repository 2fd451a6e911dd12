//! AdamW and global-norm clipping as PyTorch defines them, on named flat parameters in host memory.
//!
//! Burn's own AdamW has another default eps and its clipping works tensor by tensor, so neither is used. The state
//! lives on the host: a network of this kind has about a million parameters, so an update costs milliseconds, is the
//! same arithmetic whatever device computed the gradients, and is saved as it is.

use serde::{Deserialize, Serialize};

/// Gradients of all parameters, in their order; `None` where the loss did not reach a parameter.
pub type Gradients = Vec<Option<Vec<f32>>>;

/// The hyper-parameters of AdamW.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdamWConfig {
    /// Decay rate of the mean of gradients.
    pub beta1: f64,
    /// Decay rate of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the bias-corrected second moment.
    pub eps: f64,
    /// Decoupled weight decay, per unit of learning rate, of the parameters that are decayed.
    pub weight_decay: f64,
}

/// What the optimiser knows about one parameter tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// The parameter's name, unique in the network.
    pub name: String,
    /// Whether weight decay applies to it.
    pub is_decayed: bool,
    /// Updates it has received; a parameter without a gradient is not updated.
    pub n_updates: u64,
    /// Running mean of its gradients.
    pub first: Vec<f32>,
    /// Running mean of its squared gradients.
    pub second: Vec<f32>,
}

/// PyTorch's AdamW: decoupled decay, bias correction, `eps` added after the root.
///
/// ```text
/// p <- p * (1 - lr * weight_decay)
/// m <- m + (g - m) * (1 - beta1);  v <- v * beta2 + (1 - beta2) * g * g
/// p <- p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
/// ```
///
/// Arithmetic on elements is f32 as in PyTorch. One consequence: with the published rates the decay factor
/// `1 - 5e-4 * 1e-6` rounds to 1, so the published weight decay changes nothing, there and here.
///
/// # Reference
/// Loshchilov & Hutter 2019; `torch.optim.AdamW`, single-tensor path of torch 2.x
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    config: AdamWConfig,
    moments: Vec<Moments>,
}

impl AdamW {
    /// An optimiser without history for parameters of the given name, number of values and whether they are decayed.
    pub fn new(
        config: AdamWConfig,
        parameters: impl IntoIterator<Item = (String, usize, bool)>,
    ) -> Self {
        let moments = parameters
            .into_iter()
            .map(|(name, n_values, is_decayed)| Moments {
                name,
                is_decayed,
                n_updates: 0,
                first: vec![0.0; n_values],
                second: vec![0.0; n_values],
            })
            .collect();
        Self { config, moments }
    }

    /// The state of every parameter, in order.
    pub fn moments(&self) -> &[Moments] {
        &self.moments
    }

    /// An optimiser that goes on from saved state.
    pub fn restore(config: AdamWConfig, moments: Vec<Moments>) -> Self {
        Self { config, moments }
    }

    /// Updates `values` in place from `gradients`; parameters whose gradient is `None` stay as they are.
    ///
    /// # Shapes
    /// - `values`, `gradients`: one flat vector per parameter, in the order given to [`AdamW::new`]
    ///
    /// # Panics
    /// When a vector's length is not its parameter's: both come from the network the optimiser was made for.
    pub fn update(&mut self, lr: f64, values: &mut [Vec<f32>], gradients: &Gradients) {
        assert_eq!(
            values.len(),
            self.moments.len(),
            "one vector of values per parameter"
        );
        assert_eq!(
            gradients.len(),
            self.moments.len(),
            "one gradient per parameter"
        );
        for ((moments, values), gradient) in self.moments.iter_mut().zip(values).zip(gradients) {
            if let Some(gradient) = gradient {
                moments.update(&self.config, lr, values, gradient);
            }
        }
    }
}

impl Moments {
    fn update(&mut self, config: &AdamWConfig, lr: f64, values: &mut [f32], gradient: &[f32]) {
        assert_eq!(
            values.len(),
            self.first.len(),
            "values of \"{}\"",
            self.name
        );
        assert_eq!(
            gradient.len(),
            self.first.len(),
            "gradient of \"{}\"",
            self.name
        );
        self.n_updates += 1;
        let weight_decay = if self.is_decayed {
            config.weight_decay
        } else {
            0.0
        };
        let n_updates = self.n_updates as f64;
        let keep = (1.0 - lr * weight_decay) as f32;
        let gain = (1.0 - config.beta1) as f32;
        let (beta2, square_gain) = (config.beta2 as f32, (1.0 - config.beta2) as f32);
        let step_size = (lr / (1.0 - config.beta1.powf(n_updates))) as f32;
        let root_correction = (1.0 - config.beta2.powf(n_updates)).sqrt() as f32;
        let eps = config.eps as f32;
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((value, &g), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
            *first += (g - *first) * gain;
            *second = *second * beta2 + square_gain * g * g;
            let denominator = second.sqrt() / root_correction + eps;
            *value = *value * keep - step_size * (*first / denominator);
        }
    }
}

/// Adds `micro` to `total`, which keeps the larger set of parameters that have a gradient.
pub fn accumulate(total: &mut Gradients, micro: Gradients) {
    if total.is_empty() {
        *total = micro;
        return;
    }
    for (total, micro) in total.iter_mut().zip(micro) {
        match (total.as_mut(), micro) {
            (Some(total), Some(micro)) => total.iter_mut().zip(micro).for_each(|(t, m)| *t += m),
            (None, Some(micro)) => *total = Some(micro),
            (_, None) => {}
        }
    }
}

/// Multiplies every gradient by `factor`.
pub fn scale(gradients: &mut Gradients, factor: f32) {
    gradients
        .iter_mut()
        .flatten()
        .flatten()
        .for_each(|g| *g *= factor);
}

/// The Euclidean norm of all gradients together, summed in f64 in the order of the parameters.
pub fn global_norm(gradients: &Gradients) -> f64 {
    let squares = |gradient: &Vec<f32>| {
        gradient
            .iter()
            .map(|&g| f64::from(g) * f64::from(g))
            .sum::<f64>()
    };
    gradients.iter().flatten().map(squares).sum::<f64>().sqrt()
}

/// Scales all gradients so that their global norm is at most `max_norm`; returns the norm before.
///
/// # Reference
/// `torch.nn.utils.clip_grad_norm_`: the factor is `min(1, max_norm / (norm + 1e-6))`
pub fn clip_global_norm(gradients: &mut Gradients, max_norm: f64) -> f64 {
    let norm = global_norm(gradients);
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 {
        scale(gradients, factor as f32);
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: AdamWConfig = AdamWConfig {
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 1e-6,
    };

    struct Golden(Vec<u8>);

    impl Golden {
        fn read() -> Self {
            let path = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/golden/adamw_clip.safetensors"
            );
            Self(std::fs::read(path).expect("the golden is committed"))
        }

        fn bytes(&self, name: &str) -> Vec<u8> {
            let file = safetensors::SafeTensors::deserialize(&self.0)
                .expect("the golden is a safetensors file");
            file.tensor(name)
                .unwrap_or_else(|e| panic!("{name}: {e}"))
                .data()
                .to_vec()
        }

        fn f32s(&self, name: &str) -> Vec<f32> {
            self.bytes(name)
                .as_chunks::<4>()
                .0
                .iter()
                .map(|word| f32::from_le_bytes(*word))
                .collect()
        }

        fn f64(&self, name: &str) -> f64 {
            f64::from_le_bytes(self.bytes(name).as_chunks::<8>().0[0])
        }
    }

    #[test]
    fn update_after_clipping_matches_torch() {
        // Six steps of torch's AdamW with clip_grad_norm_(1.0); every second gradient is far above the limit.
        // f32 rounding of parameters near 1 over six steps; the norm is torch's own f32 sum.
        const ATOL: f32 = 3e-7;
        const NORM_RTOL: f64 = 1e-6;
        let golden = Golden::read();
        let names = [("w.weight", true), ("w.bias", false), ("A_log", false)];
        let mut values: Vec<Vec<f32>> = names
            .iter()
            .map(|(n, _)| golden.f32s(&format!("init.{n}")))
            .collect();
        let specs = names
            .iter()
            .zip(&values)
            .map(|((name, decay), v)| (name.to_string(), v.len(), *decay));
        let mut optimizer = AdamW::new(PUBLISHED, specs);
        for step in 0..6 {
            let mut gradients: Gradients = names
                .iter()
                .map(|(n, _)| Some(golden.f32s(&format!("step{step}.grad.{n}"))))
                .collect();
            let norm = clip_global_norm(&mut gradients, 1.0);
            let expected = f64::from(golden.f32s(&format!("step{step}.total_norm"))[0]);
            assert!(
                (norm - expected).abs() <= NORM_RTOL * expected,
                "step {step}: norm {norm}, expected {expected}"
            );
            optimizer.update(
                golden.f64(&format!("step{step}.lr")),
                &mut values,
                &gradients,
            );
            for ((name, _), found) in names.iter().zip(&values) {
                let expected = golden.f32s(&format!("step{step}.param.{name}"));
                for (index, (f, e)) in found.iter().zip(&expected).enumerate() {
                    assert!(
                        (f - e).abs() <= ATOL,
                        "step {step} {name}[{index}]: {f}, expected {e}"
                    );
                }
            }
        }
    }

    #[test]
    fn update_by_hand_for_one_step() {
        // t = 1: m = 0.1 g, v = 0.05 g^2, so m / (1 - 0.9) = g and sqrt(v) / sqrt(1 - 0.95) = |g|: the step is
        // lr * g / (|g| + eps), here 0.5 * 1; decay first: 2 * (1 - 0.5 * 0.2) = 1.8. Result 1.3 and, undecayed, 1.5.
        let config = AdamWConfig {
            weight_decay: 0.2,
            ..PUBLISHED
        };
        let parameters = [("a".to_string(), 1, true), ("b".to_string(), 1, false)];
        let mut optimizer = AdamW::new(config, parameters);
        let mut values = vec![vec![2.0], vec![2.0]];
        optimizer.update(0.5, &mut values, &vec![Some(vec![4.0]), Some(vec![4.0])]);
        assert!(
            (values[0][0] - 1.3).abs() < 1e-6 && (values[1][0] - 1.5).abs() < 1e-6,
            "{values:?}"
        );
    }

    #[test]
    fn update_without_gradient_changes_nothing() {
        let mut optimizer = AdamW::new(PUBLISHED, [("a".to_string(), 2, true)]);
        let mut values = vec![vec![1.0, -1.0]];
        optimizer.update(0.5, &mut values, &vec![None]);
        assert_eq!(values, [[1.0, -1.0]]);
        assert_eq!(optimizer.moments()[0].n_updates, 0);
    }

    #[test]
    fn clip_leaves_small_gradients_and_counts_all_tensors() {
        // Norm of (3, 4) over two tensors is 5.
        let gradients: Gradients = vec![Some(vec![3.0]), None, Some(vec![4.0])];
        let mut kept = gradients.clone();
        assert_eq!(clip_global_norm(&mut kept, 6.0), 5.0);
        assert_eq!(kept, gradients);
        let mut clipped = gradients;
        assert_eq!(clip_global_norm(&mut clipped, 1.0), 5.0);
        let norm = global_norm(&clipped);
        assert!((norm - 1.0).abs() < 1e-6, "{norm}");
        assert_eq!(clip_global_norm(&mut Vec::new(), 1.0), 0.0);
        // Near PyTorch's 1e-6: norm 5e-6, factor 4e-6 / (5e-6 + 1e-6) = 2 / 3.
        let mut small: Gradients = vec![Some(vec![3e-6, 4e-6])];
        clip_global_norm(&mut small, 4e-6);
        let norm = global_norm(&small);
        assert!((norm / (10e-6 / 3.0) - 1.0).abs() < 1e-6, "{norm}");
    }

    #[test]
    fn clip_of_infinite_gradient_reports_it() {
        let mut gradients: Gradients = vec![Some(vec![f32::INFINITY, 1.0])];
        assert!(clip_global_norm(&mut gradients, 1.0).is_infinite());
    }

    #[test]
    fn accumulate_keeps_gradients_of_either_side() {
        let mut total = Vec::new();
        accumulate(&mut total, vec![Some(vec![1.0]), None, None]);
        accumulate(&mut total, vec![Some(vec![2.0]), Some(vec![5.0]), None]);
        assert_eq!(total, vec![Some(vec![3.0]), Some(vec![5.0]), None]);
        scale(&mut total, 0.5);
        assert_eq!(total, vec![Some(vec![1.5]), Some(vec![2.5]), None]);
    }
}
