macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $c_name:literal, $text:literal, $explanation:literal;)*) => {
        /// Why a stack is incomplete. Thousands name the stage: 1 native walk, 2 Python walk, 3 merge, 4 process.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Reason { $($(#[$doc])* #[doc = $explanation] $name = $code,)* }

        impl Reason {
            /// Every reason, in the order of its code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The reason of a code that came from the kernel.
            #[must_use]
            pub fn from_code(code: u16) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            /// The enumerator's name in C.
            #[must_use]
            pub fn c_name(self) -> &'static str {
                match self { $(Self::$name => $c_name,)* }
            }

            /// A few words, as the frame in a stack and the key of a count show them.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// One or two sentences: what happened, and what can be done.
            #[must_use]
            pub fn explanation(self) -> &'static str {
                match self { $(Self::$name => $explanation,)* }
            }
        }
    };
}

reasons! {
    NativeNoMapping = 1001, "REASON_NATIVE_NO_MAPPING", "native: unknown mapping",
        "A return address lies in no executable mapping that was known at that moment; the first sample after a library is loaded can meet it.";
    NativeNoTable = 1002, "REASON_NATIVE_NO_TABLE", "native: no unwind table",
        "The address lies in memory without unwind tables: code made at run time, or a library whose table could not be read.";
    NativeNoRow = 1003, "REASON_NATIVE_NO_ROW", "native: no unwind row",
        "The library has unwind tables, but none for this address; assembly without unwind directives is the usual cause.";
    NativeUnsupportedRule = 1004, "REASON_NATIVE_UNSUPPORTED_RULE", "native: unsupported unwind rule",
        "The library describes this address by an expression that viperf does not evaluate.";
    NativeUnreadable = 1005, "REASON_NATIVE_UNREADABLE", "native: unreadable stack",
        "A word of the native stack could not be read, because its page was not resident or the stack pointer was wrong.";
    NativeNotAscending = 1006, "REASON_NATIVE_NOT_ASCENDING", "native: frames do not ascend",
        "The next frame would lie below the one it called; the walk stops instead of going in circles.";
    NativeRegisterLost = 1007, "REASON_NATIVE_REGISTER_LOST", "native: register not known",
        "The frame is found by a register whose value cannot be known at this depth.";
    NativeTooDeep = 1008, "REASON_NATIVE_TOO_DEEP", "native: too many frames",
        "The stack has more native frames than one sample holds; the frames nearest the leaf are kept.";
    PythonUnreadable = 2001, "REASON_PYTHON_UNREADABLE", "python: unreadable frame",
        "A Python frame could not be read, because its page was not resident or the chain was being changed.";
    PythonNotCode = 2002, "REASON_PYTHON_NOT_CODE", "python: not a code object",
        "A frame points to something that is not a code object; the chain was sampled while it was being changed.";
    PythonTooDeep = 2003, "REASON_PYTHON_TOO_DEEP", "python: too many frames",
        "The stack has more Python frames than one sample holds; the frames nearest the leaf are kept.";
    PythonNoThreadState = 2004, "REASON_PYTHON_NO_THREAD_STATE", "python: no thread state",
        "The interpreter's record of this thread could not be found or did not prove itself.";
    PythonCodeLost = 2005, "REASON_PYTHON_CODE_LOST", "python: name not read",
        "The function's name could not be read: its page was not resident, or the record that carried it was lost.";
    PythonCutOff = 2006, "REASON_PYTHON_CUT_OFF", "python: chain without its end",
        "The chain of Python frames and the interpreter's own count of calls from C do not fit; it was sampled while it was being changed.";
    MergeNoOwner = 3001, "REASON_MERGE_NO_OWNER", "merge: no native frame for Python frames",
        "A run of Python frames found no native frame that runs it; they are shown below the last native frame that was found.";
    ProcessNotRead = 4001, "REASON_PROCESS_NOT_READ", "process: not read yet",
        "The process had just started and its mappings were not known yet.";
}
