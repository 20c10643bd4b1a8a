//! One file per output format: a profile in, bytes out.
