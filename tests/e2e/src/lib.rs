//! End-to-end tests: the real binary on live interpreters.
