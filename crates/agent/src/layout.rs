use viperf_abi::{LAYOUT_CFRAME, LAYOUT_GLIBC_KEYS, LAYOUT_IS_ENTRY, PythonLayout};
use viperf_cpython::Layout;

/// The part of a layout that the kernel needs, in the kernel's form. `None` when the layout has a shape that the kernel's
/// walk does not know: no chain of frames, or a block that is larger than what is read at once.
pub(crate) fn for_kernel(
    layout: &Layout,
    thread_local_offset: Option<i32>,
    glibc: bool,
) -> Option<PythonLayout> {
    let cframe = layout.cframe.as_ref().zip(layout.thread_state.cframe);
    let mut flags = 0;
    if cframe.is_some() {
        flags |= LAYOUT_CFRAME;
    }
    if layout.frame.is_entry.is_some() {
        flags |= LAYOUT_IS_ENTRY;
    }
    if glibc {
        flags |= LAYOUT_GLIBC_KEYS;
    }
    Some(PythonLayout {
        runtime_interpreters_head: layout.runtime.interpreters_head,
        runtime_auto_tss_key: layout.runtime.auto_tss_key,
        interpreter_next: layout.interpreter.next,
        interpreter_threads_head: layout.interpreter.threads_head,
        thread_next: layout.thread_state.next,
        thread_id: layout.thread_state.thread_id,
        thread_frame: cframe
            .map(|(_, offset)| offset)
            .or(layout.thread_state.current_frame)?,
        thread_root_cframe: layout.thread_state.root_cframe.unwrap_or(0),
        cframe_current_frame: cframe.map_or(0, |(cframe, _)| cframe.current_frame),
        cframe_previous: cframe.map_or(0, |(cframe, _)| cframe.previous),
        frame_code: layout.frame.code,
        frame_previous: layout.frame.previous,
        frame_instruction: layout.frame.instruction_pointer,
        frame_owner: layout.frame.owner,
        frame_is_entry: layout.frame.is_entry.unwrap_or(0),
        entry_owner: layout
            .frame
            .entry_owner
            .map_or(u16::from(u8::MAX), u16::from),
        // Up to the instructions, which are inline: every field that is read lies before them.
        code_size: layout.code.instructions,
        code_first_line: layout.code.first_line,
        code_filename: layout.code.filename,
        code_qualname: layout.code.qualname,
        code_name: layout.code.name,
        code_line_table: layout.code.line_table,
        code_instructions: layout.code.instructions,
        text_length: layout.unicode.length,
        text_state: layout.unicode.state,
        text_ascii_data: layout.unicode.ascii_data,
        text_compact_data: layout.unicode.compact_data,
        bytes_size: layout.bytes.size,
        bytes_data: layout.bytes.data,
        code_version: layout.code.version.unwrap_or(0),
        flags,
        thread_state_tls: thread_local_offset.unwrap_or(0),
    })
    .filter(|kernel| usize::from(kernel.code_size) <= viperf_abi::limit::CODE_BLOCK_BYTES)
}
