//! The few functions of an interpreter that are read as machine code: each returns one variable.
//!
//! They are exported, so that they are found in stripped files, too; the variables are not.

use viperf_elf::{Image, Svma};

/// Accessors of `_Py_tss_tstate` that do nothing else, in the order of preference:
/// 3.13 and later, 3.12, both.
const THREAD_STATE_ACCESSORS: [&str; 3] = [
    "PyThreadState_GetUnchecked",
    "_PyThreadState_UncheckedGet",
    "_PyThreadState_GetCurrent",
];

/// The accessor of `interp_head`, up to 3.6.
const INTERPRETERS_ACCESSOR: &str = "PyInterpreterState_Head";

/// The longest accessor, in bytes.
const ACCESSOR_BYTES: usize = 24;

const ENDBR64: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];
const PUSH_FRAME_POINTER: &[u8] = &[0x55, 0x48, 0x89, 0xe5];
const POP_FRAME_POINTER: &[u8] = &[0x5d];
const RETURN: u8 = 0xc3;

/// Where the code is that [`detect`](crate::detect) looks at, beside the symbols and the data: the first of so many
/// bytes each.
///
/// For a caller that reads a file in parts; code that is not there (zeros) is no error, it only tells less.
#[must_use]
pub fn code_to_detect(image: &Image) -> Vec<(Svma, usize)> {
    let names = THREAD_STATE_ACCESSORS
        .into_iter()
        .chain([INTERPRETERS_ACCESSOR]);
    names
        .filter_map(|name| image.symbol(name))
        .map(|symbol| (symbol.svma, ACCESSOR_BYTES))
        .collect()
}

/// Where a function begins, and its first bytes.
pub(crate) fn code_of_accessor<'data>(
    image: &Image<'data>,
    name: &str,
) -> Option<(Svma, &'data [u8])> {
    let start = image.symbol(name)?.svma;
    // The segment can end right after the function.
    let body = (8..=ACCESSOR_BYTES)
        .rev()
        .find_map(|length| image.bytes_at(start, length))?;
    Some((start, body))
}

/// Where the static interpreter keeps `_Py_tss_tstate`, relative to the fs base.
pub(crate) fn find_thread_state_offset(image: &Image) -> Option<i32> {
    THREAD_STATE_ACCESSORS
        .iter()
        .find_map(|name| decode_thread_local_read(code_of_accessor(image, name)?.1))
}

/// What is left of a function's code after its prologue.
fn skip_prologue(body: &[u8]) -> &[u8] {
    let rest = body.strip_prefix(ENDBR64).unwrap_or(body);
    rest.strip_prefix(PUSH_FRAME_POINTER).unwrap_or(rest)
}

fn is_epilogue(code: &[u8]) -> bool {
    let rest = code.strip_prefix(POP_FRAME_POINTER).unwrap_or(code);
    rest.first() == Some(&RETURN)
}

/// The displacement of `mov %fs:disp32,%rax`, if a function does nothing but return what it reads there.
fn decode_thread_local_read(body: &[u8]) -> Option<i32> {
    const MOVE_FROM_FS_TO_RAX: &[u8] = &[0x64, 0x48, 0x8b, 0x04, 0x25];
    let (displacement, rest) = skip_prologue(body)
        .strip_prefix(MOVE_FROM_FS_TO_RAX)?
        .split_first_chunk()?;
    is_epilogue(rest).then(|| i32::from_le_bytes(*displacement))
}

/// The address in `mov disp32(%rip),%rax`, if the function at `start` does nothing but return what it reads there.
pub(crate) fn decode_static_read(start: Svma, body: &[u8]) -> Option<Svma> {
    const MOVE_TO_RAX: &[u8] = &[0x48, 0x8b, 0x05];
    let code = skip_prologue(body);
    let (displacement, rest) = code.strip_prefix(MOVE_TO_RAX)?.split_first_chunk()?;
    let end = body.len().checked_sub(rest.len())?;
    let next = start.0.checked_add(u64::try_from(end).ok()?)?;
    is_epilogue(rest)
        .then(|| next.checked_add_signed(i32::from_le_bytes(*displacement).into()))
        .flatten()
        .map(Svma)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_read_of_a_thread_local_word_is_decoded() {
        // mov %fs:0xffffffffffffffe8,%rax; ret
        let plain = [0x64, 0x48, 0x8b, 0x04, 0x25, 0xe8, 0xff, 0xff, 0xff, 0xc3];
        assert_eq!(decode_thread_local_read(&plain), Some(-24));
        let protected = [&[0xf3, 0x0f, 0x1e, 0xfa], &plain[..]].concat();
        assert_eq!(decode_thread_local_read(&protected), Some(-24));
        // push %rbp; mov %rsp,%rbp; mov %fs:-24,%rax; pop %rbp; ret
        let framed = [&[0x55, 0x48, 0x89, 0xe5], &plain[..9], &[0x5d, 0xc3]].concat();
        assert_eq!(decode_thread_local_read(&framed), Some(-24));
        // 3.12.1's library: sub $8,%rsp; data16 lea …(%rip),%rdi; call __tls_get_addr
        let general = [0x48, 0x83, 0xec, 0x08, 0x66, 0x48, 0x8d, 0x3d, 0xf4, 0xc9];
        assert_eq!(decode_thread_local_read(&general), None);
        for length in 0..plain.len() {
            assert_eq!(decode_thread_local_read(&plain[..length]), None);
        }
    }

    #[test]
    fn only_a_plain_read_of_a_variable_is_decoded() {
        // 3.6.15: mov 0x2a5f49(%rip),%rax; ret
        let plain = [0x48, 0x8b, 0x05, 0x49, 0x5f, 0x2a, 0x00, 0xc3];
        let start = Svma(0x1000);
        let expected = Some(Svma(0x1000 + 7 + 0x2a_5f49));
        assert_eq!(decode_static_read(start, &plain), expected);
        let protected = [&[0xf3, 0x0f, 0x1e, 0xfa], &plain[..]].concat();
        let expected = Some(Svma(0x1004 + 7 + 0x2a_5f49));
        assert_eq!(decode_static_read(start, &protected), expected);
        for length in 0..plain.len() {
            assert_eq!(decode_static_read(start, &plain[..length]), None);
        }
        let other = [0x48, 0x8b, 0x0d, 0x49, 0x5f, 0x2a, 0x00, 0xc3];
        assert_eq!(decode_static_read(start, &other), None);
    }

    /// A local-exec read made by a compiler and a linker, decoded from the finished program.
    #[test]
    fn the_offset_of_a_program_agrees_with_where_its_variable_is() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("program.c");
        let program = folder.path().join("program");
        let text = "
            __thread long other = 7;
            __thread void *_Py_tss_tstate;
            void *PyThreadState_GetUnchecked(void) { return _Py_tss_tstate; }
            int main(void) {
                long base;
                __asm__(\"mov %%fs:0,%0\" : \"=r\"(base));
                return (int)(base - (long)&_Py_tss_tstate);
            }";
        std::fs::write(&source, text).unwrap();
        let compiled = std::process::Command::new("cc")
            .args(["-O2", "-o"])
            .args([&program, &source])
            .status();
        if !compiled.is_ok_and(|status| status.success()) {
            eprintln!("skipped: no C compiler");
            return;
        }
        let bytes = std::fs::read(&program).unwrap();
        let image = Image::parse(&bytes).unwrap();
        let distance = std::process::Command::new(&program)
            .status()
            .unwrap()
            .code()
            .unwrap();
        assert_eq!(find_thread_state_offset(&image), Some(-distance));
    }
}
