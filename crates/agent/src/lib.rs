//! The pipeline: the only crate that names every stage.
