//! Files that no process has mapped any more: each that is held takes a descriptor and memory, and over a day a machine runs more
//! of them than there is room for. Those that were not mapped for the longest time are let go when there are many; one that is
//! mapped again is opened again, by another number.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{
    Executable, Executables,
    loading::{Instructions, RowState},
};

/// Records of one moment come within milliseconds of each other: a file that was mapped so short a time ago may have frames
/// that are still to come.
const GRACE: Duration = Duration::from_secs(2);

/// There may be too many that are mapped: looking for others costs something.
const INTERVAL: Duration = Duration::from_secs(1);

/// When there are too many, so much of what is allowed is kept: looking for what is not mapped costs more than opening one.
const KEPT: (usize, usize) = (3, 4);

/// How many files are held and were let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExecutableCounts {
    pub(crate) open: u64,
    pub(crate) let_go: u64,
}

/// A file that was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LetGo {
    pub(crate) number: u32,
    /// Its table in the kernel, which no mapping names any more.
    pub(crate) row_table: Option<u32>,
}

/// Its rows are being made.
fn is_busy(executable: &Executable) -> bool {
    matches!(executable.rows, RowState::Building { .. })
        || executable.instructions == Instructions::Asked
}

impl Executables {
    /// How many there are and were.
    pub(crate) fn counts(&self) -> ExecutableCounts {
        ExecutableCounts {
            open: self.all.len() as u64,
            let_go: self.let_go,
        }
    }

    /// Lets files go that no process has mapped, if there are more than `most`; `mapped` tells which ones are, and is only asked
    /// then, once a second at most. What is mapped is never let go.
    pub(crate) fn let_go(
        &mut self,
        now: Instant,
        most: usize,
        mapped: impl FnOnce() -> HashSet<u32>,
    ) -> Vec<LetGo> {
        let is_soon = self.next_look.is_some_and(|next| now < next);
        if self.all.len() <= most || is_soon {
            return Vec::new();
        }
        self.next_look = Some(now + INTERVAL);
        let mapped = mapped();
        let mut over: Vec<(Instant, u32)> = Vec::new();
        for (number, executable) in &mut self.all {
            if mapped.contains(number) {
                executable.unmapped_since = None;
                continue;
            }
            let since = *executable.unmapped_since.get_or_insert(now);
            if !is_busy(executable) && now.saturating_duration_since(since) >= GRACE {
                over.push((since, *number));
            }
        }
        over.sort_unstable();
        let surplus = self.all.len() - most * KEPT.0 / KEPT.1;
        over.truncate(surplus);
        let gone: HashSet<u32> = over.iter().map(|(_, number)| *number).collect();
        self.numbers.retain(|_, number| !gone.contains(number));
        self.loading
            .left_out
            .retain(|number| !gone.contains(number));
        self.let_go += gone.len() as u64;
        let let_go = over.into_iter().filter_map(|(_, number)| {
            let row_table = self.all.remove(&number)?.row_table;
            Some(LetGo { number, row_table })
        });
        let_go.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::Write,
        os::unix::fs::MetadataExt,
        path::Path,
        sync::{Arc, Weak},
    };

    use viperf_process::Mapping;

    use super::super::{Identity, look_at};
    use super::*;

    const MOST: usize = 40;

    /// A file that no other one is, and its number.
    fn add(executables: &mut Executables, name: usize) -> (u32, Identity, Weak<File>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&name.to_le_bytes()).unwrap();
        let inode = file.metadata().unwrap().ino();
        let device = (0, name as u32);
        let identity = Identity::File { device, inode };
        let path = format!("/usr/lib/lib{name}.so");
        let executable = look_at(file, Path::new(&path), None);
        let held = Arc::downgrade(&executable.file);
        (
            executables.insert(identity, executable).unwrap(),
            identity,
            held,
        )
    }

    #[test]
    fn however_many_files_come_and_go_those_that_are_held_are_bounded() {
        let mut executables = Executables::default();
        let (always, ..) = add(&mut executables, 0);
        let mut all = Vec::new();
        let mut now = Instant::now();
        for name in 1..2000 {
            all.push(add(&mut executables, name));
            now += GRACE;
            let newest = all.last().map(|(number, ..)| *number);
            let mapped = || HashSet::from_iter([Some(always), newest].into_iter().flatten());
            executables.let_go(now, MOST, mapped);
            assert!(executables.all.len() <= MOST + 2);
            assert_eq!(executables.all.len(), executables.numbers.len());
        }
        let held = all.iter().filter(|(.., file)| file.strong_count() > 0);
        assert!(held.count() <= MOST + 2, "descriptors");
        assert!(executables.find(always).is_some());
        let ExecutableCounts { open, let_go } = executables.counts();
        assert_eq!((open + let_go, let_go > 1900), (2000, true));
        // What is left has its own name, what is gone has none.
        for (name, (number, identity, _)) in (1..).zip(&all) {
            match executables.find(*number) {
                Some(found) => assert_eq!(found.name, format!("lib{name}.so")),
                None => assert_eq!(executables.numbers.get(identity), None),
            }
        }
    }

    #[test]
    fn that_the_numbers_have_been_used_is_said_and_what_had_one_keeps_it() {
        let mut executables = Executables::default();
        let (first, identity, _) = add(&mut executables, 1);
        executables.last = super::super::LARGEST_NUMBER;
        let executable = look_at(tempfile::tempfile().unwrap(), Path::new("/lib2.so"), None);
        let device = (9, 9);
        let other = Identity::File { device, inode: 9 };
        assert_eq!(executables.insert(other, executable), None);
        assert!(executables.loading.notes[0].starts_with("more than 1048575 "));
        assert_eq!(executables.touch(identity), Some(first));
        assert!(executables.find(0).is_none());
    }

    #[test]
    fn what_comes_again_has_another_number() {
        let mut executables = Executables::default();
        let (first, identity, _) = add(&mut executables, 7);
        let now = Instant::now();
        // Nobody has mapped it for as long as was looked, which is not long.
        assert!(executables.let_go(now, 0, HashSet::new).is_empty());
        let let_go = executables.let_go(now + GRACE, 0, HashSet::new);
        let row_table = None;
        assert_eq!(
            let_go,
            [LetGo {
                number: first,
                row_table
            }]
        );
        assert!(executables.find(first).is_none());
        let again = look_at(tempfile::tempfile().unwrap(), Path::new("/lib7.so"), None);
        let second = executables.insert(identity, again).unwrap();
        assert_ne!(second, first);
        assert!(executables.find(first).is_none());
    }

    #[test]
    fn a_process_that_is_gone_had_another_file_if_this_one_came_to_its_number_later() {
        let mut executables = Executables::default();
        let (number, identity, _) = add(&mut executables, 9);
        let Identity::File { device, inode } = identity else {
            unreachable!("it is a file");
        };
        let mapping = Mapping {
            start: 0x1000,
            end: 0x2000,
            file_offset: 0,
            readable: true,
            writable: false,
            executable: true,
            shared: false,
            device,
            inode,
            path: "/usr/lib/lib9.so".into(),
            deleted: false,
        };
        // The file was made and opened just now, the mapping long ago.
        let long_ago = Duration::from_secs(3600);
        assert_eq!(executables.find_or_open_departed(&mapping, long_ago), None);
        // It was held when the mapping was made.
        let now = Duration::ZERO;
        let found = executables.find_or_open_departed(&mapping, now);
        assert_eq!(found, Some(number));
    }

    #[test]
    fn what_is_mapped_was_mapped_a_moment_ago_or_is_being_built_stays() {
        let mut executables = Executables::default();
        let numbers: Vec<u32> = (0..4).map(|name| add(&mut executables, name).0).collect();
        let now = Instant::now();
        let mapped = || HashSet::from([numbers[0]]);
        assert!(
            executables.let_go(now, 1, mapped).is_empty(),
            "a moment ago"
        );
        executables.find_mut(numbers[1]).unwrap().rows = RowState::Building {
            since: now,
            is_wanted: false,
        };
        executables.find_mut(numbers[2]).unwrap().instructions = Instructions::Asked;
        let let_go = executables.let_go(now + GRACE, 1, mapped);
        let gone: Vec<u32> = let_go.iter().map(|gone| gone.number).collect();
        assert_eq!(gone, [numbers[3]]);
        let later = now + 2 * GRACE;
        let few = || unreachable!("there are not many");
        assert!(executables.let_go(later, 3, few).is_empty());
    }
}
