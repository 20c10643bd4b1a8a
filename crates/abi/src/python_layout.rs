/// A chain of cframes on the C stack accompanies the chain of frames (3.10 to 3.12).
pub const LAYOUT_CFRAME: u32 = 1;
/// The cframe is the address of a run of frames, which ends before the frame that the previous cframe is at (3.11).
pub const LAYOUT_CFRAME_PER_RUN: u32 = 2;
/// pthread keys are where glibc has them.
pub const LAYOUT_GLIBC_KEYS: u32 = 4;
/// pthread keys are where musl has them.
pub const LAYOUT_MUSL_KEYS: u32 = 8;
/// Every frame is run by an eval call of its own (to 3.10).
pub const LAYOUT_CALL_PER_FRAME: u32 = 16;
/// Names are byte strings (2.7).
pub const LAYOUT_BYTE_STRINGS: u32 = 32;
/// The list of threads is linked both ways (3.6 and later).
pub const LAYOUT_BACK_LINKS: u32 = 64;

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
    pub thread_previous: u16,
    pub thread_next: u16,
    pub thread_interpreter: u16,
    pub thread_id: u16,
    pub thread_frame: u16,
    pub thread_cframe: u16,
    pub thread_root_cframe: u16,
    pub thread_base_frame: u16,
    pub cframe_current_frame: u16,
    pub cframe_previous: u16,
    pub frame_size: u16,
    pub frame_code: u16,
    pub frame_previous: u16,
    pub frame_instruction: u16,
    pub frame_owner: u16,
    pub frame_is_entry: u16,
    pub frame_stack_top: u16,
    pub entry_owner: u16,
    pub frame_copy: u16,
    pub frame_locals: u16,
    pub code_size: u16,
    pub code_first_line: u16,
    pub code_filename: u16,
    pub code_qualname: u16,
    pub code_name: u16,
    pub code_line_table: u16,
    pub code_instructions: u16,
    pub code_copies: u16,
    pub code_version: u16,
    pub code_argument_count: u16,
    pub code_local_count: u16,
    pub code_variable_names: u16,
    pub code_cell_names: u16,
    pub code_flags: u16,
    pub text_length: u16,
    pub text_state: u16,
    pub text_kind_shift: u16,
    pub text_ascii_data: u16,
    pub text_compact_data: u16,
    pub bytes_size: u16,
    pub bytes_data: u16,
    pub object_type: u16,
    pub type_name: u16,
    pub type_flags: u16,
    pub tuple_items: u16,
    pub line_table_kind: u16,
    pub flags: u32,
    pub thread_state_tls: i32,
}
