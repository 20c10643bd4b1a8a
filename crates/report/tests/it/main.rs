//! Reports of whole profiles, against what is known of them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod cprofile;
mod goldens;
mod hostile;
mod made_up;
