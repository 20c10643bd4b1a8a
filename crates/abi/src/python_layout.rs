/// The frame chain starts at a cframe on the C stack (3.11, 3.12).
pub const LAYOUT_CFRAME: u32 = 1;
/// A frame with `is_entry` set ends its group, and the cframe is the group's address (3.11).
pub const LAYOUT_IS_ENTRY: u32 = 2;
/// pthread keys are where glibc has them.
pub const LAYOUT_GLIBC_KEYS: u32 = 4;

/// `struct python_layout`: offsets in bytes that the kernel's Python walk needs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "one name, one offset: documented in the C header and in the layout files"
)]
pub struct PythonLayout {
    pub runtime_interpreters_head: u16,
    pub runtime_auto_tss_key: u16,
    pub interpreter_next: u16,
    pub interpreter_threads_head: u16,
    pub thread_next: u16,
    pub thread_id: u16,
    pub thread_frame: u16,
    pub thread_root_cframe: u16,
    pub cframe_current_frame: u16,
    pub cframe_previous: u16,
    pub frame_code: u16,
    pub frame_previous: u16,
    pub frame_instruction: u16,
    pub frame_owner: u16,
    pub frame_is_entry: u16,
    pub entry_owner: u16,
    pub code_size: u16,
    pub code_first_line: u16,
    pub code_filename: u16,
    pub code_qualname: u16,
    pub code_name: u16,
    pub code_line_table: u16,
    pub code_instructions: u16,
    pub text_length: u16,
    pub text_state: u16,
    pub text_ascii_data: u16,
    pub text_compact_data: u16,
    pub bytes_size: u16,
    pub bytes_data: u16,
    pub code_version: u16,
    pub flags: u32,
    pub thread_state_tls: i32,
}
