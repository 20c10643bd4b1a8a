//! What this process itself is allowed to do.

use std::{fmt, fs};

use crate::{Pid, ProcessError};

/// One capability, by the number the kernel gives it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u8);

/// Names in the order of their numbers,
/// <https://github.com/torvalds/linux/blob/v6.1/include/uapi/linux/capability.h>.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

impl Capability {
    /// Read any file, whatever its permissions.
    pub const DAC_READ_SEARCH: Self = Self(2);
    /// Read the memory of other users' processes.
    pub const SYS_PTRACE: Self = Self(19);
    /// The old catch-all, which includes several of the others.
    pub const SYS_ADMIN: Self = Self(21);
    /// Raise resource limits, such as locked memory on kernels before 5.11.
    pub const SYS_RESOURCE: Self = Self(24);
    /// See kernel addresses.
    pub const SYSLOG: Self = Self(34);
    /// Open perf events of the whole machine.
    pub const PERFMON: Self = Self(38);
    /// Load BPF programs.
    pub const BPF: Self = Self(39);
    /// Open the files behind other processes' mappings.
    pub const CHECKPOINT_RESTORE: Self = Self(40);

    /// The name as in `capabilities(7)`, such as `CAP_BPF`.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES
            .get(usize::from(self.0))
            .copied()
            .unwrap_or("CAP_UNKNOWN")
    }

    /// Whether the kernel lets `CAP_SYS_ADMIN` stand in for this one, as `bpf_capable()`, `perfmon_capable()` and
    /// `checkpoint_restore_ns_capable()` do
    /// (<https://github.com/torvalds/linux/blob/v6.1/include/linux/capability.h>).
    fn is_in_sys_admin(self) -> bool {
        [Self::PERFMON, Self::BPF, Self::CHECKPOINT_RESTORE].contains(&self)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Whether the set allows what `capability` allows (`CAP_SYS_ADMIN` stands in where the kernel lets it).
    #[must_use]
    pub fn has(self, capability: Capability) -> bool {
        let holds = |wanted: Capability| self.0 >> wanted.0 & 1 == 1;
        holds(capability) || capability.is_in_sys_admin() && holds(Capability::SYS_ADMIN)
    }

    /// Those of `wanted` that the set does not allow, in their order.
    #[must_use]
    pub fn missing(self, wanted: &[Capability]) -> Vec<Capability> {
        wanted
            .iter()
            .copied()
            .filter(|&capability| !self.has(capability))
            .collect()
    }

    /// The names of what is in the set, by number; a capability newer than this list is left out.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        NAMES
            .iter()
            .enumerate()
            .filter(|(number, _)| self.0 >> number & 1 == 1)
            .map(|(_, name)| *name)
            .collect()
    }
}

/// Reads the capabilities that are in effect for this process.
///
/// In a user namespace other than the first they hold only for what belongs to that namespace, which this set
/// cannot show: the kernel then refuses in spite of it.
///
/// # Errors
///
/// [`ProcessError::Io`] or [`ProcessError::NoSuchProcess`] if `/proc` is not mounted.
pub fn effective_capabilities() -> Result<Capabilities, ProcessError> {
    let own = Pid(std::process::id());
    let what = "capabilities";
    let text =
        fs::read("/proc/self/status").map_err(|source| ProcessError::from_io(own, what, source))?;
    parse_effective(&text).ok_or_else(|| ProcessError::malformed(own, what, &text))
}

/// Gives up every capability but `kept`, for this thread and those that it starts from now on, and the way to new ones
/// through a program that it executes (`no_new_privs`). There is no way back.
///
/// # Errors
///
/// [`ProcessError::Io`] if the kernel refuses, which leaves them as they were.
pub fn give_up_capabilities(kept: &[Capability]) -> Result<(), ProcessError> {
    /// `_LINUX_CAPABILITY_VERSION_3`: 64 bits in two halves.
    const VERSION: u32 = 0x2008_0522;
    /// struct __user_cap_header_struct; 0: this thread.
    #[repr(C)]
    struct Header {
        version: u32,
        thread: i32,
    }
    /// struct __user_cap_data_struct.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Half {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let failed = |_negative| {
        let own = Pid(std::process::id());
        ProcessError::from_io(own, "capabilities", std::io::Error::last_os_error())
    };
    let header = Header {
        version: VERSION,
        thread: 0,
    };
    let mut halves = [Half::default(); 2];
    // SAFETY: the kernel reads the header and writes two halves, as this version says.
    let read = unsafe { libc::syscall(libc::SYS_capget, &raw const header, &raw mut halves) };
    u32::try_from(read).map_err(failed)?;
    for (half, first) in halves.iter_mut().zip([0, 32]) {
        let bits = kept.iter().filter_map(|capability| {
            1_u32.checked_shl(u32::from(capability.0).checked_sub(first)?)
        });
        let bits: u32 = bits.sum();
        half.effective &= bits;
        half.permitted &= bits;
        half.inheritable &= bits;
    }
    // SAFETY: takes numbers only.
    let locked = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64) };
    u32::try_from(locked).map_err(failed)?;
    // SAFETY: the kernel reads the header and two halves, as this version says.
    let written = unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const halves) };
    u32::try_from(written).map_err(failed)?;
    Ok(())
}

fn parse_effective(status: &[u8]) -> Option<Capabilities> {
    let line = status
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"CapEff:"))?;
    let digits = std::str::from_utf8(line.trim_ascii()).ok()?;
    u64::from_str_radix(digits, 16).ok().map(Capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bits_are_those_of_capabilities_7() {
        // CAP_SYS_PTRACE is bit 19, CAP_PERFMON bit 38, CAP_BPF bit 39.
        let set = parse_effective(b"Name:\tx\nCapEff:\t000000c000080000\nCapBnd:\t0\n").unwrap();
        assert_eq!(set.names(), ["CAP_SYS_PTRACE", "CAP_PERFMON", "CAP_BPF"]);
        assert!(set.has(Capability::BPF) && !set.has(Capability::SYS_ADMIN));
        assert_eq!(
            set.missing(&[Capability::SYSLOG, Capability::PERFMON]),
            [Capability::SYSLOG]
        );
        assert_eq!(Capability::SYSLOG.to_string(), "CAP_SYSLOG");
    }

    #[test]
    fn sys_admin_stands_in_only_where_the_kernel_lets_it() {
        let set = Capabilities(1 << 21);
        assert_eq!(
            set.missing(&[
                Capability::BPF,
                Capability::PERFMON,
                Capability::CHECKPOINT_RESTORE,
                Capability::SYS_PTRACE,
                Capability::SYSLOG,
            ]),
            [Capability::SYS_PTRACE, Capability::SYSLOG]
        );
    }

    #[test]
    fn constants_point_at_their_names() {
        let pairs = [
            (Capability::DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"),
            (Capability::SYS_PTRACE, "CAP_SYS_PTRACE"),
            (Capability::SYS_ADMIN, "CAP_SYS_ADMIN"),
            (Capability::SYS_RESOURCE, "CAP_SYS_RESOURCE"),
            (Capability::SYSLOG, "CAP_SYSLOG"),
            (Capability::PERFMON, "CAP_PERFMON"),
            (Capability::BPF, "CAP_BPF"),
            (Capability::CHECKPOINT_RESTORE, "CAP_CHECKPOINT_RESTORE"),
        ];
        for (capability, name) in pairs {
            assert_eq!(capability.name(), name);
        }
    }

    #[test]
    fn a_thread_that_gave_capabilities_up_has_only_those_that_it_kept() {
        let kept = [Capability::SYS_PTRACE, Capability::BPF];
        let read = || fs::read("/proc/thread-self/status").unwrap();
        let before = parse_effective(&read()).unwrap();
        let after = std::thread::spawn(move || {
            give_up_capabilities(&kept).unwrap();
            let status = read();
            let locked = String::from_utf8_lossy(&status).contains("NoNewPrivs:\t1\n");
            assert!(locked);
            // A thread of this one has no more, and neither has what it executes.
            let child = std::process::Command::new("cat")
                .arg("/proc/self/status")
                .output()
                .unwrap();
            let left = parse_effective(&status).unwrap();
            let of_child = parse_effective(&child.stdout).unwrap();
            assert_eq!(of_child.0 & !left.0, 0);
            left
        });
        let after = after.join().unwrap();
        let kept_before: Vec<_> = kept.into_iter().filter(|one| before.has(*one)).collect();
        assert_eq!(after.names().len(), kept_before.len());
        assert!(after.missing(&kept_before).is_empty());
        // This thread has given up nothing.
        assert_eq!(parse_effective(&read()).unwrap(), before);
    }

    #[test]
    fn own_capabilities_can_be_read() {
        effective_capabilities().unwrap();
    }
}
