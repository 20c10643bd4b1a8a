//! Cython's names: a function of a `.pyx` file is a C function whose name holds its module, class and name.
//!
//! ```text
//! __pyx_pw_6sample_6Native_3method_of      prefix, scopes as LENGTH NAME _, then NUMBER NAME
//! __pyx_f_6sample_6Native_fast             the same without a number, for what was declared with cdef
//! __pyx_Upw_6sample_17hlich_p7b3k          Punycode of the whole, for names beyond ASCII
//! ```
//! <https://github.com/cython/cython/blob/3.1.0/Cython/Compiler/Naming.py>
//! <https://github.com/cython/cython/blob/3.1.0/Cython/Compiler/Symtab.py#L2650>
//!
//! A wrapper (`pw`) unpacks the arguments and calls the implementation (`pf`), which is mostly inlined into it: both
//! have the name of the function.

/// What every name of Cython's begins with.
const PREFIX: &str = "__pyx_";

/// What stands before the scopes, and how the name after them is to be read.
const PREFIXES: [(&str, Kind); 8] = [
    ("pw_", Kind::Wrapper),
    ("pf_", Kind::Function),
    ("gb_", Kind::GeneratorBody),
    ("f_", Kind::Native),
    ("getprop_", Kind::Slot("__get__")),
    ("setprop_", Kind::Slot("__set__")),
    ("tp_new_", Kind::Slot("__new__")),
    ("tp_dealloc_", Kind::Slot("__dealloc__")),
];

const LAMBDA: &str = "__pyx_lambda_funcdef_";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Its name has a number always.
    Wrapper,
    /// Its name has a number, unless it is the first of its scope.
    Function,
    /// Its name is `generator` and a number; that of the function is nowhere.
    GeneratorBody,
    /// Its name has no number.
    Native,
    /// Everything is a scope, and the name is this.
    Slot(&'static str),
}

/// `module.Class.function` for the name of a C function that Cython wrote; `None` for any other.
pub(crate) fn decode_name(symbol: &str) -> Option<String> {
    let mut rest = symbol.strip_prefix(PREFIX)?;
    // One function for each of several types: `__pyx_fuse_0__pyx_pw_…`, `__pyx_fuse_0_1__pyx_f_…`.
    if let Some(fused) = rest.strip_prefix("fuse_") {
        let digits = fused.find(PREFIX).filter(|&at| {
            let numbers = fused.get(..at).unwrap_or_default();
            numbers
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'_')
        })?;
        rest = fused.get(digits..)?.strip_prefix(PREFIX)?;
    }
    let decoded;
    if let Some(encoded) = rest.strip_prefix('U') {
        decoded = decode_beyond_ascii(encoded)?;
        rest = decoded.strip_prefix(PREFIX)?;
    }
    PREFIXES.iter().find_map(|&(prefix, kind)| {
        let path = rest.strip_prefix(prefix)?;
        // A module at least.
        path.starts_with(|first: char| first.is_ascii_digit())
            .then(|| decode_path(path, kind))?
    })
}

fn decode_path(path: &str, kind: Kind) -> Option<String> {
    let mut scopes: Vec<&str> = Vec::new();
    let mut rest = path;
    while let Some((scope, behind)) = split_scope(rest) {
        // `3foo_bar` is number 3 called `foo_bar` rather than `bar` in `foo`, where a number must follow.
        let is_name = kind == Kind::Wrapper && !scopes.is_empty() && !may_be_in_scope(behind);
        if is_name {
            break;
        }
        scopes.push(scope);
        rest = behind;
    }
    let name = match kind {
        Kind::Native => rest,
        Kind::Slot(_) => rest,
        Kind::Wrapper | Kind::Function | Kind::GeneratorBody => {
            rest.trim_start_matches(|first: char| first.is_ascii_digit())
        }
    };
    let is_python = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == '_');
    if scopes.is_empty() || name.is_empty() || !scopes.iter().all(|scope| is_python(scope)) {
        return None;
    }
    let mut full = scopes.join(".");
    full.push('.');
    match name.strip_prefix(LAMBDA) {
        Some(_) => full.push_str("<lambda>"),
        None if kind == Kind::GeneratorBody || name == "genexpr" => {
            full.extend(["<", name, ">"]);
        }
        None => full.push_str(name),
    }
    if let Kind::Slot(slot) = kind {
        full.extend([".", slot]);
    }
    Some(full)
}

/// What follows the scope of a wrapper: a number, or the name of a lambda.
fn may_be_in_scope(rest: &str) -> bool {
    rest.starts_with(|first: char| first.is_ascii_digit()) || rest.starts_with(LAMBDA)
}

/// `6sample_` and what follows it, if that many characters are followed by an underscore and more.
fn split_scope(text: &str) -> Option<(&str, &str)> {
    let name_at = text.find(|c: char| !c.is_ascii_digit())?;
    let length: usize = text.get(..name_at)?.parse().ok()?;
    let behind_digits = text.get(name_at..)?;
    // Lengths count characters.
    let (end, _) = behind_digits.char_indices().nth(length)?;
    let (name, rest) = behind_digits.split_at(end);
    let rest = rest.strip_prefix('_')?;
    (length > 0 && !rest.is_empty()).then_some((name, rest))
}

/// Cython encodes the whole of such a name by Punycode (RFC 3492), and writes its hyphen as an underscore.
fn decode_beyond_ascii(encoded: &str) -> Option<String> {
    const LONGEST: usize = 1000;
    let (basic, deltas) = encoded.rsplit_once('_')?;
    if encoded.len() > LONGEST || !encoded.is_ascii() {
        return None;
    }
    // The prefix, without the `U`, is part of what was encoded.
    let mut text: Vec<char> = PREFIX.chars().chain(basic.chars()).collect();
    let (mut code, mut position, mut bias) = (128_u32, 0_u32, 72_u32);
    let mut digits = deltas.bytes();
    let mut is_first = true;
    while digits.len() > 0 {
        let before = position;
        let (mut weight, mut k) = (1_u32, 36_u32);
        loop {
            let digit = match digits.next()? {
                letter @ b'a'..=b'z' => letter - b'a',
                number @ b'0'..=b'9' => number - b'0' + 26,
                _ => return None,
            };
            let digit = u32::from(digit);
            position = position.checked_add(digit.checked_mul(weight)?)?;
            let threshold = k.saturating_sub(bias).clamp(1, 26);
            if digit < threshold {
                break;
            }
            weight = weight.checked_mul(36 - threshold)?;
            k += 36;
        }
        let length = u32::try_from(text.len()).ok()? + 1;
        bias = adapt(position - before, length, is_first);
        is_first = false;
        code = code.checked_add(position / length)?;
        position %= length;
        text.insert(position as usize, char::from_u32(code)?);
        position += 1;
    }
    Some(text.into_iter().collect())
}

/// RFC 3492, section 6.1.
fn adapt(delta: u32, length: u32, is_first: bool) -> u32 {
    let mut delta = if is_first { delta / 700 } else { delta / 2 };
    delta += delta / length;
    let mut k = 0;
    while delta > 455 {
        delta /= 35;
        k += 36;
    }
    k + 36 * delta / (delta + 38)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that Cython 3.3.1 wrote, beside those of the source.
    const REAL: [(&str, &str); 30] = [
        ("__pyx_pw_6sample_1plain", "sample.plain"),
        ("__pyx_pf_6sample_plain", "sample.plain"),
        ("__pyx_pw_6sample_3second_one", "sample.second_one"),
        ("__pyx_pf_6sample_2second_one", "sample.second_one"),
        (
            "__pyx_pw_6sample_10second_one_1inner_function",
            "sample.second_one.inner_function",
        ),
        (
            "__pyx_pf_6sample_10second_one_inner_function",
            "sample.second_one.inner_function",
        ),
        ("__pyx_pw_6sample_10coroutine", "sample.coroutine"),
        ("__pyx_pw_6sample_7generator", "sample.generator"),
        ("__pyx_gb_6sample_8generator", "sample.<generator>"),
        (
            "__pyx_gb_6sample_7lambdas_3generator2",
            "sample.lambdas.<generator2>",
        ),
        (
            "__pyx_pf_6sample_7lambdas_1genexpr",
            "sample.lambdas.<genexpr>",
        ),
        (
            "__pyx_pw_6sample_7lambdas___pyx_lambda_funcdef_lambda",
            "sample.lambdas.<lambda>",
        ),
        ("__pyx_pw_6sample_6Python_1method", "sample.Python.method"),
        ("__pyx_pf_6sample_6Python_method", "sample.Python.method"),
        (
            "__pyx_pw_6sample_6Native_1__init__",
            "sample.Native.__init__",
        ),
        (
            "__pyx_pf_6sample_6Native___init__",
            "sample.Native.__init__",
        ),
        (
            "__pyx_pw_6sample_6Native_5value_1__get__",
            "sample.Native.value.__get__",
        ),
        (
            "__pyx_pf_6sample_6Native_5value_2__set__",
            "sample.Native.value.__set__",
        ),
        (
            "__pyx_getprop_6sample_6Native_value",
            "sample.Native.value.__get__",
        ),
        (
            "__pyx_pw_6sample_6Native_11_4under",
            "sample.Native._4under",
        ),
        (
            "__pyx_tp_dealloc_6sample_Native",
            "sample.Native.__dealloc__",
        ),
        ("__pyx_f_6sample_6Native_fast", "sample.Native.fast"),
        ("__pyx_f_6sample_native_sum", "sample.native_sum"),
        ("__pyx_fuse_0__pyx_f_6sample_fused_two", "sample.fused_two"),
        (
            "__pyx_fuse_1__pyx_pw_6sample_31fused_one",
            "sample.fused_one",
        ),
        ("__pyx_pw_6sample_25n3_abc_de", "sample.n3_abc_de"),
        ("__pyx_Upw_6sample_17hlich_p7b3k", "sample.häßlich"),
        (
            "__pyx_Upf_3pkg_5sub_2_6mod_3x_16hlich_m5c3q",
            "pkg.sub_2.mod_3x.häßlich",
        ),
        (
            "__pyx_pw_3pkg_5sub_2_6mod_3x_10second_one_1inner_function",
            "pkg.sub_2.mod_3x.second_one.inner_function",
        ),
        ("__pyx_pw_6sample_23__dunder__", "sample.__dunder__"),
    ];

    #[test]
    fn real_names_become_those_of_the_source() {
        for (symbol, name) in REAL {
            assert_eq!(decode_name(symbol).as_deref(), Some(name), "{symbol}");
        }
    }

    #[test]
    fn a_number_that_fits_the_first_word_of_a_name_is_no_scope() {
        assert_eq!(
            decode_name("__pyx_pw_6sample_3foo_bar").as_deref(),
            Some("sample.foo_bar")
        );
    }

    #[test]
    fn other_names_of_cython_and_broken_ones_are_left_alone() {
        for symbol in [
            "__pyx_find_code_object",
            "__pyx_pymod_exec_sample",
            "__Pyx_PyObject_Call",
            "__pyx_f_",
            "__pyx_pw_99999999999999999999sample_1plain",
            "__pyx_pw_0_1plain",
            "__pyx_pw_6sample",
            "__pyx_pw_6sample_1",
            "__pyx_fuse_0",
            "__pyx_fuse_x__pyx_pw_6sample_1plain",
            "__pyx_Upw_6sample_17hlich_!!",
            "__pyx_Upw_6sample_17hlich_9999999999999",
            "__pyx_U",
        ] {
            assert_eq!(decode_name(symbol), None, "{symbol}");
        }
    }
}
