//! One ELF file: segments, sections, symbols, build ID. Bytes in, values out.
//!
//! [`Image::parse`] takes the bytes of one ELF64 little-endian x86-64 file (or of a memory image
//! such as the vDSO's) and answers questions about it, each lazily from the same bytes.
//!
//! What it asks of you: the bytes, from a file mapping or a buffer, at any alignment; they need not
//! be a whole file. A file that is cut off or damaged loses the answers that lay in the missing
//! part, no others.
//!
//! What it will not do: open files, read memory of processes, apply relocations, or trust a length. The files of a target are hostile: every offset is checked
//! against the bytes there are, and each answer costs at most one pass over a table of the file.
//!
//! Two kinds of addresses appear, never as a bare number where they could be confused:
//! an SVMA ([`Svma`]) is an address as written in the file, an AVMA one in a running process, and
//!
//! ```text
//! AVMA = SVMA + load bias
//! ```
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bytes = std::fs::read("/usr/bin/python3")?;
//! let image = viperf_elf::Image::parse(&bytes)?;
//! let bias = image.load_bias(0x5555_5555_4000, 0).ok_or("not mapped from this file")?;
//! let runtime = image.symbol("_PyRuntime").ok_or("no such symbol")?;
//! println!("_PyRuntime lies at {:#x}", bias.avma(runtime.svma));
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod address;
mod contents;
mod eh_frame;
mod image;
mod partial;
mod segments;
mod symbols;

#[cfg(test)]
mod against_readelf;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod this_process;

pub use address::{LoadBias, Svma};
pub use image::{Image, ParseError, Section};
pub use partial::read_partially;
pub use segments::{LoadSegment, ThreadLocalSegment, find_load_bias};
pub use symbols::{Symbol, SymbolKind};
