//! Typed reads over the caller's `read_memory` closure.

/// A target's memory as the caller lets us read it: all the bytes asked for, or `false`.
pub(crate) struct Memory<F>(pub(crate) F);

impl<F: FnMut(u64, &mut [u8]) -> bool> Memory<F> {
    /// Reads `N` bytes at `base + offset`.
    pub(crate) fn read_bytes<const N: usize>(&mut self, base: u64, offset: u16) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let address = base.checked_add(u64::from(offset))?;
        (self.0)(address, &mut bytes).then_some(bytes)
    }

    /// Reads the 64-bit word at `base + offset`: a pointer, a length.
    pub(crate) fn read_word(&mut self, base: u64, offset: u16) -> Option<u64> {
        self.read_bytes(base, offset).map(u64::from_le_bytes)
    }

    /// Reads `length` bytes at `base + offset`, which the caller has bounded.
    pub(crate) fn read_vec(&mut self, base: u64, offset: u16, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        let address = base.checked_add(u64::from(offset))?;
        (length == 0 || (self.0)(address, &mut bytes)).then_some(bytes)
    }
}

/// Whether a pointer can be one to a CPython struct: in user space (the lower half, not the first page), aligned.
pub(crate) fn is_plausible_pointer(address: u64) -> bool {
    (0x1000..1 << 47).contains(&address) && address.is_multiple_of(8)
}
