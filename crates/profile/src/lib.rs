//! The data model: strings, functions, frames, stacks, threads, processes, samples.
