//! Seeded initial weights; each parameter draws from its own stream, so a value depends on seed and name alone.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Initial weights that differ between published networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitializationConfig {
    /// Number n of layers in the `1 / sqrt(n)` that scales `out_proj` at the start.
    pub out_proj_layers: OutProjLayers,
    /// Smallest initial step size; 1e-3. Released name: `ssm_cfg.dt_min`.
    pub dt_min: f64,
    /// Largest initial step size; 0.1. Released name: `ssm_cfg.dt_max`.
    pub dt_max: f64,
    /// Floor of the initial step size; 1e-4. Released name: `ssm_cfg.dt_init_floor`.
    pub dt_init_floor: f64,
}

/// The number of layers that scales `out_proj` at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutProjLayers {
    /// The backbone's own number of layers, as in plain Caduceus.
    Own,
    /// A fixed number; 64 in the released Seq2Exp, whose settings leave it at Mamba's default.
    Fixed(u32),
}

impl InitializationConfig {
    pub(crate) fn with_layers(out_proj_layers: OutProjLayers) -> Self {
        Self {
            out_proj_layers,
            dt_min: 1e-3,
            dt_max: 0.1,
            dt_init_floor: 1e-4,
        }
    }

    /// The factor `1 / sqrt(n)` on `out_proj`, for a backbone of `n_layer` blocks.
    pub fn out_proj_scale(&self, n_layer: usize) -> f64 {
        let n = match self.out_proj_layers {
            OutProjLayers::Own => n_layer as f64,
            OutProjLayers::Fixed(n) => f64::from(n),
        };
        n.sqrt().recip()
    }

    pub(crate) fn add_problems(&self, problems: &mut Vec<String>) {
        if self.out_proj_layers == OutProjLayers::Fixed(0) {
            problems.push("initialization.out_proj_layers is 0; give at least 1".into());
        }
        if !(self.dt_min > 0.0 && self.dt_max >= self.dt_min && self.dt_max.is_finite()) {
            problems.push(format!(
                "initialization.dt_min ({}) and dt_max ({}) must be above 0 and in this order",
                self.dt_min, self.dt_max
            ));
        }
        if !(self.dt_init_floor > 0.0 && self.dt_init_floor.is_finite()) {
            problems.push(format!(
                "initialization.dt_init_floor is {}; it must be above 0",
                self.dt_init_floor
            ));
        }
    }
}

/// Creates parameters under a dotted path, on one device, from one seed.
#[derive(Clone, Debug)]
pub struct Initializer<'a> {
    seed: u64,
    device: &'a Device,
    path: String,
}

impl<'a> Initializer<'a> {
    /// Starts at the root of a network.
    pub fn new(seed: u64, device: &'a Device) -> Self {
        Self {
            seed,
            device,
            path: String::new(),
        }
    }

    /// The same initializer below `name`.
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        Self {
            seed: self.seed,
            device: self.device,
            path: self.join(name),
        }
    }

    /// A parameter drawn uniformly from `[-bound, bound)`.
    pub fn uniform<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        bound: f64,
    ) -> Param<Tensor<D>> {
        self.draw(name, shape, |unit| ((2.0 * unit - 1.0) * bound) as f32)
    }

    /// A parameter whose elements are `value(unit)` with `unit` drawn uniformly from `[0, 1)`.
    pub fn draw<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        value: impl Fn(f64) -> f32,
    ) -> Param<Tensor<D>> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream_of(&self.join(name)));
        let values = (0..shape.iter().product::<usize>())
            .map(|_| value(unit(&mut rng)))
            .collect();
        self.param(shape, values)
    }

    /// A parameter drawn from a normal distribution around 0 (Box & Muller 1958).
    pub fn normal<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        sd: f64,
    ) -> Param<Tensor<D>> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream_of(&self.join(name)));
        let values = (0..shape.iter().product::<usize>())
            .map(|_| {
                // 1 - unit lies in (0, 1], so its logarithm is finite.
                let radius = (-2.0 * (1.0 - unit(&mut rng)).ln()).sqrt();
                let angle = std::f64::consts::TAU * unit(&mut rng);
                (sd * radius * angle.cos()) as f32
            })
            .collect();
        self.param(shape, values)
    }

    /// A parameter whose element at a row-major index is `value(index)`.
    pub fn fill<const D: usize>(
        &self,
        shape: [usize; D],
        value: impl Fn(usize) -> f32,
    ) -> Param<Tensor<D>> {
        self.param(
            shape,
            (0..shape.iter().product::<usize>()).map(value).collect(),
        )
    }

    fn param<const D: usize>(&self, shape: [usize; D], values: Vec<f32>) -> Param<Tensor<D>> {
        Param::from_data(TensorData::new(values, shape), self.device)
    }

    fn join(&self, name: impl std::fmt::Display) -> String {
        if self.path.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.path)
        }
    }
}

/// Bound of PyTorch's default for a layer with `fan_in` inputs: kaiming-uniform with a = sqrt(5).
///
/// sqrt(6 / ((1 + 5) fan_in)) = 1 / sqrt(fan_in)
pub fn kaiming_bound(fan_in: usize) -> f64 {
    (fan_in as f64).sqrt().recip()
}

/// A uniform draw from `[0, 1)` with 53 random bits, the same on every platform and version.
fn unit(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// FNV-1a hash of a parameter's name.
fn stream_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<const D: usize>(param: &Param<Tensor<D>>) -> Vec<f32> {
        param.val().into_data().try_to_vec::<f32>().unwrap()
    }

    #[test]
    fn stream_of_matches_published_fnv1a_vectors() {
        // http://www.isthe.com/chongo/tech/comp/fnv/, FNV-1a 64 bit
        assert_eq!(stream_of(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(stream_of("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(stream_of("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn uniform_draw_depends_on_seed_and_name_not_on_order() {
        let device = Device::flex();
        let root = Initializer::new(2, &device).at("generator");
        let first = values(&root.uniform("weight", [5, 3], 0.25));
        values(&root.uniform("other", [7], 1.0));
        assert_eq!(values(&root.uniform("weight", [5, 3], 0.25)), first);
        assert_ne!(values(&root.uniform("other", [5, 3], 0.25)), first);
        assert_ne!(
            values(
                &Initializer::new(22, &device)
                    .at("generator")
                    .uniform("weight", [5, 3], 0.25)
            ),
            first
        );
    }

    #[test]
    fn uniform_many_draws_have_the_moments_of_the_distribution() {
        let device = Device::flex();
        let draws = values(&Initializer::new(2, &device).uniform("weight", [200, 100], 0.5));
        let mean = draws.iter().sum::<f32>() / draws.len() as f32;
        let variance =
            draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f32>() / draws.len() as f32;
        // Mean 0 with standard error 0.5 / sqrt(3) / sqrt(20000) = 0.002; variance 0.25 / 3.
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((variance - 0.25 / 3.0).abs() < 0.002, "{variance}");
        assert!(draws.iter().all(|draw| (-0.5..0.5).contains(draw)));
    }

    #[test]
    fn normal_many_draws_have_the_moments_of_the_distribution() {
        let device = Device::flex();
        let draws = values(&Initializer::new(2, &device).normal("weight", [200, 100], 0.5));
        let moment = |power| draws.iter().map(|draw| draw.powi(power)).sum::<f32>() / 20_000.0;
        // Mean 0 with standard error 0.0035; variance 1/4; fourth moment 3/16.
        assert!(moment(1).abs() < 0.015, "{}", moment(1));
        assert!((moment(2) - 0.25).abs() < 0.01, "{}", moment(2));
        assert!((moment(4) - 0.1875).abs() < 0.02, "{}", moment(4));
    }
}
