//! Names of methods up to CPython 3.10, whose code objects know only their bare name.

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use viperf_abi::{CODE_CLASS, CodeRecord};
use viperf_cpython::Interpreter;

use crate::bounded_reader::BoundedReader;

/// One name may take so long; an ordinary one takes a third of a millisecond, and some more while others have the CPU.
const LIMIT_OF_NAME: Duration = Duration::from_millis(50);
/// All names together may take so much, and one fifth of the recording: a program that starts shows hundreds of methods.
const ALLOWANCE: Duration = Duration::from_secs(1);
const SHARE: u32 = 5;

/// Completes names, as long as that costs little.
#[derive(Debug)]
pub(crate) struct MethodNames {
    since: Instant,
    spent: Duration,
}

impl Default for MethodNames {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            spent: Duration::ZERO,
        }
    }
}

impl MethodNames {
    /// The name with that of the class that defines the method, which is found by the first argument's class.
    pub(crate) fn complete(
        &mut self,
        name: String,
        record: &CodeRecord,
        python: Option<&Interpreter>,
    ) -> String {
        if record.flags & CODE_CLASS == 0 {
            return name;
        }
        if let Some(python) = python
            && self.spent < ALLOWANCE + self.since.elapsed() / SHARE
        {
            let reader = BoundedReader::of_pages(record.tgid, LIMIT_OF_NAME);
            let found = find(&name, record, python, &reader);
            self.spent += reader.elapsed();
            if let Some(found) = found {
                return found;
            }
        }
        with_class_seen(name, record)
    }
}

/// `None` when the process could not be asked: it is gone, or the time was over.
fn find(
    name: &str,
    record: &CodeRecord,
    python: &Interpreter,
    reader: &BoundedReader,
) -> Option<String> {
    let objects = python.objects.as_ref()?;
    let (layout, class) = (&python.layout, record.class_address);
    let read = |address: u64, bytes: &mut [u8]| reader.read(address, bytes);
    let qualname =
        viperf_cpython::find_qualname(layout, objects, class, record.address, name, read);
    if qualname.is_some() || reader.is_over() {
        return qualname;
    }
    // The class is there and has no such method: a function within one, or a decorator's.
    viperf_cpython::find_class_name(layout, objects, class, read).map(|_| name.to_owned())
}

/// With the class that the kernel saw: that of the instance, which may be derived from the one that defines the method.
fn with_class_seen(name: String, record: &CodeRecord) -> String {
    let class = record.class_name.split(|&byte| byte == 0).next();
    let class: Cow<'_, str> = String::from_utf8_lossy(class.unwrap_or_default());
    // A class made in C has its module before its name.
    match class.rsplit('.').next() {
        None | Some("") => name,
        Some(class) => format!("{class}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use viperf_abi::{PlainData, limit::CLASS_NAME_BYTES};

    use super::*;

    fn named(class: &[u8], flags: u32) -> String {
        let bytes = vec![0; size_of::<CodeRecord>()];
        let mut record = CodeRecord::read_from(&bytes).unwrap();
        record.flags = flags;
        let mut class_name = [0; CLASS_NAME_BYTES];
        class_name[..class.len()].copy_from_slice(class);
        record.class_name = class_name;
        MethodNames::default().complete("run".to_owned(), &record, None)
    }

    #[test]
    fn without_the_process_the_class_that_the_kernel_saw_is_named() {
        assert_eq!(named(b"Worker", CODE_CLASS), "Worker.run");
        assert_eq!(
            named(b"collections.OrderedDict", CODE_CLASS),
            "OrderedDict.run"
        );
        assert_eq!(named(b"", CODE_CLASS), "run");
        assert_eq!(named(b"Worker", 0), "run");
    }
}
