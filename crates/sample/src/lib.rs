//! Loads and attaches the BPF programs, feeds their maps, polls their rings.
