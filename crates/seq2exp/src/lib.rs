//! Predict gene expression from DNA and epigenomic tracks, and discover the elements that drive it.
