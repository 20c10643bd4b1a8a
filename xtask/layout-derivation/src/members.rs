//! What a layout file holds, and what each number is called in C.
//!
//! One entry per key, with the versions that have it: a key that a version should have and its debug information
//! has not is reported as missing.

/// Major and minor version.
pub(crate) type Minor = (u8, u8);

const FIRST: Minor = (0, 0);
const LAST: Minor = (u8::MAX, u8::MAX);

/// Where a number comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// The offset of a member of the table's struct: its C names, of which the first that exists counts.
    Member(&'static [&'static str]),
    /// The offset of a member of another struct.
    MemberOf(&'static str, &'static str),
    /// The size of a struct.
    Size(&'static str),
    /// The number of a bit field's lowest bit, counted from the start of the member that it is in.
    LowestBit(&'static str, &'static str),
    /// The mask of a bit field, shifted down to bit 0.
    Mask(&'static str, &'static str),
    /// The value of an enumerator.
    Enumerator(&'static str),
}

/// One line of a layout file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) source: Source,
    pub(crate) since: Minor,
    pub(crate) until: Minor,
    pub(crate) is_free_threaded_only: bool,
    /// A comment behind the number.
    pub(crate) note: &'static str,
    /// A comment on a line of its own.
    pub(crate) above: &'static str,
}

/// One table of a layout file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableOfKeys {
    pub(crate) name: &'static str,
    pub(crate) structure: &'static str,
    pub(crate) since: Minor,
    pub(crate) until: Minor,
    pub(crate) is_with_gil_only: bool,
    /// A comment on a line of its own.
    pub(crate) note: &'static str,
    pub(crate) keys: &'static [Key],
}

/// A key whose member has the same name.
const fn same(name: &'static str) -> Key {
    Key {
        name,
        source: Source::Member(&[]),
        since: FIRST,
        until: LAST,
        is_free_threaded_only: false,
        note: "",
        above: "",
    }
}

const fn from(name: &'static str, members: &'static [&'static str]) -> Key {
    other(name, Source::Member(members))
}

const fn other(name: &'static str, source: Source) -> Key {
    Key {
        source,
        ..same(name)
    }
}

impl Key {
    const fn since(self, since: Minor) -> Self {
        Self { since, ..self }
    }

    const fn until(self, until: Minor) -> Self {
        Self { until, ..self }
    }

    const fn free_threaded(self) -> Self {
        Self {
            is_free_threaded_only: true,
            ..self
        }
    }

    const fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    const fn above(self, above: &'static str) -> Self {
        Self { above, ..self }
    }
}

const fn table(name: &'static str, keys: &'static [Key]) -> TableOfKeys {
    TableOfKeys {
        name,
        structure: name,
        since: FIRST,
        until: LAST,
        is_with_gil_only: false,
        note: "",
        keys,
    }
}

impl TableOfKeys {
    const fn since(self, since: Minor) -> Self {
        Self { since, ..self }
    }

    const fn until(self, until: Minor) -> Self {
        Self { until, ..self }
    }

    const fn of(self, structure: &'static str) -> Self {
        Self { structure, ..self }
    }

    const fn with_gil(self) -> Self {
        Self {
            is_with_gil_only: true,
            ..self
        }
    }

    const fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }
}

/// Every table of a layout file in its order.
pub(crate) const TABLES: &[TableOfKeys] = &[
    table(
        "_gil_runtime_state",
        &[
            same("last_holder"),
            same("locked"),
            other(
                "in_runtime",
                Source::MemberOf("_PyRuntimeState", "ceval.gil"),
            )
            .until((3, 11))
            .note("_PyRuntimeState.ceval.gil"),
            other(
                "in_interpreter",
                Source::MemberOf("PyInterpreterState", "ceval.gil"),
            )
            .since((3, 12))
            .note("PyInterpreterState.ceval.gil"),
        ],
    )
    .since((3, 7))
    .with_gil(),
    table(
        "_PyRuntimeState",
        &[
            from("interpreters_head", &["interpreters.head"]),
            from("autoTSSkey", &["autoTSSkey", "gilstate.autoTSSkey"]).until((3, 14)),
        ],
    )
    .since((3, 7)),
    table("Py_tss_t", &[same("_is_initialized"), same("_key")])
        .since((3, 7))
        .until((3, 14)),
    table(
        "PyInterpreterState",
        &[
            same("next"),
            from("threads_head", &["threads.head", "tstate_head"]),
        ],
    ),
    table("PyThreadState", THREAD_STATE),
    table("CFrame", &[same("previous")])
        .since((3, 10))
        .until((3, 10)),
    table("_PyCFrame", &[same("current_frame"), same("previous")])
        .since((3, 11))
        .until((3, 12)),
    table(
        "PyFrameObject",
        &[
            same("f_code"),
            same("f_back"),
            same("f_stacktop")
                .since((3, 9))
                .until((3, 9))
                .note("while no eval call runs the frame"),
            same("f_stackdepth")
                .since((3, 10))
                .note("while no eval call runs the frame"),
            same("f_lasti").until((3, 9)).note("in bytes"),
            same("f_lasti")
                .since((3, 10))
                .note("in units of two bytes"),
            same("f_localsplus"),
        ],
    )
    .until((3, 10)),
    table("_PyInterpreterFrame", INTERPRETER_FRAME).since((3, 11)),
    table("PyCodeObject", CODE_OBJECT),
    table("PyUnicodeObject", UNICODE_OBJECT)
        .of("PyASCIIObject")
        .since((3, 3)),
    table("PyBytesObject", &[same("ob_size"), same("ob_sval")])
        .of("PyStringObject")
        .until((2, 7))
        .note("PyStringObject, of which names are made in 2.7."),
    table("PyBytesObject", &[same("ob_size"), same("ob_sval")]).since((3, 0)),
    table(
        "PyTypeObject",
        &[
            same("tp_name"),
            same("tp_flags"),
            same("tp_dict"),
            same("tp_mro"),
        ],
    ),
    table("PyTupleObject", &[same("ob_item")]),
    table("_Py_DebugOffsets", DEBUG_OFFSETS)
        .since((3, 13))
        .note(
            "Where the table at the start of `_PyRuntime` keeps each 64-bit entry; the table's shape differs per \
             minor version.",
        ),
];

const THREAD_STATE: &[Key] = &[
    same("state").since((3, 13)).free_threaded(),
    same("prev").since((3, 0)),
    same("next"),
    same("interp"),
    same("thread_id"),
    same("native_thread_id").since((3, 11)),
    same("frame").until((3, 10)),
    same("cframe").since((3, 10)).until((3, 12)),
    same("root_cframe").since((3, 10)).until((3, 12)),
    same("current_frame").since((3, 13)),
    same("base_frame").since((3, 15)),
];

const INTERPRETER_FRAME: &[Key] = &[
    same("f_code").until((3, 12)),
    same("f_executable").since((3, 13)),
    same("previous"),
    same("prev_instr").until((3, 12)),
    same("instr_ptr").since((3, 13)),
    same("owner"),
    same("is_entry").until((3, 11)),
    other("entry_owner", Source::Enumerator("FRAME_OWNED_BY_CSTACK"))
        .since((3, 12))
        .until((3, 13))
        .note("a value of `owner`, no offset: FRAME_OWNED_BY_CSTACK"),
    other(
        "entry_owner",
        Source::Enumerator("FRAME_OWNED_BY_INTERPRETER"),
    )
    .since((3, 14))
    .note("a value of `owner`, no offset: FRAME_OWNED_BY_INTERPRETER"),
    same("tlbc_index").since((3, 14)).free_threaded(),
    same("localsplus"),
];

const CODE_OBJECT: &[Key] = &[
    same("ob_type"),
    same("ob_size").since((3, 11)),
    same("co_argcount").until((3, 10)),
    same("co_nlocals").until((3, 10)),
    same("co_flags").since((3, 9)).until((3, 10)),
    same("co_varnames").until((3, 10)),
    same("co_cellvars").until((3, 10)),
    same("co_version").since((3, 12)),
    same("co_firstlineno"),
    same("co_filename"),
    same("co_name"),
    same("co_qualname").since((3, 11)),
    same("co_lnotab").until((3, 9)),
    same("co_linetable").since((3, 10)),
    same("_co_firsttraceable").since((3, 11)),
    same("co_tlbc").since((3, 14)).free_threaded(),
    same("co_code_adaptive").since((3, 11)),
    other("sizeof", Source::Size("PyCodeObject"))
        .until((3, 10))
        .note("bytes of the whole struct"),
];

const UNICODE_OBJECT: &[Key] = &[
    same("length"),
    same("state"),
    other("ascii_data", Source::Size("PyASCIIObject")).note("sizeof(PyASCIIObject)"),
    other("compact_data", Source::Size("PyCompactUnicodeObject"))
        .note("sizeof(PyCompactUnicodeObject)"),
    other("kind_shift", Source::LowestBit("state", "kind")).above(
        "Bits of the 32-bit word `state`: (state >> kind_shift) & kind_mask is 1, 2 or 4 bytes per character.",
    ),
    other("kind_mask", Source::Mask("state", "kind")),
    other("compact_bit", Source::LowestBit("state", "compact")),
    other("ascii_bit", Source::LowestBit("state", "ascii")),
];

/// The entries that are read, and the sizes that they are checked against.
const DEBUG_OFFSETS: &[Key] = &[
    same("runtime_state.size"),
    same("runtime_state.interpreters_head"),
    same("interpreter_state.size"),
    same("interpreter_state.next"),
    same("interpreter_state.threads_head"),
    same("thread_state.size"),
    same("thread_state.prev"),
    same("thread_state.next"),
    same("thread_state.interp"),
    same("thread_state.current_frame"),
    same("thread_state.base_frame").since((3, 15)),
    same("thread_state.thread_id"),
    same("thread_state.native_thread_id"),
    same("interpreter_frame.size"),
    same("interpreter_frame.previous"),
    same("interpreter_frame.executable"),
    same("interpreter_frame.instr_ptr"),
    same("interpreter_frame.localsplus"),
    same("interpreter_frame.owner"),
    same("interpreter_frame.tlbc_index")
        .since((3, 14))
        .free_threaded(),
    same("code_object.size"),
    same("code_object.filename"),
    same("code_object.name"),
    same("code_object.qualname"),
    same("code_object.linetable"),
    same("code_object.firstlineno"),
    same("code_object.co_code_adaptive"),
    same("code_object.co_tlbc").since((3, 14)).free_threaded(),
    same("pyobject.size"),
    same("pyobject.ob_type"),
    same("type_object.size"),
    same("type_object.tp_name"),
    same("type_object.tp_flags"),
    same("tuple_object.size"),
    same("tuple_object.ob_item"),
    same("bytes_object.size"),
    same("bytes_object.ob_size"),
    same("bytes_object.ob_sval"),
    same("unicode_object.size"),
    same("unicode_object.state"),
    same("unicode_object.length"),
    same("unicode_object.asciiobject_size"),
    same("unicode_object.compactunicodeobject_size").since((3, 15)),
];
