//! What is known of each process, for as long as it may be asked for.

use std::collections::HashMap;

use super::ProcessDescription;

/// Descriptions by number. A number is never used again.
#[derive(Debug, Default)]
pub(super) struct Descriptions {
    all: HashMap<u32, Described>,
    by_epoch: HashMap<u32, u32>,
    next: u32,
}

#[derive(Debug)]
struct Described {
    description: ProcessDescription,
    /// A process that was found twice at the same time has two, and so has a command before and after it became one.
    epochs: Vec<u32>,
}

impl Descriptions {
    /// Its number from now on.
    pub(super) fn add(&mut self, description: ProcessDescription) -> u32 {
        let number = self.next;
        self.next += 1;
        let described = Described {
            description,
            epochs: Vec::new(),
        };
        self.all.insert(number, described);
        number
    }

    /// Samples of this epoch belong to the description.
    pub(super) fn add_epoch(&mut self, number: u32, epoch: u32) {
        if let Some(described) = self.all.get_mut(&number) {
            described.epochs.push(epoch);
            self.by_epoch.insert(epoch, number);
        }
    }

    /// No more samples of this epoch come; true once that holds for all epochs of the description, which is let go then.
    pub(super) fn remove_epoch(&mut self, number: u32, epoch: u32) -> bool {
        let Some(described) = self.all.get_mut(&number) else {
            return false;
        };
        described.epochs.retain(|known| *known != epoch);
        self.by_epoch.remove(&epoch);
        let is_over = described.epochs.is_empty();
        if is_over {
            self.all.remove(&number);
        }
        is_over
    }

    /// The number of the description that samples of this epoch belong to.
    pub(super) fn of_epoch(&self, epoch: u32) -> Option<u32> {
        self.by_epoch.get(&epoch).copied()
    }

    /// The epochs whose samples belong to a description.
    pub(super) fn epochs(&self, number: u32) -> &[u32] {
        self.all
            .get(&number)
            .map_or(&[], |described| &described.epochs)
    }

    /// The newest description of a process with this pid.
    pub(super) fn last_of(&self, pid: u32) -> Option<&ProcessDescription> {
        let of_pid = self
            .all
            .iter()
            .filter(|(_, described)| described.description.pid == pid);
        let newest = of_pid.max_by_key(|(number, _)| **number);
        newest.map(|(_, described)| &described.description)
    }

    pub(super) fn find(&self, number: u32) -> Option<&ProcessDescription> {
        self.all
            .get(&number)
            .map(|described| &described.description)
    }

    pub(super) fn find_mut(&mut self, number: u32) -> Option<&mut ProcessDescription> {
        let described = self.all.get_mut(&number)?;
        Some(&mut described.description)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_lives_as_long_as_one_of_its_epochs() {
        let mut descriptions = Descriptions::default();
        let number = descriptions.add(ProcessDescription::new(7, None));
        descriptions.add_epoch(number, 1);
        descriptions.add_epoch(number, 2);
        assert!(!descriptions.remove_epoch(number, 1));
        assert_eq!(
            (descriptions.of_epoch(1), descriptions.of_epoch(2)),
            (None, Some(number))
        );
        assert_eq!(descriptions.find(number).map(|found| found.pid), Some(7));
        assert!(descriptions.remove_epoch(number, 2));
        assert!(descriptions.find(number).is_none());
        assert!(!descriptions.remove_epoch(number, 2));
        assert_ne!(descriptions.add(ProcessDescription::new(8, None)), number);
    }
}
