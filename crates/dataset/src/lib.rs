//! From one gene to the arrays a model reads, and prepared data sets.
