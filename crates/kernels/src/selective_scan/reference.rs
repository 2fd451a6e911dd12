//! The recurrence in plain `f64` loops: the definition the fast paths are measured against.

/// Sizes and inputs of one scan, one sequence, channels-last.
#[derive(Debug, Clone, Copy)]
pub struct Scan<'a> {
    /// Inputs, `[length, d_inner]`.
    pub u: &'a [f64],
    /// Step sizes (after softplus), `[length, d_inner]`.
    pub delta: &'a [f64],
    /// State matrix, `[d_inner, d_state]`; negative for a state that decays.
    pub a: &'a [f64],
    /// Input map, `[length, d_state]`.
    pub b: &'a [f64],
    /// Output map, `[length, d_state]`.
    pub c: &'a [f64],
    /// Skip connection, `[d_inner]`.
    pub d: &'a [f64],
}

/// Gradients of a scan, each in the shape of the input it belongs to.
#[derive(Debug, Clone)]
pub struct ScanGradients {
    /// Gradient of `u`.
    pub u: Vec<f64>,
    /// Gradient of `delta`.
    pub delta: Vec<f64>,
    /// Gradient of `a`.
    pub a: Vec<f64>,
    /// Gradient of `b`.
    pub b: Vec<f64>,
    /// Gradient of `c`.
    pub c: Vec<f64>,
    /// Gradient of `d`.
    pub d: Vec<f64>,
}

impl Scan<'_> {
    fn sizes(&self) -> (usize, usize, usize) {
        let d_inner = self.d.len();
        (self.u.len() / d_inner, d_inner, self.a.len() / d_inner)
    }

    /// States after every position, `[length, d_inner, d_state]`.
    fn states(&self) -> Vec<f64> {
        let (length, d_inner, d_state) = self.sizes();
        let mut states = vec![0.0; length * d_inner * d_state];
        for t in 0..length {
            for i in 0..d_inner {
                let (delta, u) = (self.delta[t * d_inner + i], self.u[t * d_inner + i]);
                for n in 0..d_state {
                    let before = if t == 0 {
                        0.0
                    } else {
                        states[((t - 1) * d_inner + i) * d_state + n]
                    };
                    states[(t * d_inner + i) * d_state + n] =
                        (delta * self.a[i * d_state + n]).exp() * before
                            + delta * self.b[t * d_state + n] * u;
                }
            }
        }
        states
    }

    /// Computes the outputs, `[length, d_inner]`, and the state after the last position, `[d_inner, d_state]`.
    ///
    /// h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t;  y_t = C_t h_t + D u_t
    ///
    /// # Reference
    /// Gu & Dao 2023, eq. 2a; `selective_scan_ref` of state-spaces/mamba
    pub fn forward(&self) -> (Vec<f64>, Vec<f64>) {
        let (length, d_inner, d_state) = self.sizes();
        let states = self.states();
        let mut y = vec![0.0; length * d_inner];
        for t in 0..length {
            for i in 0..d_inner {
                let mut sum = self.d[i] * self.u[t * d_inner + i];
                for n in 0..d_state {
                    sum += self.c[t * d_state + n] * states[(t * d_inner + i) * d_state + n];
                }
                y[t * d_inner + i] = sum;
            }
        }
        let last = states[states.len() - d_inner * d_state..].to_vec();
        (y, last)
    }

    /// Computes the gradients of every input from the gradient of the outputs, `[length, d_inner]`.
    pub fn backward(&self, dy: &[f64]) -> ScanGradients {
        let (length, d_inner, d_state) = self.sizes();
        let states = self.states();
        let mut gradients = ScanGradients {
            u: vec![0.0; self.u.len()],
            delta: vec![0.0; self.delta.len()],
            a: vec![0.0; self.a.len()],
            b: vec![0.0; self.b.len()],
            c: vec![0.0; self.c.len()],
            d: vec![0.0; self.d.len()],
        };
        // Gradient of the state at t that arrives from positions after t.
        let mut carried = vec![0.0; d_inner * d_state];
        for t in (0..length).rev() {
            for i in 0..d_inner {
                let at = t * d_inner + i;
                let (delta, u, dy) = (self.delta[at], self.u[at], dy[at]);
                gradients.d[i] += dy * u;
                gradients.u[at] += dy * self.d[i];
                for n in 0..d_state {
                    let a = self.a[i * d_state + n];
                    let (b, c) = (self.b[t * d_state + n], self.c[t * d_state + n]);
                    let before = if t == 0 {
                        0.0
                    } else {
                        states[((t - 1) * d_inner + i) * d_state + n]
                    };
                    let decay = (delta * a).exp();
                    let dh = carried[i * d_state + n] + dy * c;
                    gradients.c[t * d_state + n] += dy * states[at * d_state + n];
                    gradients.b[t * d_state + n] += dh * delta * u;
                    gradients.u[at] += dh * delta * b;
                    gradients.delta[at] += dh * (b * u + a * decay * before);
                    gradients.a[i * d_state + n] += dh * delta * decay * before;
                    carried[i * d_state + n] = dh * decay;
                }
            }
        }
        gradients
    }
}
