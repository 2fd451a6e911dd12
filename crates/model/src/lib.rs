//! Seq2Exp and Caduceus networks, losses and checkpoints.
