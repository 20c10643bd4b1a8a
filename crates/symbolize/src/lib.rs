//! An address becomes a function, file and line, or the reason why not.
