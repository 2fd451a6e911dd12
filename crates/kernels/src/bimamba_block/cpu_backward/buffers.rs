//! What the two chains of the backward pass keep and exchange.

use crate::scratch::Scratch;

/// Activations that the two chains exchange: of the whole sequence, or of the `n_read` positions of the tiles in which
/// an output was wanted.
pub(super) struct Exchange {
    /// Convolution input, `[length, d_inner]`.
    pub(super) inputs: Scratch,
    /// Gate before SiLU, `[n_read, d_inner]`; its gradient at the end.
    pub(super) z: Scratch,
    /// Gradient of the gated output, `[n_read, d_inner]`.
    pub(super) dgated: Scratch,
    /// Sum of the scan outputs, `[n_block, n_read, 16]`.
    pub(super) y: Scratch,
    /// Gradient of the convolution input, `[length, d_inner]`.
    pub(super) dinputs: Scratch,
}

/// What the steps of one sweep reuse, per chain.
pub(super) struct ChainBuffers {
    /// Gradient of the scan input, `[n_block, rows, 16]`.
    pub(super) du: Scratch,
    /// Gradient under the step size, `[n_block, rows, 16]`.
    pub(super) dstep: Scratch,
    /// Gradients of B and C per block, `[n_block, rows, 2 d_state]`.
    pub(super) dbc: Scratch,
    /// Gradient of the convolution output, `[rows + d_conv - 1, d_inner]`: the panel's rows and those of the
    /// panel before that its convolution reads, which come last for the forward direction, else first.
    pub(super) dconv: Scratch,
    /// Those rows, kept between steps.
    pub(super) carried: Scratch,
    /// Adjoint of the scan state, `[n_block, d_state, 16]`.
    pub(super) adjoint: Scratch,
    /// Gradient of the mask through each step size, `[n_block, rows, 16]`; empty without a mask.
    pub(super) dmask: Scratch,
}
