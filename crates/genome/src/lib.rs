//! Genome files and coordinates: sequence, tracks, contacts, genes and regions.
