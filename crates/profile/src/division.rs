//! Samples put together by who was running: thread, process, program, container, pod, unit, control group.
//!
//! [`crate::Grouping`] says of frames what [`Division`] says of samples.

use std::fmt::Write as _;

use indexmap::IndexMap;

use crate::placement::Placement;
use crate::process_table::Process;
use crate::profile::Profile;
use crate::sample::Sample;
use crate::string_table::StringHandle;
use crate::table::Handle as _;
use crate::thread_table::{Thread, ThreadHandle};
use crate::validate::ProfileError;

/// Characters of a container's ID that people are shown; Docker and Podman show as many.
const SHORT_ID: usize = 12;

/// What makes two samples belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DivideBy {
    /// The same thread; one that was renamed is one.
    Thread,
    /// The same process; one that called exec is one.
    Process,
    /// The same title, or the same name where there is no title: all workers of one server.
    Program,
    /// The same container.
    Container,
    /// The same Kubernetes pod.
    Pod,
    /// The same systemd unit.
    Unit,
    /// The same control group.
    ControlGroup,
}

impl DivideBy {
    /// The name in files and options: `thread`, `process`, `program`, `container`, `pod`, `unit`, `cgroup`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Thread => "thread",
            Self::Process => "process",
            Self::Program => "program",
            Self::Container => "container",
            Self::Pod => "pod",
            Self::Unit => "unit",
            Self::ControlGroup => "cgroup",
        }
    }
}

/// What the samples of one part have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What people know it by; `None` for the samples that belong to none: a process outside every container.
    pub name: Option<String>,
    /// The number or ID that tells it from others of its name: tid, pid, the container's ID, the pod's UID; empty where the
    /// name alone does.
    pub id: String,
    /// More about it in few words: a thread's process, a container's image; empty when nothing is known.
    pub about: String,
}

/// Every thread's part.
#[derive(Clone, Debug)]
pub struct Division {
    parts: Vec<Part>,
    of_thread: Vec<usize>,
}

/// By what parts are told apart: equal keys, one part.
type Key = (u32, u64, Option<StringHandle>, Option<StringHandle>);

impl Division {
    /// Divides the threads of `profile`; a part is named by its thread with most samples.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] when a handle is not of this profile.
    pub fn new(profile: &Profile, by: DivideBy) -> Result<Self, ProfileError> {
        let mut samples = vec![0_u64; profile.threads.len()];
        for sample in &profile.samples {
            if let Some(count) = samples.get_mut(sample.thread.index() as usize) {
                *count += 1;
            }
        }
        // The row that names a part, with its samples: a process that called exec is what it was for longest.
        let mut parts: IndexMap<Key, (u64, Thread)> = IndexMap::new();
        let mut of_thread = Vec::with_capacity(samples.len());
        for ((_, &thread), &count) in profile.threads.iter().zip(&samples) {
            let process = profile.process(thread.process)?;
            let entry = parts.entry(key(by, &thread, &process));
            of_thread.push(entry.index());
            let named_by = entry.or_insert((count, thread));
            if named_by.0 < count {
                *named_by = (count, thread);
            }
        }
        let parts = parts.into_values();
        Ok(Self {
            parts: parts
                .map(|(_, thread)| part(profile, by, thread))
                .collect::<Result<_, _>>()?,
            of_thread,
        })
    }

    /// Every part, in order of its first thread; also those without samples.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The number of a thread's part in [`Self::parts`]; `None` for a handle of another profile.
    #[must_use]
    pub fn of_thread(&self, thread: ThreadHandle) -> Option<usize> {
        self.of_thread.get(thread.index() as usize).copied()
    }

    /// The samples of each part, in their order.
    #[must_use]
    pub fn samples(&self, samples: &[Sample]) -> Vec<Vec<Sample>> {
        let mut divided = vec![Vec::new(); self.parts.len()];
        for sample in samples {
            let part = self.of_thread(sample.thread);
            if let Some(own) = part.and_then(|part| divided.get_mut(part)) {
                own.push(*sample);
            }
        }
        divided
    }
}

fn key(by: DivideBy, thread: &Thread, process: &Process) -> Key {
    let Placement {
        cgroup,
        unit,
        container_id,
        container_name,
        pod,
        pod_namespace,
        pod_uid,
        ..
    } = process.placement;
    match by {
        // A profile from elsewhere may know names only.
        DivideBy::Thread if thread.tid == 0 => (0, 0, Some(thread.name), Some(process.name)),
        DivideBy::Process if process.pid == 0 => (0, 0, Some(process.name), None),
        // A pid or tid that is used again belongs to a process that was started later.
        DivideBy::Thread => (thread.tid, process.start_time_ns, None, None),
        DivideBy::Process => (process.pid, process.start_time_ns, None, None),
        DivideBy::Program => (0, 0, Some(process.shown_name()), None),
        DivideBy::Container => (0, 0, container_id.or(container_name), None),
        DivideBy::Pod if pod_uid.is_some() => (0, 0, pod_uid, None),
        DivideBy::Pod => (0, 0, pod, pod_namespace),
        DivideBy::Unit => (0, 0, unit, None),
        DivideBy::ControlGroup => (0, 0, cgroup, None),
    }
}

fn part(profile: &Profile, by: DivideBy, thread: Thread) -> Result<Part, ProfileError> {
    let process = profile.process(thread.process)?;
    let place = process.placement;
    let text = |handle: Option<StringHandle>| match handle {
        Some(handle) => profile.string(handle).map(str::to_owned).map(Some),
        None => Ok(None),
    };
    let shown = || text(Some(process.shown_name()));
    let command_line = || profile.string(process.command_line).map(str::to_owned);
    let (name, id, about) = match by {
        DivideBy::Thread => {
            let about = format!("{} ({})", shown()?.unwrap_or_default(), process.pid);
            (text(Some(thread.name))?, thread.tid.to_string(), about)
        }
        DivideBy::Process => (shown()?, process.pid.to_string(), command_line()?),
        DivideBy::Program => (shown()?, String::new(), String::new()),
        DivideBy::Container => {
            let id = text(place.container_id)?;
            let short = id.as_deref().map(short_id).map(str::to_owned);
            let name = text(place.container_name)?.or(short);
            let about = words(&[
                text(place.container_image)?,
                text(place.container_runtime)?,
                text(place.pod)?,
            ]);
            (name, id.unwrap_or_default(), about)
        }
        DivideBy::Pod => {
            let uid = text(place.pod_uid)?;
            let name = match (text(place.pod_namespace)?, text(place.pod)?) {
                (Some(namespace), Some(pod)) => Some(format!("{namespace}/{pod}")),
                (_, pod) => pod.or_else(|| uid.clone()),
            };
            (
                name,
                uid.unwrap_or_default(),
                words(&[text(place.pod_qos)?]),
            )
        }
        DivideBy::Unit => (text(place.unit)?, String::new(), String::new()),
        DivideBy::ControlGroup => (text(place.cgroup)?, String::new(), String::new()),
    };
    Ok(Part { name, id, about })
}

/// The beginning of a container's ID that people are shown.
fn short_id(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

/// What is known, with commas between.
fn words(all: &[Option<String>]) -> String {
    let mut text = String::new();
    for word in all.iter().flatten() {
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{word}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up::{MadeUp, placed};

    fn divided(profile: &Profile, by: DivideBy) -> Vec<(String, String, usize)> {
        let division = Division::new(profile, by).unwrap();
        let samples = division.samples(&profile.samples);
        let counts = samples.iter().map(Vec::len);
        let parts = division.parts().iter().zip(counts);
        parts
            .map(|(part, count)| {
                let name = part.name.clone().unwrap_or_else(|| "none".to_owned());
                (name, part.about.clone(), count)
            })
            .collect()
    }

    #[test]
    fn every_sample_belongs_to_one_part_and_parts_are_known_by_their_names() {
        let profile = placed();
        for (by, expected) in [
            (
                DivideBy::Container,
                "web,shop:1.2, docker,8;fedcba987654,queue-7f,4;none,,2",
            ),
            (
                DivideBy::Program,
                "gunicorn: worker [app],,8;celery worker,,4;python3,,2",
            ),
            (
                DivideBy::Process,
                "gunicorn: worker [app],python3,5;gunicorn: worker [app],python3,3;celery worker,python3,4;python3,python3,2",
            ),
            (DivideBy::Pod, "none,,10;shop/queue-7f,,4"),
            (DivideBy::Unit, "none,,12;ssh.service,,2"),
            (
                DivideBy::ControlGroup,
                "/docker/a,,8;/kubepods/b,,4;/system.slice/ssh.service,,2",
            ),
        ] {
            let text: Vec<_> = divided(&profile, by)
                .into_iter()
                .map(|(name, about, count)| format!("{name},{about},{count}"))
                .collect();
            assert_eq!(text.join(";"), expected, "{by:?}");
        }
        let threads = divided(&profile, DivideBy::Thread);
        assert_eq!(threads[0].1, "gunicorn: worker [app] (1)");
    }

    #[test]
    fn a_thread_that_was_renamed_is_one_and_has_the_name_of_most_samples() {
        let mut made = MadeUp::default();
        let frame = made.python("f", "/srv/a.py", 1, 2);
        let before = made.thread("python3", 1, 7);
        made.samples(before, &[frame], 1);
        let name = made.profile.strings.intern("worker");
        let thread = Thread {
            name,
            ..made.profile.thread(before).unwrap()
        };
        let after = made.profile.threads.intern(thread);
        made.samples(after, &[frame], 2);
        let parts = divided(&made.profile, DivideBy::Thread);
        assert_eq!(parts, [("worker".to_owned(), "python3 (1)".to_owned(), 3)]);
    }
}
