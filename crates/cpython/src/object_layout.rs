//! Where a CPython version keeps the members of its objects: dicts, modules, numbers, functions, classes.
//!
//! What is read while a process runs to name things, and by user space only. As with [`Layout`], the numbers are data:
//! one TOML file per version and build under `object-layouts/`, its tables named after CPython's structs and its keys
//! after their members. Every value is an offset in bytes from the start of the struct, unless its documentation says
//! otherwise.

use include_dir::{Dir, include_dir};
use serde::Deserialize;

use crate::Layout;

/// Every file: a new version needs a file there and nothing else.
static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/object-layouts");

/// The objects of one CPython version and build, x86-64.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectLayout {
    major: u8,
    minor: u8,
    #[serde(default)]
    free_threaded: bool,
    #[serde(rename = "PyInterpreterState")]
    pub(crate) interpreter: InterpreterMembers,
    #[serde(rename = "PyVarObject")]
    pub(crate) var: VarMembers,
    #[serde(rename = "PyTypeObject")]
    pub(crate) type_object: TypeMembers,
    /// From 3.11 on.
    #[serde(rename = "PyHeapTypeObject")]
    pub(crate) heap_type: Option<HeapTypeMembers>,
    /// From 3.11 on.
    pub(crate) managed_dict: Option<ManagedDict>,
    #[serde(rename = "PyDictObject")]
    pub(crate) dict: DictMembers,
    /// From 3.6 on.
    #[serde(rename = "PyDictKeysObject")]
    pub(crate) keys: Option<KeysMembers>,
    /// From 3.6 on.
    #[serde(rename = "PyDictValues")]
    pub(crate) values: Option<ValuesMembers>,
    #[serde(rename = "PyModuleObject")]
    pub(crate) module: ModuleMembers,
    /// 2.7.
    #[serde(rename = "PyIntObject")]
    pub(crate) int: Option<IntMembers>,
    #[serde(rename = "PyLongObject")]
    pub(crate) long: LongMembers,
    /// 2.7; what 3 calls `str` is in [`Layout`].
    #[serde(rename = "PyUnicodeObject")]
    pub(crate) unicode: Option<UnicodeMembers>,
    /// From 3.11 on.
    #[serde(rename = "PyCodeObject")]
    pub(crate) code: Option<CodeMembers>,
    /// Up to 3.10, as are those below: from 3.11 on code objects have qualified names of their own.
    #[serde(rename = "PyFunctionObject")]
    pub(crate) function: Option<FunctionMembers>,
    #[serde(rename = "classmethod")]
    pub(crate) class_method: Option<ClassMethodMembers>,
    #[serde(rename = "staticmethod")]
    pub(crate) static_method: Option<StaticMethodMembers>,
    #[serde(rename = "propertyobject")]
    pub(crate) property: Option<PropertyMembers>,
    #[serde(rename = "PyCellObject")]
    pub(crate) cell: Option<CellMembers>,
    /// 2.7: classes without `object` among their bases.
    #[serde(rename = "PyClassObject")]
    pub(crate) old_style_class: Option<OldStyleClassMembers>,
    #[serde(rename = "_Py_DebugOffsets")]
    debug_offsets: Option<DebugOffsetsEntries>,
}

impl ObjectLayout {
    /// Takes what the interpreter says of itself in the table at the start of its `_PyRuntime` (3.13 and later), of
    /// which `runtime_bytes` are a copy.
    ///
    /// Whether the table is one, and of this version, is for the caller to know, who has it from
    /// [`parse_debug_offsets`](crate::parse_debug_offsets). An entry that cannot be right changes nothing.
    #[must_use]
    pub fn with_debug_offsets(mut self, runtime_bytes: &[u8]) -> Self {
        let entry = self.debug_offsets.as_ref().and_then(|entries| {
            let bytes = runtime_bytes.get(usize::from(entries.imports_modules)..)?;
            u64::from_le_bytes(*bytes.first_chunk()?).try_into().ok()
        });
        if let Some(modules) = entry.filter(|offset: &u16| offset.is_multiple_of(8)) {
            self.interpreter.modules = modules;
        }
        self
    }
}

/// Finds the layout of the objects of the version and build that `layout` is for.
#[must_use]
pub fn find_object_layout(layout: &Layout) -> Option<ObjectLayout> {
    let suffix = if layout.free_threaded { "t" } else { "" };
    let name = format!("{}.{}{suffix}.toml", layout.major, layout.minor);
    // A test parses every embedded file.
    toml::from_str(FILES.get_file(name)?.contents_utf8()?).ok()
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InterpreterMembers {
    /// `sys.modules`, a `dict`.
    pub(crate) modules: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VarMembers {
    /// Signed 64-bit number of items, in tuples.
    #[serde(rename = "ob_size")]
    pub(crate) size: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TypeMembers {
    /// 64 bits: size of an instance, after which inline values start.
    #[serde(rename = "tp_basicsize")]
    pub(crate) basic_size: u16,
    /// Signed 64 bits: where instances keep the pointer to their dict; 0 for none, below 0 elsewhere.
    #[serde(rename = "tp_dictoffset")]
    pub(crate) dict_offset: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeapTypeMembers {
    /// The keys that all instances share.
    #[serde(rename = "ht_cached_keys")]
    pub(crate) cached_keys: u16,
}

/// Where instances of classes with bit 4 of `tp_flags` keep their attributes.
/// The offsets are from the instance's start.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum ManagedDict {
    /// 3.11: a pointer to the values, or NULL; then the pointer to the dict holds.
    TwoPointers { dict: i16, values: i16 },
    /// 3.12: a pointer to the dict, or one below a pointer to the values, and odd thereby.
    Tagged { dict_or_values: i16 },
    /// 3.13 and later: a pointer to the dict, or NULL; then the values follow the members of the instance, if bit 2
    /// of `tp_flags` says so and their byte `valid` is not 0.
    Inline { dict: i16, valid: u16 },
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum DictMembers {
    /// 2.7: an open hash table, each slot three words: hash, key, value.
    Table(TableMembers),
    /// 3.6 and later: keys, and values of their own where several dicts share the keys.
    Keys(SharedDictMembers),
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableMembers {
    /// Number of slots less one.
    #[serde(rename = "ma_mask")]
    pub(crate) mask: u16,
    /// Pointer to the slots.
    #[serde(rename = "ma_table")]
    pub(crate) table: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SharedDictMembers {
    /// Pointer to the keys.
    #[serde(rename = "ma_keys")]
    pub(crate) keys: u16,
    /// Pointer to the values, or NULL if they stand beside the keys.
    #[serde(rename = "ma_values")]
    pub(crate) values: u16,
}

/// The keys of a dict: a header, the table of indices, then the entries in the order in which they were inserted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeysMembers {
    /// Up to 3.10: number of slots of the table of indices, each of as few bytes as can count them.
    #[serde(rename = "dk_size")]
    pub(crate) size: Option<u16>,
    /// From 3.11 on: a byte, the table of indices has two to the power of it bytes.
    #[serde(rename = "dk_log2_index_bytes")]
    pub(crate) log2_index_bytes: Option<u16>,
    /// From 3.11 on: a byte, 0 if entries have their hash before key and value.
    #[serde(rename = "dk_kind")]
    pub(crate) kind: Option<u16>,
    /// Signed 64-bit number of entries, deleted ones too.
    #[serde(rename = "dk_nentries")]
    pub(crate) entry_count: u16,
    /// The table of indices starts here.
    #[serde(rename = "dk_indices")]
    pub(crate) indices: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ValuesMembers {
    /// The values, in the order of the keys' entries.
    pub(crate) values: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModuleMembers {
    /// The module's globals, a `dict`.
    #[serde(rename = "md_dict")]
    pub(crate) dict: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IntMembers {
    /// Signed 64-bit value.
    #[serde(rename = "ob_ival")]
    pub(crate) value: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnicodeMembers {
    /// Signed 64-bit number of characters; of a build with two bytes for each, of UTF-16 units.
    pub(crate) length: u16,
    /// Pointer to the characters.
    #[serde(rename = "str")]
    pub(crate) characters: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LongMembers {
    /// Up to 3.11: signed 64-bit number of digits, below 0 for numbers below 0.
    #[serde(rename = "ob_size")]
    pub(crate) size: Option<u16>,
    /// From 3.12 on: 64 bits, the number of digits shifted left by 3, and 0 in the lowest two bits for numbers above
    /// 0.
    #[serde(rename = "lv_tag")]
    pub(crate) tag: Option<u16>,
    /// The digits, 30 bits in 32 each, lowest first.
    #[serde(rename = "ob_digit")]
    pub(crate) digits: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeMembers {
    /// A `tuple` of the names of local variables, cells and free variables.
    #[serde(rename = "co_localsplusnames")]
    pub(crate) names: u16,
    /// `bytes`, which of these each of them is.
    #[serde(rename = "co_localspluskinds")]
    pub(crate) kinds: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FunctionMembers {
    /// The `PyCodeObject *`.
    #[serde(rename = "func_code")]
    pub(crate) code: u16,
    /// A `tuple` of cells, or NULL.
    #[serde(rename = "func_closure")]
    pub(crate) closure: u16,
    /// A `str`; `None` in 2.7.
    #[serde(rename = "func_qualname")]
    pub(crate) qualname: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClassMethodMembers {
    #[serde(rename = "cm_callable")]
    pub(crate) callable: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StaticMethodMembers {
    #[serde(rename = "sm_callable")]
    pub(crate) callable: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PropertyMembers {
    #[serde(rename = "prop_get")]
    pub(crate) get: u16,
    #[serde(rename = "prop_set")]
    pub(crate) set: u16,
    #[serde(rename = "prop_del")]
    pub(crate) delete: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CellMembers {
    /// What the cell holds, or NULL.
    #[serde(rename = "ob_ref")]
    pub(crate) contents: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OldStyleClassMembers {
    /// A `tuple` of classes.
    #[serde(rename = "cl_bases")]
    pub(crate) bases: u16,
    /// The class's own `dict`.
    #[serde(rename = "cl_dict")]
    pub(crate) dict: u16,
    /// A byte string.
    #[serde(rename = "cl_name")]
    pub(crate) name: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct DebugOffsetsEntries {
    #[serde(rename = "interpreter_state.imports_modules")]
    imports_modules: u16,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout;

    #[test]
    fn every_file_parses_and_is_for_the_version_it_is_named_after() {
        for file in FILES.files() {
            let text = file.contents_utf8().unwrap();
            let layout: ObjectLayout = toml::from_str(text)
                .unwrap_or_else(|error| panic!("{}: {error}", file.path().display()));
            let suffix = if layout.free_threaded { "t" } else { "" };
            let name = format!("{}.{}{suffix}.toml", layout.major, layout.minor);
            assert_eq!(file.path().to_str(), Some(name.as_str()));
        }
    }

    #[test]
    fn every_layout_has_its_objects() {
        let versions = [
            (2, 7),
            (3, 6),
            (3, 7),
            (3, 8),
            (3, 9),
            (3, 10),
            (3, 11),
            (3, 12),
            (3, 13),
            (3, 14),
            (3, 15),
        ];
        let threaded = [(3, 13, true), (3, 14, true), (3, 15, true)];
        let builds = versions
            .into_iter()
            .map(|(major, minor)| (major, minor, false))
            .chain(threaded);
        for (major, minor, free_threaded) in builds {
            let hex = u32::from_be_bytes([major, minor, 0, 0xf0]);
            let layout = layout::find_layout(crate::Version { hex }, free_threaded).unwrap();
            let objects = find_object_layout(&layout).unwrap();
            assert_eq!((objects.major, objects.minor), (major, minor));
            assert_eq!(
                objects.function.is_some(),
                layout.code.qualname.is_none(),
                "{major}.{minor}"
            );
            assert_eq!(
                objects.debug_offsets.is_some(),
                (major, minor) >= (3, 13),
                "{major}.{minor}"
            );
        }
    }

    #[test]
    fn what_the_interpreter_says_of_itself_wins_if_it_can_be_right() {
        let layout = layout::find_layout(crate::Version { hex: 0x030d_00f0 }, false).unwrap();
        let objects = find_object_layout(&layout).unwrap();
        let modules = |value: u64| {
            let mut table = vec![0; 584];
            table[88..96].copy_from_slice(&value.to_le_bytes());
            objects
                .clone()
                .with_debug_offsets(&table)
                .interpreter
                .modules
        };
        assert_eq!(modules(8000), 8000);
        assert_eq!(modules(8001), 7656);
        assert_eq!(modules(1 << 20), 7656);
        assert_eq!(objects.clone().with_debug_offsets(&[0; 90]), objects);
    }
}
