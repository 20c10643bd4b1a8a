//! Writes a page of a made-up profile to standard output, for work on the page.
//!
//! `cargo run -p viperf-encode --example synthetic_page -- 20000 > page.html` makes one of 20,000 samples; 0 shows what an
//! empty profile looks like. A format after the number (`folded`, `viperf`) writes that instead.

use std::io::Write as _;

use viperf_encode::{Format, Options, encode};

#[path = "../tests/synthetic/mod.rs"]
mod synthetic;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let samples = std::env::args().nth(1).unwrap_or("20000".into()).parse()?;
    let synthetic = synthetic::synthetic_profile(samples);
    eprintln!(
        "{} samples hold {}",
        synthetic.needle_samples,
        synthetic::NEEDLE
    );
    let format = Format::from_name(&std::env::args().nth(2).unwrap_or("html".into()))?;
    std::io::stdout().write_all(&encode(&synthetic.profile, format, &Options::default())?)?;
    Ok(())
}
