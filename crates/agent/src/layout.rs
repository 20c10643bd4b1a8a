//! The offsets of one interpreter, in the kernel's form.

use viperf_abi::{
    LAYOUT_BACK_LINKS, LAYOUT_BYTE_STRINGS, LAYOUT_CALL_PER_FRAME, LAYOUT_CFRAME,
    LAYOUT_CFRAME_PER_RUN, LAYOUT_GLIBC_KEYS, LAYOUT_MUSL_KEYS, LINE_TABLE_LNOTAB,
    LINE_TABLE_LNOTAB_UNSIGNED, LINE_TABLE_LOCATIONS, LINE_TABLE_RANGES, PythonLayout, limit,
};
use viperf_cpython::{Layout, LineTableKind};

/// The C library that a process runs on, as far as it can be told: it says where the values of pthread keys are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CLibrary {
    #[default]
    Unknown,
    Glibc,
    Musl,
}

/// The part of a layout that the kernel needs. `None` when the layout has a shape that the kernel's walk does not know: no
/// chain of frames, or a block that is larger than what is read at once.
pub(crate) fn for_kernel(
    layout: &Layout,
    thread_local_offset: Option<i32>,
    library: CLibrary,
) -> Option<PythonLayout> {
    let mut kernel = PythonLayout {
        runtime_interpreters_head: layout.interpreters_head(),
        interpreter_next: layout.interpreter.next,
        interpreter_threads_head: layout.interpreter.threads_head,
        bytes_size: layout.bytes.size,
        bytes_data: layout.bytes.data,
        object_type: layout.code.ob_type,
        type_name: layout.type_object.name,
        type_flags: layout.type_object.flags,
        tuple_items: layout.tuple.items,
        line_table_kind: line_table_number(layout.line_table),
        flags: flags(layout, library),
        thread_state_tls: thread_local_offset.unwrap_or(0),
        ..PythonLayout::default()
    };
    // A key without its Py_tss_t at the usual places would be read wrongly.
    let tss = layout
        .tss
        .filter(|tss| (tss.is_initialized, tss.key) == (0, 4));
    kernel.runtime_auto_tss_key = tss
        .and(layout.runtime)
        .and_then(|runtime| runtime.auto_tss_key)
        .unwrap_or(0);
    set_thread_state(layout, &mut kernel);
    set_frame(layout, &mut kernel)?;
    set_code(layout, &mut kernel);
    set_text(layout, &mut kernel);
    let fits = usize::from(kernel.code_size) <= limit::CODE_BLOCK_BYTES
        && usize::from(kernel.frame_size) <= limit::FRAME_BLOCK_BYTES;
    fits.then_some(kernel)
}

/// The kind of a line table as a number that the kernel passes on.
const fn line_table_number(kind: LineTableKind) -> u16 {
    match kind {
        LineTableKind::LnotabUnsigned => LINE_TABLE_LNOTAB_UNSIGNED,
        LineTableKind::LnotabSigned => LINE_TABLE_LNOTAB,
        LineTableKind::Ranges => LINE_TABLE_RANGES,
        LineTableKind::Locations => LINE_TABLE_LOCATIONS,
    }
}

/// The kind that a number stands for.
pub(crate) fn line_table_kind(number: u32) -> Option<LineTableKind> {
    Some(match u16::try_from(number).ok()? {
        LINE_TABLE_LNOTAB_UNSIGNED => LineTableKind::LnotabUnsigned,
        LINE_TABLE_LNOTAB => LineTableKind::LnotabSigned,
        LINE_TABLE_RANGES => LineTableKind::Ranges,
        LINE_TABLE_LOCATIONS => LineTableKind::Locations,
        _ => return None,
    })
}

fn flags(layout: &Layout, library: CLibrary) -> u32 {
    let set = [
        (LAYOUT_CFRAME, layout.cframe.is_some()),
        (LAYOUT_CFRAME_PER_RUN, layout.frame.is_entry.is_some()),
        (LAYOUT_GLIBC_KEYS, library == CLibrary::Glibc),
        (LAYOUT_MUSL_KEYS, library == CLibrary::Musl),
        (LAYOUT_CALL_PER_FRAME, layout.has_call_per_frame()),
        (LAYOUT_BYTE_STRINGS, layout.unicode.is_none()),
        (LAYOUT_BACK_LINKS, layout.thread_state.prev.is_some()),
    ];
    set.into_iter()
        .filter(|(_, is_set)| *is_set)
        .fold(0, |flags, (flag, _)| flags | flag)
}

fn set_thread_state(layout: &Layout, kernel: &mut PythonLayout) {
    let fields = &layout.thread_state;
    kernel.thread_previous = fields.prev.unwrap_or(0);
    kernel.thread_next = fields.next;
    kernel.thread_interpreter = fields.interp;
    kernel.thread_id = fields.thread_id;
    kernel.thread_cframe = fields.cframe.unwrap_or(0);
    kernel.thread_root_cframe = fields.root_cframe.unwrap_or(0);
    kernel.thread_base_frame = fields.base_frame.unwrap_or(0);
    if let Some(cframe) = layout.cframe {
        kernel.cframe_current_frame = cframe.current_frame.unwrap_or(0);
        kernel.cframe_previous = cframe.previous;
    }
}

/// `None` without a way to the first frame, or without the place in a frame's code.
fn set_frame(layout: &Layout, kernel: &mut PythonLayout) -> Option<()> {
    let fields = &layout.frame;
    let first_frame = layout
        .thread_state
        .frame
        .or(layout.thread_state.current_frame);
    let through_cframe = layout.cframe.and_then(|cframe| cframe.current_frame);
    kernel.thread_frame = match first_frame {
        Some(offset) => offset,
        None => through_cframe.map(|_| 0)?,
    };
    kernel.frame_size = fields.size();
    kernel.frame_code = fields.code;
    kernel.frame_previous = fields.previous;
    kernel.frame_instruction = fields.last_instruction.or(fields.instruction_pointer)?;
    kernel.frame_owner = fields.owner.unwrap_or(0);
    kernel.frame_is_entry = fields.is_entry.unwrap_or(0);
    kernel.frame_stack_top = fields.stack_top.unwrap_or(0);
    kernel.entry_owner = fields.entry_owner.map_or(u16::from(u8::MAX), u16::from);
    kernel.frame_copy = fields.tlbc_index.unwrap_or(0);
    kernel.frame_locals = fields.locals;
    Some(())
}

fn set_code(layout: &Layout, kernel: &mut PythonLayout) {
    let fields = &layout.code;
    // Up to the instructions where these are inline: every field that is read lies before them.
    kernel.code_size = fields.size();
    kernel.code_first_line = fields.first_line;
    kernel.code_filename = fields.filename;
    kernel.code_qualname = fields.qualname.unwrap_or(fields.name);
    kernel.code_name = fields.name;
    kernel.code_line_table = fields.line_table;
    kernel.code_instructions = fields.instructions.unwrap_or(0);
    kernel.code_copies = fields.tlbc.unwrap_or(0);
    kernel.code_version = fields.version.unwrap_or(0);
    kernel.code_argument_count = fields.argument_count.unwrap_or(0);
    kernel.code_local_count = fields.local_count.unwrap_or(0);
    kernel.code_variable_names = fields.variable_names.unwrap_or(0);
    kernel.code_cell_names = fields.cell_names.unwrap_or(0);
    kernel.code_flags = fields.flags.unwrap_or(0);
}

fn set_text(layout: &Layout, kernel: &mut PythonLayout) {
    match &layout.unicode {
        Some(fields) => {
            kernel.text_length = fields.length;
            kernel.text_state = fields.state;
            kernel.text_kind_shift = u16::from(fields.kind_shift);
            kernel.text_ascii_data = fields.ascii_data;
            kernel.text_compact_data = fields.compact_data;
        }
        None => {
            kernel.text_length = layout.bytes.size;
            kernel.text_ascii_data = layout.bytes.data;
        }
    }
}

#[cfg(test)]
mod tests {
    use viperf_cpython::{Version, find_layout};

    use super::*;

    #[test]
    fn every_layout_has_a_shape_that_the_kernel_knows() {
        let versions = (6..=15).map(|minor| (3, minor)).chain([(2, 7)]);
        for (major, minor) in versions {
            for free_threaded in [false, true] {
                let version = Version::of_minor(major, minor);
                let Some(layout) = find_layout(version, free_threaded) else {
                    assert!(free_threaded && minor < 13, "{version}");
                    continue;
                };
                let kernel = for_kernel(&layout, None, CLibrary::Glibc).unwrap();
                assert!(kernel.frame_size >= 64 && kernel.frame_size.is_multiple_of(8));
                assert!(kernel.code_size >= 128, "{version}");
                let kind = line_table_kind(kernel.line_table_kind.into());
                assert_eq!(kind, Some(layout.line_table));
            }
        }
    }
}
