//! Folded stacks, read back: the documented text form and nothing else.

use std::{fmt, num::ParseIntError};

/// What a folded file holds.
#[derive(Debug, Clone, Default)]
pub struct Folded {
    /// One entry per line, in the file's order.
    pub stacks: Vec<Stack>,
}

/// One line of a folded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// `comm (pid)`, or `comm` alone.
    pub process: String,
    /// The thread's element, where there is one.
    pub thread: Option<String>,
    /// Root first.
    pub frames: Vec<Frame>,
    /// How many samples had this stack.
    pub count: u64,
}

/// One frame of a folded line, by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// `qualname (file:line)_[p]`.
    Python {
        /// The function's qualified name.
        qualname: String,
        /// `co_filename`.
        file: String,
        /// The line being executed; none if the text gives none.
        line: Option<u32>,
    },
    /// `symbol (library)_[pn]`, or `[library+0xoffset]_[pn]`, which has no symbol.
    Native {
        /// The function's name.
        symbol: Option<String>,
        /// The library's file name without folders.
        library: String,
    },
    /// `name_[k]`.
    Kernel {
        /// The kernel's function.
        name: String,
    },
    /// `[reason]_[e]`.
    Error {
        /// Why the walk could not go on.
        reason: String,
    },
}

/// A line that is not a folded stack.
#[derive(Debug)]
pub struct FoldedError {
    line: String,
    why: String,
}

impl fmt::Display for FoldedError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "not a folded stack ({}): {}",
            self.why, self.line
        )
    }
}

impl std::error::Error for FoldedError {}

impl Folded {
    /// Reads a whole file's text.
    ///
    /// # Errors
    /// The first line that has no count, no frame, or a frame without a kind after one with a kind.
    pub fn parse(text: &str) -> Result<Self, FoldedError> {
        let stacks = text.lines().map(Stack::parse).collect::<Result<_, _>>()?;
        Ok(Self { stacks })
    }

    /// All samples.
    pub fn total(&self) -> u64 {
        self.stacks.iter().map(|stack| stack.count).sum()
    }

    /// The samples whose stack is as asked.
    pub fn count(&self, wanted: impl Fn(&Stack) -> bool) -> u64 {
        self.only(wanted).total()
    }

    /// The stacks that are as asked.
    pub fn only(&self, wanted: impl Fn(&Stack) -> bool) -> Self {
        Self {
            stacks: self
                .stacks
                .iter()
                .filter(|stack| wanted(stack))
                .cloned()
                .collect(),
        }
    }

    /// `part`'s share of these samples, 0 to 1; 0 of nothing.
    pub fn share(&self, part: u64) -> f64 {
        if self.total() == 0 {
            0.0
        } else {
            part as f64 / self.total() as f64
        }
    }

    /// The heaviest stacks as text, one a line: what a failed test shows.
    pub fn heaviest(&self, most: usize) -> String {
        let mut stacks: Vec<_> = self.stacks.iter().collect();
        stacks.sort_by_key(|stack| std::cmp::Reverse(stack.count));
        stacks
            .iter()
            .take(most)
            .map(|stack| format!("{}\n", shorten(&stack.to_string())))
            .collect()
    }
}

impl Stack {
    fn parse(line: &str) -> Result<Self, FoldedError> {
        let fail = |why: &str| FoldedError {
            line: line.to_owned(),
            why: why.to_owned(),
        };
        let (stack, count) = line.rsplit_once(' ').ok_or_else(|| fail("no count"))?;
        let count = count
            .parse()
            .map_err(|error: ParseIntError| fail(&format!("count: {error}")))?;
        let mut elements = stack.split(';').peekable();
        let process = unescape(elements.next().unwrap_or_default());
        let thread = elements
            .next_if(|element| Frame::parse(element).is_none())
            .map(unescape);
        let frames = elements
            .map(|element| {
                Frame::parse(element).ok_or_else(|| fail(&format!("no kind: {element}")))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            process,
            thread,
            frames,
            count,
        })
    }

    /// The number in `comm (pid)`.
    pub fn pid(&self) -> Option<u32> {
        self.process
            .rsplit_once('(')?
            .1
            .strip_suffix(')')?
            .parse()
            .ok()
    }

    /// The qualified names of the Python frames, root first.
    pub fn python_names(&self) -> Vec<&str> {
        self.frames.iter().filter_map(Frame::qualname).collect()
    }

    /// The Python frame nearest the leaf.
    pub fn innermost_python(&self) -> Option<&Frame> {
        self.frames
            .iter()
            .rev()
            .find(|frame| frame.qualname().is_some())
    }

    /// Where the first Python frame of that name stands, counted from the root.
    pub fn position(&self, qualname: &str) -> Option<usize> {
        self.frames
            .iter()
            .position(|frame| frame.qualname() == Some(qualname))
    }

    /// The frames nearer the leaf than the first Python frame of that name; none if it is not there.
    pub fn under(&self, qualname: &str) -> &[Frame] {
        self.position(qualname)
            .and_then(|at| self.frames.get(at + 1..))
            .unwrap_or_default()
    }

    /// True if it mixes pairs of a caller and the one function that it calls: names of two pairs are in it, or a called
    /// one without its caller before it.
    pub fn mixes(&self, pairs: &[(String, String)]) -> bool {
        let positions = pairs
            .iter()
            .map(|(caller, called)| (self.position(caller), self.position(called)))
            .filter(|(caller, called)| caller.is_some() || called.is_some());
        let positions: Vec<_> = positions.collect();
        let is_alone = |(caller, called): &(Option<usize>, Option<usize>)| {
            called.is_some() && (caller.is_none() || caller > called)
        };
        positions.len() > 1 || positions.iter().any(is_alone)
    }

    /// The frames between the first frames of these names, which are neither; none if they do not stand in this order.
    pub fn between(&self, outer: &str, inner: &str) -> Option<&[Frame]> {
        self.frames
            .get(self.position(outer)? + 1..self.position(inner)?)
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:6} {}", self.count, self.process)?;
        if let Some(thread) = &self.thread {
            write!(formatter, " / {thread}")?;
        }
        self.frames
            .iter()
            .try_for_each(|frame| write!(formatter, " > {frame}"))
    }
}

impl Frame {
    fn parse(element: &str) -> Option<Self> {
        if let Some(text) = element.strip_suffix("_[p]") {
            let (qualname, place) = split_place(text).unwrap_or((text, ""));
            let (file, line) = match place.rsplit_once(':') {
                Some((file, line)) => (file, line.parse().ok()),
                None => (place, None),
            };
            Some(Self::Python {
                qualname: unescape(qualname),
                file: unescape(file),
                line,
            })
        } else if let Some(text) = element.strip_suffix("_[pn]") {
            Some(Self::parse_native(text))
        } else if let Some(text) = element.strip_suffix("_[k]") {
            Some(Self::Kernel {
                name: unescape(text),
            })
        } else {
            let reason = element.strip_suffix("_[e]")?;
            Some(Self::Error {
                reason: reason.trim_matches(['[', ']']).to_owned(),
            })
        }
    }

    fn parse_native(text: &str) -> Self {
        let without_symbol = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        if let Some(place) = without_symbol {
            let library = place
                .rsplit_once("+0x")
                .map_or(place, |(library, _)| library);
            return Self::Native {
                symbol: None,
                library: file_name(library),
            };
        }
        let (symbol, library) = split_place(text).unwrap_or((text, ""));
        Self::Native {
            symbol: Some(unescape(symbol)),
            library: unescape(&file_name(library)),
        }
    }

    /// The Python function's name.
    pub fn qualname(&self) -> Option<&str> {
        match self {
            Self::Python { qualname, .. } => Some(qualname),
            _ => None,
        }
    }

    /// The line of a Python frame.
    pub fn line(&self) -> Option<u32> {
        match self {
            Self::Python { line, .. } => *line,
            _ => None,
        }
    }

    /// A Python frame as `name (file:line)`, which is also right for a name or a file that holds ` (`.
    pub fn python_text(&self) -> Option<String> {
        match self {
            Self::Python {
                qualname,
                file,
                line: Some(line),
            } => Some(format!("{qualname} ({file}:{line})")),
            Self::Python {
                qualname,
                file,
                line: None,
            } => Some(format!("{qualname} ({file})")),
            _ => None,
        }
    }

    /// True for the place where a walk ended early.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error { .. })
    }

    /// The name of a native function.
    pub fn symbol(&self) -> Option<&str> {
        match self {
            Self::Native { symbol, .. } => symbol.as_deref(),
            _ => None,
        }
    }

    /// The file of a native frame.
    pub fn library(&self) -> Option<&str> {
        match self {
            Self::Native { library, .. } => Some(library),
            _ => None,
        }
    }

    /// True for a native frame.
    pub fn is_native(&self) -> bool {
        matches!(self, Self::Native { .. })
    }

    /// True for a native frame that has no symbol.
    pub fn is_nameless(&self) -> bool {
        matches!(self, Self::Native { symbol: None, .. })
    }

    /// True for a kernel frame.
    pub fn is_kernel(&self) -> bool {
        matches!(self, Self::Kernel { .. })
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Python { qualname, line, .. } => {
                write!(formatter, "{qualname}:{}", line.unwrap_or(0))
            }
            Self::Native {
                symbol: Some(symbol),
                library,
            } => write!(formatter, "{symbol}({library})"),
            Self::Native {
                symbol: None,
                library,
            } => write!(formatter, "[{library}]"),
            Self::Kernel { name } => write!(formatter, "k:{name}"),
            Self::Error { reason } => write!(formatter, "!{reason}"),
        }
    }
}

/// The process and the leaf's end of a line that is too long to be read.
fn shorten(line: &str) -> String {
    let frames: Vec<_> = line.split(" > ").collect();
    match frames.as_slice() {
        [process, .., _] if frames.len() > 24 => {
            format!(
                "{process} > … > {}",
                frames[frames.len() - 20..].join(" > ")
            )
        }
        _ => line.to_owned(),
    }
}

/// `name (place)` in two; a C++ name may hold parentheses of its own, so the last pair counts.
fn split_place(text: &str) -> Option<(&str, &str)> {
    let (name, place) = text.rsplit_once(" (")?;
    Some((name, place.strip_suffix(')')?))
}

/// Text as it was before `;`, `\`, ends of lines and control characters in it were written as `\n` or `\u{3b}`.
fn unescape(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text.split('\\');
    whole.push_str(rest.next().unwrap_or_default());
    while let Some(escaped) = rest.next() {
        let mut characters = escaped.chars();
        match characters.next() {
            // Two in a row stand for one; what follows them is not escaped.
            None => {
                whole.push('\\');
                whole.push_str(rest.next().unwrap_or_default());
            }
            Some('n') => whole.extend(['\n'].into_iter().chain(characters)),
            Some('r') => whole.extend(['\r'].into_iter().chain(characters)),
            Some('t') => whole.extend(['\t'].into_iter().chain(characters)),
            Some('u') => match unescape_number(characters.as_str()) {
                Some((character, after)) => {
                    whole.push(character);
                    whole.push_str(after);
                }
                None => whole.push_str(escaped),
            },
            Some(_) => whole.push_str(escaped),
        }
    }
    whole
}

/// `{3b}…` as its character, and what follows it.
fn unescape_number(text: &str) -> Option<(char, &str)> {
    let (number, after) = text.strip_prefix('{')?.split_once('}')?;
    let character = char::from_u32(u32::from_str_radix(number, 16).ok()?)?;
    Some((character, after))
}

fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(line: &str) -> Stack {
        Folded::parse(line).unwrap().stacks.remove(0)
    }

    #[test]
    fn a_caller_above_the_function_of_another_one_is_a_mixture() {
        let pairs = [("hot_a", "leaf_a"), ("hot_b", "leaf_b")];
        let pairs = pairs.map(|(hot, leaf)| (hot.to_owned(), leaf.to_owned()));
        for (names, mixed) in [
            ("main,hot_a,leaf_a", false),
            ("main,hot_b", false),
            ("main", false),
            ("main,hot_a,leaf_b", true),
            ("main,hot_a,hot_b", true),
            ("main,leaf_a", true),
            ("main,leaf_a,hot_a", true),
        ] {
            let frames = names.split(',').map(|name| format!(";{name} (f.py:1)_[p]"));
            let line = format!("python (1){} 1", frames.collect::<String>());
            assert_eq!(stack(&line).mixes(&pairs), mixed, "{names}");
        }
    }

    #[test]
    fn escaped_names_are_read_as_they_were() {
        let stack = stack(
            "a\\u{3b}b (1);two\\nlines\\r\\n\\ttabbed (/a\\u{3b}b/back\\\\n\\\\\\\\u{3b}.py:3)_[p];\\u{7f}end (c.py:4)_[p] 1",
        );
        assert_eq!(stack.process, "a;b (1)");
        let texts: Vec<_> = stack.frames.iter().filter_map(Frame::python_text).collect();
        assert_eq!(
            texts,
            [
                "two\nlines\r\n\ttabbed (/a;b/back\\n\\\\u{3b}.py:3)",
                "\u{7f}end (c.py:4)"
            ]
        );
    }

    #[test]
    fn every_kind_of_frame_is_read() {
        let stack = stack(
            "python3 (12);main (/a b/c.py:7)_[p];deflate (libz.so.1)_[pn];[libz.so.1+0x1f]_[pn];\
             entry_SYSCALL_64_[k];[truncated]_[e] 42",
        );
        assert_eq!(
            (stack.pid(), stack.thread.as_deref(), stack.count),
            (Some(12), None, 42)
        );
        let kinds: Vec<_> = stack.frames.iter().map(ToString::to_string).collect();
        assert_eq!(
            kinds,
            [
                "main:7",
                "deflate(libz.so.1)",
                "[libz.so.1]",
                "k:entry_SYSCALL_64",
                "!truncated"
            ]
        );
    }

    #[test]
    fn a_thread_is_the_element_without_a_kind() {
        let stack = stack("python3 (12);worker (13);f (x.py:1)_[p] 1");
        assert_eq!(
            (stack.thread.as_deref(), stack.frames.len()),
            (Some("worker (13)"), 1)
        );
    }

    #[test]
    fn cpp_names_keep_their_parentheses() {
        let stack = stack("a (1);f<int>(int, (anonymous namespace)::T) (libx.so)_[pn] 1");
        assert_eq!(
            stack.frames[0].symbol(),
            Some("f<int>(int, (anonymous namespace)::T)")
        );
        assert_eq!(stack.frames[0].library(), Some("libx.so"));
    }

    #[test]
    fn order_decides_what_is_between() {
        let stack = stack("a (1);f (x:1)_[p];g (l.so)_[pn];h (x:2)_[p] 1");
        assert_eq!(stack.between("f", "h").map(<[_]>::len), Some(1));
        assert!(stack.between("h", "f").is_none());
        assert_eq!(stack.under("f").len(), 2);
    }

    #[test]
    fn a_line_without_count_is_refused() {
        assert!(Folded::parse("python3 (12);main (x.py:1)_[p]").is_err());
        assert!(
            Folded::parse("python3 (12);main (x.py:1)_[p];nokind;more (x.py:1)_[p] 3").is_err()
        );
    }
}
