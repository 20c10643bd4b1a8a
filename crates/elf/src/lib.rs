//! One ELF file: segments, symbols, build ID. Bytes in, values out.
