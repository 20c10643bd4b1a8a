//! Several profiles as one.

use crate::frame_table::{Frame, FrameHandle};
use crate::function_table::{Function, FunctionHandle};
use crate::information::{ProfileInformation, RecordingCost};
use crate::library_table::{Library, LibraryHandle};
use crate::process_table::{Process, ProcessHandle};
use crate::profile::Profile;
use crate::sample::Sample;
use crate::stack_table::{Stack, StackHandle};
use crate::string_table::StringHandle;
use crate::table::Handle;
use crate::thread_table::{Thread, ThreadHandle};
use crate::validate::ProfileError;

/// One profile with the samples of all of `profiles`, in time order.
///
/// What is equal in two of them (a function, a process of the same pid and start) is one row.
/// When it is known of all of them when they began, a sample keeps its distance from the others, and the duration is the
/// time in which at least one was recording.
/// Otherwise they are laid one after the other.
/// What the information does not agree on is empty or 0.
///
/// # Errors
///
/// [`ProfileError`] when a handle is not of its profile.
pub fn merge<'a>(profiles: impl IntoIterator<Item = &'a Profile>) -> Result<Profile, ProfileError> {
    let profiles: Vec<&Profile> = profiles.into_iter().collect();
    let offsets = offsets_of(&profiles);
    let mut merged = Profile::default();
    for (profile, offset_ns) in profiles.iter().zip(&offsets) {
        append(&mut merged, profile, *offset_ns)?;
    }
    merged.sort_samples();
    merged.information = information_of(&profiles, &offsets);
    Ok(merged)
}

/// Adds the rows and samples of `profile` to `merged`, its samples `offset_ns` later; nothing is sorted.
pub(crate) fn append(
    merged: &mut Profile,
    profile: &Profile,
    offset_ns: u64,
) -> Result<(), ProfileError> {
    profile.validate()?;
    let rows = Rows::append(merged, profile)?;
    merged.samples.reserve(profile.samples.len());
    for sample in &profile.samples {
        let &Sample {
            time_ns,
            weight_ns,
            cpu,
            thread,
            stack,
            complete,
        } = sample;
        merged.samples.push(Sample {
            time_ns: time_ns.saturating_add(offset_ns),
            weight_ns,
            cpu,
            thread: new_row(&rows.threads, thread)?,
            stack: new_row(&rows.stacks, stack)?,
            complete,
        });
    }
    for (reason, count) in &profile.incomplete {
        let sum = merged.incomplete.entry(reason.clone()).or_default();
        *sum = sum.saturating_add(*count);
    }
    merged.lost = merged.lost.saturating_add(profile.lost);
    for (path, file) in profile.sources.iter() {
        merged.sources.insert(path, file.clone());
    }
    Ok(())
}

/// The new handle of each old row.
#[derive(Default)]
struct Rows {
    strings: Vec<StringHandle>,
    libraries: Vec<LibraryHandle>,
    functions: Vec<FunctionHandle>,
    frames: Vec<FrameHandle>,
    stacks: Vec<StackHandle>,
    processes: Vec<ProcessHandle>,
    threads: Vec<ThreadHandle>,
}

fn new_row<H: Handle>(rows: &[H], old: H) -> Result<H, ProfileError> {
    rows.get(old.index() as usize)
        .copied()
        .ok_or_else(|| ProfileError::no_such_row("rows", old, rows.len()))
}

impl Rows {
    /// Each part destructures its rows in full, so that a new handle field cannot be forgotten here.
    fn append(merged: &mut Profile, profile: &Profile) -> Result<Self, ProfileError> {
        let mut rows = Self::default();
        for (_, text) in profile.strings.iter() {
            rows.strings.push(merged.strings.intern(text));
        }
        rows.append_code(merged, profile)?;
        for (_, process) in profile.processes.iter() {
            let &Process {
                pid,
                parent_pid,
                name,
                title,
                command_line,
                python_version,
                start_time_ns,
                placement,
            } = process;
            let process = Process {
                pid,
                parent_pid,
                name: new_row(&rows.strings, name)?,
                title: rows.text(title)?,
                command_line: new_row(&rows.strings, command_line)?,
                python_version: rows.text(python_version)?,
                start_time_ns,
                placement: placement.try_map(|text| new_row(&rows.strings, text))?,
            };
            rows.processes.push(merged.processes.intern(process));
        }
        for (_, thread) in profile.threads.iter() {
            let &Thread { process, tid, name } = thread;
            let thread = Thread {
                process: new_row(&rows.processes, process)?,
                tid,
                name: new_row(&rows.strings, name)?,
            };
            rows.threads.push(merged.threads.intern(thread));
        }
        Ok(rows)
    }

    fn append_code(&mut self, merged: &mut Profile, profile: &Profile) -> Result<(), ProfileError> {
        for (_, library) in profile.libraries.iter() {
            let &Library {
                name,
                path,
                build_id,
            } = library;
            let library = Library {
                name: new_row(&self.strings, name)?,
                path: self.text(path)?,
                build_id: self.text(build_id)?,
            };
            self.libraries.push(merged.libraries.intern(library));
        }
        for (_, function) in profile.functions.iter() {
            let &Function {
                name,
                file,
                library,
                first_line,
                kind,
            } = function;
            let library = library.map(|library| new_row(&self.libraries, library));
            let function = Function {
                name: new_row(&self.strings, name)?,
                file: self.text(file)?,
                library: library.transpose()?,
                first_line,
                kind,
            };
            self.functions.push(merged.functions.intern(function));
        }
        for (_, frame) in profile.frames.iter() {
            let function = new_row(&self.functions, frame.function)?;
            self.frames
                .push(merged.frames.intern(Frame { function, ..*frame }));
        }
        merged.stacks.reserve(profile.stacks.len());
        self.stacks.reserve(profile.stacks.len());
        for (_, Stack { parent, frame }) in profile.stacks.iter() {
            let parent = parent
                .map(|parent| new_row(&self.stacks, parent))
                .transpose()?;
            let frame = new_row(&self.frames, frame)?;
            self.stacks
                .push(merged.stacks.intern(Stack { parent, frame })?);
        }
        Ok(())
    }

    fn text(&self, old: Option<StringHandle>) -> Result<Option<StringHandle>, ProfileError> {
        old.map(|old| new_row(&self.strings, old)).transpose()
    }
}

/// How much later than the first each begins.
fn offsets_of(profiles: &[&Profile]) -> Vec<u64> {
    let starts = profiles
        .iter()
        .map(|profile| profile.information.started_unix_ns);
    let first = starts.clone().min().unwrap_or_default();
    if first != 0 {
        return starts.map(|start| start - first).collect();
    }
    let mut next = 0_u64;
    let mut offsets = Vec::new();
    for profile in profiles {
        offsets.push(next);
        let last = profile.samples.iter().map(|sample| sample.time_ns).max();
        let length = last
            .map_or(0, |last| last.saturating_add(1))
            .max(profile.information.duration_ns);
        next = next.saturating_add(length);
    }
    offsets
}

fn information_of(profiles: &[&Profile], offsets: &[u64]) -> ProfileInformation {
    let all = || profiles.iter().map(|profile| &profile.information);
    let mut targets: Vec<&str> = all().map(|one| one.target.as_str()).collect();
    targets.retain(|target| !target.is_empty());
    targets.dedup();
    ProfileInformation {
        viperf_version: agreed(all().map(|one| &one.viperf_version)),
        hostname: agreed(all().map(|one| &one.hostname)),
        kernel: agreed(all().map(|one| &one.kernel)),
        started_unix_ns: all()
            .map(|one| one.started_unix_ns)
            .min()
            .unwrap_or_default(),
        duration_ns: covered(all().map(|one| one.duration_ns).zip(offsets)),
        period_ns: agreed(all().map(|one| &one.period_ns)),
        rate_hz: agreed(all().map(|one| &one.rate_hz)),
        target: targets.join(", "),
        cost: cost_of_all(all().map(|one| one.cost)),
    }
}

/// Times and counts add up; of memory it is the most that was used at once by one of them.
fn cost_of_all(costs: impl Iterator<Item = RecordingCost>) -> RecordingCost {
    let together = |all: RecordingCost, one: RecordingCost| RecordingCost {
        bpf_time_ns: all.bpf_time_ns.saturating_add(one.bpf_time_ns),
        cpu_time_ns: all.cpu_time_ns.saturating_add(one.cpu_time_ns),
        peak_memory_bytes: all.peak_memory_bytes.max(one.peak_memory_bytes),
        bpf_map_bytes: all.bpf_map_bytes.max(one.bpf_map_bytes),
        first_sample_ns: all
            .first_sample_ns
            .into_iter()
            .chain(one.first_sample_ns)
            .min(),
        samples_without_python: all
            .samples_without_python
            .saturating_add(one.samples_without_python),
        lowest_rate_hz: match (all.lowest_rate_hz, one.lowest_rate_hz) {
            (0, rate) | (rate, 0) => rate,
            (left, right) => left.min(right),
        },
    };
    costs.reduce(together).unwrap_or_default()
}

fn agreed<'a, T: Clone + Default + PartialEq + 'a>(mut values: impl Iterator<Item = &'a T>) -> T {
    match values.next() {
        Some(first) if values.all(|value| value == first) => first.clone(),
        _ => T::default(),
    }
}

/// The length of what is covered by spans of (length, start).
fn covered<'a>(spans: impl Iterator<Item = (u64, &'a u64)>) -> u64 {
    let mut spans: Vec<(u64, u64)> = spans
        .map(|(length, start)| (*start, start.saturating_add(length)))
        .collect();
    spans.sort_unstable();
    let (mut sum, mut reached) = (0, 0);
    for (start, end) in spans {
        sum += end.saturating_sub(start.max(reached));
        reached = reached.max(end);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up::random_profile;

    fn recorded(seed: u64, started_unix_ns: u64, duration_ns: u64) -> Profile {
        let mut profile = random_profile(seed, 50);
        profile.information = ProfileInformation {
            started_unix_ns,
            duration_ns,
            rate_hz: 99,
            target: "python3 app.py".into(),
            hostname: format!("host {seed}"),
            ..ProfileInformation::default()
        };
        profile.lost = seed;
        profile
    }

    #[test]
    fn one_profile_alone_stays_what_it_was() {
        let profile = recorded(3, 500, 900);
        assert_eq!(merge([&profile]), Ok(profile));
    }

    #[test]
    fn a_profile_with_itself_has_the_same_rows_and_twice_the_samples() {
        let profile = recorded(3, 500, 900);
        let merged = merge([&profile, &profile]).unwrap();
        assert_eq!(merged.stacks, profile.stacks);
        assert_eq!(merged.threads, profile.threads);
        assert_eq!(merged.samples.len(), 100);
        assert_eq!(merged.lost, 6);
        assert_eq!(merged.information, profile.information);
    }

    #[test]
    fn samples_keep_their_distance_when_the_starts_are_known() {
        let merged = merge([&recorded(1, 1_000, 300), &recorded(2, 1_200, 300)]).unwrap();
        assert_eq!(
            merged
                .samples
                .iter()
                .filter(|one| one.time_ns == 200)
                .count(),
            1
        );
        let information = merged.information;
        assert_eq!(
            (information.started_unix_ns, information.duration_ns),
            (1_000, 500)
        );
        assert_eq!(
            (information.rate_hz, information.hostname.as_str()),
            (99, "")
        );
    }

    #[test]
    fn profiles_of_unknown_start_are_laid_one_after_the_other() {
        let merged = merge([&recorded(1, 0, 1 << 40), &recorded(2, 7, 10)]).unwrap();
        assert_eq!(merged.information.duration_ns, (1 << 40) + 10);
        let late = merged.samples.iter().filter(|one| one.time_ns >= 1 << 40);
        assert_eq!(late.count(), 50);
    }

    #[test]
    fn nothing_merged_is_an_empty_profile() {
        assert_eq!(merge([]), Ok(Profile::default()));
    }
}
