//! A thread that looks addresses up: the first address of a large library can take seconds, and a profile that is written
//! while it grows shall not wait for it.

use std::{
    cell::OnceCell,
    collections::HashMap,
    panic,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use viperf_sample::{KernelFunction, KernelNames};
use viperf_symbolize::{
    KernelSymbol, NativeSymbol, NoSymbol, Options, Symbolizer, shows_kernel_addresses,
};

use crate::{generated_code::GeneratedNames, named_file::NamedFile};

/// Each address beside its name, or why it has none.
pub(super) type Symbols<T> = HashMap<u64, Result<T, NoSymbol>>;

/// Addresses that want a name, each once.
#[derive(Debug, Default)]
pub(super) struct Question {
    /// With the numbers of the files.
    pub(super) native: Vec<(u32, NamedFile, Vec<u64>)>,
    /// With the processes' descriptions.
    pub(super) generated: Vec<(u32, Vec<u64>)>,
    pub(super) kernel: Vec<u64>,
}

impl Question {
    /// How many answers there will be, the end not counted.
    pub(super) fn parts(&self) -> usize {
        self.native.len() + self.generated.len() + usize::from(!self.kernel.is_empty())
    }
}

/// A part of what was asked; the end is the last one of a question.
#[derive(Debug)]
pub(super) enum Answer {
    Native(u32, Symbols<NativeSymbol>),
    Kernel(Symbols<KernelSymbol>),
    Generated(u32, Symbols<NativeSymbol>),
    End {
        /// Since the question was taken up.
        took: Duration,
    },
}

/// Asked on one thread, answers from another.
#[derive(Debug)]
pub(super) struct Clerk {
    office: Office,
    answers: Receiver<Answer>,
}

#[derive(Debug)]
enum Office {
    Thread {
        questions: Sender<Question>,
        /// `None` once its end has been seen.
        thread: Option<JoinHandle<()>>,
    },
    /// There are as many threads as there may be: whoever asks does the work.
    Here(Box<Desk>, Sender<Answer>),
}

/// What it takes to answer.
#[derive(Debug)]
struct Desk {
    symbolizer: Symbolizer,
    /// `None` within where the kernel does not name its functions; loaded for the first of them.
    kernel: OnceCell<Option<KernelNames>>,
    generating: Arc<GeneratedNames>,
}

impl Clerk {
    /// Starts the thread, which may do what this one may do now.
    pub(super) fn start(options: &Options, generating: &Arc<GeneratedNames>) -> Self {
        let (questions, asked) = channel::<Question>();
        let (answers, answered) = channel();
        let desk = {
            let (options, generating) = (options.clone(), Arc::clone(generating));
            // What it opens and reads cannot go from thread to thread.
            move || Desk {
                symbolizer: Symbolizer::new(options),
                kernel: OnceCell::new(),
                generating,
            }
        };
        let thread = thread::Builder::new()
            .name("viperf-names".to_owned())
            .spawn({
                let (desk, answers) = (desk.clone(), answers.clone());
                move || {
                    let desk = desk();
                    for question in asked {
                        desk.answer(question, &answers);
                    }
                }
            });
        let office = match thread {
            Ok(thread) => Office::Thread {
                questions,
                thread: Some(thread),
            },
            Err(_too_many_threads) => Office::Here(Box::new(desk()), answers),
        };
        Self {
            office,
            answers: answered,
        }
    }

    /// The answer comes in parts, in the order of the questions.
    pub(super) fn ask(&self, question: Question) {
        match &self.office {
            // That it has ended is learnt by waiting for the answer.
            Office::Thread { questions, .. } => drop(questions.send(question)),
            Office::Here(desk, answers) => desk.answer(question, answers),
        }
    }

    /// The next part of an answer; `None` when none has come until then.
    ///
    /// # Panics
    /// When the thread has.
    pub(super) fn next(&mut self, until: Option<Instant>) -> Option<Answer> {
        let answer = match until {
            None => self.answers.recv().map_err(RecvTimeoutError::from),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                self.answers.recv_timeout(left)
            }
        };
        if let Err(RecvTimeoutError::Disconnected) = answer
            && let Office::Thread { thread, .. } = &mut self.office
            && let Some(Err(payload)) = thread.take().map(JoinHandle::join)
        {
            panic::resume_unwind(payload);
        }
        answer.ok()
    }
}

impl Desk {
    fn answer(&self, question: Question, answers: &Sender<Answer>) {
        let Question {
            native,
            generated,
            kernel,
        } = question;
        let began = Instant::now();
        // Nobody waits for the answer any more: the recording has been given up.
        let send = |answer| drop(answers.send(answer));
        for (number, file, addresses) in native {
            let path = file.path();
            let file = file.native_file(&path);
            let named = name_each(addresses, |each| {
                self.symbolizer.symbolize_native(&file, each)
            });
            send(Answer::Native(number, named));
        }
        if !kernel.is_empty() {
            let named = name_each(kernel, |each| self.name_kernel(each));
            send(Answer::Kernel(named));
        }
        for (process, addresses) in generated {
            let named = name_each(addresses, |each| self.generating.find(process, each));
            send(Answer::Generated(process, named));
        }
        send(Answer::End {
            took: began.elapsed(),
        });
    }

    /// By the kernel itself, or from the list of all of its functions where it is too old for that. Who may not read the
    /// addresses in the list is not told their names by the other way either.
    fn name_kernel(&self, addresses: &[u64]) -> Vec<Result<KernelSymbol, NoSymbol>> {
        let names = self.kernel.get_or_init(|| {
            let loaded = || KernelNames::load().ok();
            shows_kernel_addresses().then(loaded).flatten()
        });
        let found = names.as_ref().and_then(|names| names.find(addresses).ok());
        let Some(found) = found else {
            return self.symbolizer.symbolize_kernel(addresses);
        };
        let symbol = |KernelFunction { name, module }| KernelSymbol { name, module };
        found
            .into_iter()
            .map(|found| found.map(symbol).ok_or(NoSymbol::NoSymbolAtAddress))
            .collect()
    }
}

/// Each address beside its name; `symbolize` gives one for each, in their order.
fn name_each<T>(
    addresses: Vec<u64>,
    symbolize: impl FnOnce(&[u64]) -> Vec<Result<T, NoSymbol>>,
) -> Symbols<T> {
    let names = symbolize(&addresses);
    addresses.into_iter().zip(names).collect()
}
