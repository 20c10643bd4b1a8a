//! Names of addresses: each is looked up once, those of one file together.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use viperf_symbolize::{KernelSymbol, NativeSymbol, Options};

use super::clerk::{Answer, Clerk, Question, Symbols};
use crate::{
    RecordOptions,
    generated_code::GeneratedNames,
    named_file::NamedFile,
    stacks::{RawFrame, RawStack},
};

/// Every name that the stacks have needed so far.
#[derive(Debug)]
pub(super) struct Names {
    options: Options,
    generating: Arc<GeneratedNames>,
    /// Since the first question.
    clerk: Option<Clerk>,
    asked: Option<Asked>,
    /// By the numbers of executables.
    pub(super) files: HashMap<u32, NamedFile>,
    native: HashMap<u32, Symbols<NativeSymbol>>,
    kernel: Symbols<KernelSymbol>,
    /// So many of files and of the kernel are held before they can be let go.
    most: usize,
    /// By process description. They go with it.
    generated: HashMap<u32, Symbols<NativeSymbol>>,
}

/// How much of the answer has come, in files and the like.
#[derive(Clone, Copy, Debug)]
struct Asked {
    done: usize,
    total: usize,
}

/// The addresses that need a name, each once.
#[derive(Default)]
struct Addresses {
    native: BTreeMap<u32, BTreeSet<u64>>,
    generated: BTreeMap<u32, BTreeSet<u64>>,
    kernel: BTreeSet<u64>,
}

impl Names {
    pub(super) fn new(options: &RecordOptions, generating: Arc<GeneratedNames>) -> Self {
        Self {
            options: Options {
                inlined_functions: options.inlined_functions,
                largest_cache: options.memory_shares().symbols,
                ..Options::default()
            },
            most: options.memory_shares().names,
            generating,
            clerk: None,
            asked: None,
            files: HashMap::new(),
            native: HashMap::new(),
            kernel: HashMap::new(),
            generated: HashMap::new(),
        }
    }

    /// The symbol at an address of an executable.
    pub(super) fn native(&self, executable: u32, svma: u64) -> Option<&NativeSymbol> {
        self.native.get(&executable)?.get(&svma)?.as_ref().ok()
    }

    /// The symbol at an address of the kernel.
    pub(super) fn kernel(&self, address: u64) -> Option<&KernelSymbol> {
        self.kernel.get(&address)?.as_ref().ok()
    }

    /// The symbol at an address of a process that has no file there.
    pub(super) fn generated(&self, process: u32, address: u64) -> Option<&NativeSymbol> {
        self.generated.get(&process)?.get(&address)?.as_ref().ok()
    }

    /// What is new in these stacks.
    pub(super) fn question<'s>(&self, stacks: impl Iterator<Item = &'s RawStack>) -> Question {
        let Addresses {
            native,
            generated,
            kernel,
        } = self.collect(stacks);
        let native = native.into_iter().filter_map(|(number, addresses)| {
            let file = self.files.get(&number)?.clone();
            Some((number, file, addresses.into_iter().collect()))
        });
        let generated = generated.into_iter();
        Question {
            native: native.collect(),
            generated: generated
                .map(|(process, addresses)| (process, addresses.into_iter().collect()))
                .collect(),
            kernel: kernel.into_iter().collect(),
        }
    }

    /// Asks for these names. The answer to the question before has been taken to its end.
    pub(super) fn ask(&mut self, question: Question) {
        let total = question.parts();
        self.asked = Some(Asked { done: 0, total });
        self.clerk
            .get_or_insert_with(|| Clerk::start(&self.options, &self.generating))
            .ask(question);
    }

    /// Takes what has come of the answer until then. How long it has taken once it is whole, `None` while it is not.
    /// `naming` hears of parts done and parts in all.
    pub(super) fn take_answer(
        &mut self,
        until: Option<Instant>,
        naming: &mut dyn FnMut(usize, usize),
    ) -> Option<Duration> {
        let Asked { mut done, total } = self.asked?;
        loop {
            naming(done, total);
            match self.clerk.as_mut()?.next(until)? {
                Answer::Native(number, named) => {
                    self.native.entry(number).or_default().extend(named);
                }
                Answer::Kernel(named) => self.kernel.extend(named),
                Answer::Generated(process, named) => {
                    self.generated.entry(process).or_default().extend(named);
                }
                Answer::End { took } => {
                    self.asked = None;
                    return Some(took);
                }
            }
            done += 1;
            self.asked = Some(Asked { done, total });
        }
    }

    /// Nothing new comes of a process; whether it had code without a file.
    pub(super) fn forget_generated(&mut self, process: u32) -> bool {
        self.generating.forget(process);
        self.generated.remove(&process).is_some()
    }

    /// Nothing new comes of a file.
    pub(super) fn forget_file(&mut self, number: u32) {
        self.files.remove(&number);
        self.native.remove(&number);
    }

    /// Whether those of addresses that mean the same in every process are more than shall be held.
    pub(super) fn are_many(&self) -> bool {
        let native: usize = self.native.values().map(HashMap::len).sum();
        native + self.kernel.len() > self.most
    }

    /// Lets these go. What was generated keeps its names: another function may be there by now.
    pub(super) fn forget_addresses(&mut self) {
        self.native.clear();
        self.kernel.clear();
    }

    fn collect<'s>(&self, stacks: impl Iterator<Item = &'s RawStack>) -> Addresses {
        let mut addresses = Addresses::default();
        let is_known = |names: Option<&Symbols<_>>, address| {
            names.is_some_and(|names| names.contains_key(&address))
        };
        for frame in stacks.flat_map(|stack| &*stack.frames) {
            match *frame {
                RawFrame::Native { executable, svma }
                | RawFrame::Interpreter { executable, svma } => {
                    if !is_known(self.native.get(&executable), svma) {
                        addresses.native.entry(executable).or_default().insert(svma);
                    }
                }
                RawFrame::Kernel(address) => {
                    if !self.kernel.contains_key(&address) {
                        addresses.kernel.insert(address);
                    }
                }
                RawFrame::Address { process, address } => {
                    if !is_known(self.generated.get(&process), address) {
                        let generated = addresses.generated.entry(process).or_default();
                        generated.insert(address);
                    }
                }
                RawFrame::Python { .. } | RawFrame::Reason(_) => {}
            }
        }
        addresses
    }
}
