//! Walks over images, as text.

use std::collections::HashMap;

use viperf_abi::{CodeText, Word, limit};
use viperf_cpython::text;
use viperf_host_walk::{Definition, Thread, Walk, Walker};

use crate::image::{FSBASE, Image, Stack};

/// More reads than any walk may take: 4,096 threads, 10,000 steps of the walk, 256 definitions.
pub(crate) const MOST_READS: u32 = 80_000;

/// The most words of a walk: with a mark for those left out, and a reason at the end.
pub(crate) const MOST_WORDS: usize = limit::LEAFMOST_PYTHON + 1 + limit::ROOTMOST;

/// A walker, and what it has said of code objects so far.
#[derive(Default)]
pub(crate) struct Session {
    pub(crate) walker: Walker,
    pub(crate) names: HashMap<u32, String>,
}

impl Session {
    /// Walks and remembers names; checks what holds for every walk.
    pub(crate) fn walk(
        &mut self,
        image: &Image,
        thread: &Thread<'_>,
        read_memory: impl FnMut(u64, &mut [u8]) -> bool,
    ) -> Walk {
        let walk = self.walker.walk(&image.process(), thread, read_memory);
        assert!(walk.reads <= MOST_READS, "{} reads", walk.reads);
        for definition in &walk.definitions {
            let name = decode(definition.code.qualname());
            self.names.insert(definition.code.id, name);
        }
        let left_out = walk.words.len() == MOST_WORDS;
        let reasons = walk
            .words
            .iter()
            .enumerate()
            .filter(|(index, _)| !(left_out && *index == limit::LEAFMOST_PYTHON))
            .filter(|(_, word)| matches!(word, Word::Reason(_)));
        let last_is_reason = matches!(walk.words.last(), Some(Word::Reason(_)));
        assert_eq!(
            reasons.count(),
            usize::from(last_is_reason),
            "{:?}",
            walk.words
        );
        walk
    }

    /// Walks the stack of the sampled thread.
    pub(crate) fn walk_stack(&mut self, image: &Image, stack: &Stack) -> Walk {
        let cfas = stack.cfas_leaf_first();
        let thread = Thread {
            fsbase: FSBASE,
            tid: 7,
            sp: stack.sp,
            cfas: &cfas,
            ..Thread::default()
        };
        self.walk(image, &thread, |address, bytes| image.read(address, bytes))
    }

    /// `name+unit` for frames, `@owner` for the ends of runs, `!Reason`.
    pub(crate) fn show(&self, walk: &Walk) -> String {
        let shown = walk.words.iter().map(|word| match word {
            Word::Python { code, unit } => {
                let name = self.names.get(code).map_or("?", String::as_str);
                format!("{name}+{unit}")
            }
            Word::Entry { owner: Some(owner) } => format!("@{owner}"),
            Word::Entry { owner: None } => "@none".to_owned(),
            Word::EntryAddress(address) => format!("@{address:#x}"),
            Word::Reason(Ok(reason)) => format!("!{reason:?}"),
            other => format!("{other:?}"),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn show_stack(&mut self, image: &Image, stack: &Stack) -> String {
        let walk = self.walk_stack(image, stack);
        self.show(&walk)
    }
}

/// The characters of a captured string.
pub(crate) fn decode(captured: CodeText<'_>) -> String {
    let header = captured.header;
    text::decode(header.kind, header.ascii != 0, captured.bytes)
}

/// The definition of the code object of this name.
pub(crate) fn definition<'walk>(walk: &'walk Walk, name: &str) -> &'walk Definition {
    let found = walk
        .definitions
        .iter()
        .find(|one| decode(one.code.qualname()) == name);
    found.unwrap_or_else(|| panic!("no definition of {name}"))
}
