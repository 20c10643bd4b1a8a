//! The native file.

use viperf_encode::EncodeError;
use viperf_encode::viperf_file::{self, DecodeLimits, MAGIC, VERSION, decode};
use viperf_profile::{
    Frame, FrameKind, Function, Library, Placement, Process, Profile, Sample, Thread,
};

use crate::Target;

/// What the blocks of one file may have together, so that the bound on memory means something.
const LIMITS: DecodeLimits = DecodeLimits {
    maximum_bytes: 1 << 20,
};

/// A type (4 bytes), a length (4) and a checksum (4), all little-endian, before each payload
/// (`docs/formats/viperf.md`).
const HEAD_BYTES: usize = 12;

/// Whole files, their checksums repaired.
#[must_use]
pub fn viperf_file() -> Target {
    Target {
        name: "viperf-file",
        seeds: || known_files().unwrap_or_default(),
        read: |bytes| read(&with_checksums(bytes)),
        allocation_limit,
    }
}

/// Files of one block of each type, with these bytes as its message.
#[must_use]
pub fn viperf_message() -> Target {
    Target {
        name: "viperf-message",
        seeds: || {
            let files = known_files().unwrap_or_default();
            files.iter().flat_map(|file| messages(file)).collect()
        },
        read: |bytes| {
            let Some((&block_type, message)) = bytes.split_first() else {
                return;
            };
            let mut file = MAGIC.to_vec();
            file.extend(VERSION.to_le_bytes());
            push_block(&mut file, u32::from(block_type & 3), message);
            push_block(&mut file, 2, message);
            read(&with_checksums(&file));
        },
        allocation_limit,
    }
}

/// The whole profile, of at most so many decompressed bytes, is in memory; zstd's window is, too.
fn allocation_limit(length: usize) -> usize {
    length * 64 + (64 << 20)
}

fn read(file: &[u8]) {
    if let Ok(decoded) = decode(file, &LIMITS) {
        assert!(
            decoded.profile.validate().is_ok(),
            "what was read is not sound"
        );
    }
}

/// An empty profile and one with something in each table.
fn known_files() -> Result<Vec<Vec<u8>>, EncodeError> {
    let options = viperf_file::Options::default();
    Ok(vec![
        viperf_file::encode(&Profile::default(), &options)?,
        viperf_file::encode(&small_profile(), &options)?,
    ])
}

fn small_profile() -> Profile {
    let mut profile = Profile::default();
    let mut name = |text: &str| profile.strings.intern(text);
    let (module, run, sort) = (name("<module>"), name("Job.run"), name("sort"));
    let (file, library, program) = (name("app.py"), name("libc.so.6"), name("python3"));
    let library = profile.libraries.intern(Library::named(library));
    let process = profile.processes.intern(Process {
        parent_pid: Some(1),
        title: Some(module),
        python_version: Some(program),
        start_time_ns: 5,
        placement: Placement {
            container_id: Some(program),
            pod_qos: Some(module),
            ..Placement::default()
        },
        ..Process::new(4242, program, program)
    });
    let thread = profile.threads.intern(Thread {
        process,
        tid: 4243,
        name: program,
    });
    let functions = [
        (module, Some(file), None, FrameKind::Python),
        (run, Some(file), None, FrameKind::Python),
        (sort, None, Some(library), FrameKind::Native),
    ];
    let frames = functions.map(|(name, file, library, kind)| {
        let function = profile.functions.intern(Function {
            name,
            file,
            library,
            first_line: 1,
            kind,
        });
        profile.frames.intern(Frame::at_line(function, 7))
    });
    for depth in 1..=frames.len() {
        let root_first = frames.iter().copied().take(depth);
        let stack = profile.intern_stack_root_first(root_first);
        let samples = stack.into_iter().map(|stack| Sample {
            time_ns: depth as u64 * 1_000_000,
            weight_ns: 1_000_000,
            cpu: 0,
            thread,
            stack,
            complete: depth > 1,
        });
        profile.samples.extend(samples);
    }
    profile
}

/// Each block's place in the file: its head, and its payload's end.
fn blocks(file: &[u8]) -> Vec<(usize, usize)> {
    let mut at = MAGIC.len() + 4;
    let mut found = Vec::new();
    while let Some(head) = file.get(at..).and_then(<[u8]>::first_chunk::<HEAD_BYTES>) {
        let [_, _, _, _, a, b, c, d, ..] = *head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let end = at.saturating_add(HEAD_BYTES).saturating_add(length);
        if end > file.len() {
            break;
        }
        found.push((at, end));
        at = end;
    }
    found
}

/// The same file with the checksum that each block should have: of its type, length and payload.
fn with_checksums(file: &[u8]) -> Vec<u8> {
    let mut repaired = file.to_vec();
    for (start, end) in blocks(file) {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(file.get(start..start + 8).unwrap_or_default());
        hasher.update(file.get(start + HEAD_BYTES..end).unwrap_or_default());
        if let Some(place) = repaired.get_mut(start + 8..start + HEAD_BYTES) {
            place.copy_from_slice(&hasher.finalize().to_le_bytes());
        }
    }
    repaired
}

/// The block types and decompressed messages of a file.
fn messages(file: &[u8]) -> Vec<Vec<u8>> {
    let message = |(start, end): (usize, usize)| {
        let payload = file.get(start + HEAD_BYTES..end)?;
        let mut message = vec![*file.get(start)?];
        message.extend(zstd::stream::decode_all(payload).ok()?);
        Some(message)
    };
    blocks(file).into_iter().filter_map(message).collect()
}

fn push_block(file: &mut Vec<u8>, block_type: u32, message: &[u8]) {
    let payload = zstd::stream::encode_all(message, 1).unwrap_or_default();
    file.extend(block_type.to_le_bytes());
    file.extend(
        u32::try_from(payload.len())
            .unwrap_or_default()
            .to_le_bytes(),
    );
    file.extend([0; 4]);
    file.extend(payload);
}
