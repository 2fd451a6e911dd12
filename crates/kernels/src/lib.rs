//! Differentiable operations a tensor framework lacks: the BiMamba block and the Beta mask.
