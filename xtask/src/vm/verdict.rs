//! Whether what viperf recorded in a virtual machine is what its program did.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use viperf_e2e::{Folded, Frame, Stack};

/// As many samples of four seconds at 199 a second come even from a machine that is slow.
const FEWEST_SAMPLES: u64 = 100;
/// The most that a share may differ from what the program's own clock says. The clocks of an emulated machine jump where its
/// own CPUs have to wait; on real ones the end-to-end tests allow two points.
const TOLERANCE: f64 = 0.15;
/// The part of the samples that must be whole.
const COMPLETE: f64 = 0.95;
/// The part of the samples in `read_zeros` that must have been taken in the kernel: reading is what it does.
const IN_KERNEL: f64 = 0.7;
/// The part of the samples that must have the one order of frames that is true.
const IN_ORDER: f64 = 0.97;

/// What a machine said, when all of it is right.
pub(super) struct Told {
    pub(super) release: String,
    pub(super) summary: String,
    /// The verifier's figures as they were printed, if they were asked for.
    pub(super) verifier: Option<String>,
}

/// Looks at every result.
///
/// # Errors
/// What is not right, with what was seen.
pub(super) fn judge(results: &[Value]) -> Result<Told> {
    let find = |what: &str| {
        let found = results.iter().find(|result| result["what"] == what);
        found.with_context(|| format!("the machine said nothing of: {what}"))
    };
    if let Ok(broken) = find("broken") {
        ensure!(false, "its first process failed: {}", broken["errors"]);
    }
    let release = find("kernel")?["release"]
        .as_str()
        .unwrap_or("?")
        .to_owned();
    let doctor = find("doctor")?;
    ensure!(
        doctor["code"] == 0,
        "viperf doctor ended with {}: {}",
        doctor["code"],
        text(doctor, "output")
    );
    let (process, child) = (find("process")?, find("child")?);
    let samples = read_samples(process)?;
    ensure!(
        samples.total() >= FEWEST_SAMPLES,
        "only {} samples: {}",
        samples.total(),
        text(process, "errors")
    );
    let complete = process["figures"]["samples_complete"].as_u64().unwrap_or(0);
    ensure!(
        samples.share(complete) >= COMPLETE,
        "only {complete} of {} samples are complete: {}",
        samples.total(),
        process["figures"]["incomplete"]
    );
    let worst = compare_shares(&samples, &process["shares"])?;
    let in_order = check_order(&samples)?;
    check_order(&read_samples(child)?).context("in a forked child of a command")?;
    check_tick(find("tick")?, &release).context("with --clock tick")?;
    let verifier = find("verifier").ok();
    let verifier = verifier.map(|verifier| text(verifier, "output").to_owned());
    Ok(Told {
        summary: format!(
            "Linux {release}: {} samples, {:.1} % complete, {:.1} % in their order, shares within {:.1} points",
            samples.total(),
            100.0 * samples.share(complete),
            100.0 * in_order,
            100.0 * worst,
        ),
        release,
        verifier,
    })
}

/// On the kernel's tick the stacks are the same, where viperf can use it; older kernels are refused by name.
fn check_tick(result: &Value, release: &str) -> Result<()> {
    if is_before_5_15(release) {
        ensure!(
            result["code"] == 5 && text(result, "errors").contains("Linux 5.15"),
            "viperf record ended with {}: {}",
            result["code"],
            text(result, "errors")
        );
        return Ok(());
    }
    let samples = read_samples(result)?;
    ensure!(
        samples.total() >= FEWEST_SAMPLES,
        "only {} samples: {}",
        samples.total(),
        text(result, "errors")
    );
    check_order(&samples).map(drop)
}

fn is_before_5_15(release: &str) -> bool {
    let mut numbers = release
        .split(['.', '-'])
        .map(|number| number.parse().unwrap_or(0_u32));
    (numbers.next(), numbers.next()) < (Some(5), Some(15))
}

fn text<'a>(result: &'a Value, key: &str) -> &'a str {
    result[key].as_str().unwrap_or_default()
}

fn read_samples(result: &Value) -> Result<Folded> {
    ensure!(
        result["code"] == 0,
        "viperf record ended with {}: {}",
        result["code"],
        text(result, "errors")
    );
    Folded::parse(text(result, "folded")).context("what was recorded cannot be read")
}

/// The worst difference to the shares that the program measured itself.
fn compare_shares(samples: &Folded, shares: &Value) -> Result<f64> {
    let mut worst: f64 = 0.0;
    let shares = shares
        .as_object()
        .context("the program printed no shares")?;
    // What the program does between its parts is in neither.
    let inside = |stack: &Stack| shares.keys().any(|name| stack.position(name).is_some());
    let samples = samples.only(inside);
    for (name, truth) in shares {
        let truth = truth.as_f64().context("a share")?;
        let seen = samples.share(samples.count(|stack| stack.position(name).is_some()));
        worst = worst.max((seen - truth).abs());
        ensure!(
            (seen - truth).abs() <= TOLERANCE,
            "{name} has {seen:.3} of {} samples, its own clock says {truth:.3}:\n{}",
            samples.total(),
            samples.heaviest(8)
        );
    }
    Ok(worst)
}

/// `rounds` > C of `sorted` > `by_key` > `read_zeros` > C > kernel, and nothing of the user above the kernel: the part of the
/// samples in `read_zeros` that are so.
fn check_order(samples: &Folded) -> Result<f64> {
    let reading = samples.only(|stack| stack.position("read_zeros").is_some());
    let in_kernel = reading.only(|stack| is_kernel(stack.frames.last()));
    let share = reading.share(in_kernel.total());
    ensure!(
        share >= IN_KERNEL,
        "only {share:.2} of {} samples in read_zeros are in the kernel:\n{}",
        reading.total(),
        reading.heaviest(6)
    );
    let right = in_kernel.share(in_kernel.count(is_in_order));
    ensure!(
        right >= IN_ORDER,
        "only {right:.2} of {} samples have their order:\n{}",
        in_kernel.total(),
        in_kernel.heaviest(6)
    );
    let named = in_kernel.share(in_kernel.count(reads_a_file));
    ensure!(
        named >= IN_KERNEL,
        "only {named:.2} of {} samples show the kernel's reading:\n{}",
        in_kernel.total(),
        in_kernel.heaviest(6)
    );
    Ok(right)
}

fn is_kernel(frame: Option<&Frame>) -> bool {
    matches!(frame, Some(Frame::Kernel { .. }))
}

/// The kernel's function for read(2) has had this name since 2.2.
fn reads_a_file(stack: &Stack) -> bool {
    stack
        .frames
        .iter()
        .any(|frame| matches!(frame, Frame::Kernel { name } if name.starts_with("vfs_read")))
}

fn is_in_order(stack: &Stack) -> bool {
    let between = |outer, inner| stack.between(outer, inner).unwrap_or_default();
    let sorting = between("by_key", "read_zeros");
    let calling = between("rounds", "by_key");
    let under = stack.under("read_zeros");
    let native = under.iter().take_while(|frame| frame.is_native()).count();
    let (_, kernel) = under.split_at(native);
    sorting.is_empty()
        && !calling.is_empty()
        && calling.iter().all(Frame::is_native)
        && native > 0
        && kernel.iter().all(|frame| is_kernel(Some(frame)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "python3 (7);rounds (a.py:1)_[p];sorted (python3)_[pn];by_key (a.py:2)_[p];\
                         read_zeros (a.py:3)_[p];read (libc.so.6)_[pn];vfs_read_[k];read_zero_[k] 100\n";

    #[test]
    fn the_true_order_is_told_from_any_other() {
        let judge = |text: &str| check_order(&Folded::parse(text).unwrap());
        assert!(judge(RIGHT).is_ok());
        assert!(judge(&RIGHT.replace("sorted (python3)_[pn];", "")).is_err());
        assert!(judge(&RIGHT.replace("read (libc.so.6)_[pn];", "")).is_err());
        let swapped = RIGHT.replace(
            "vfs_read_[k];read_zero_[k]",
            "read_zero_[k];read (libc.so.6)_[pn]",
        );
        assert!(judge(&swapped).is_err());
        assert!(judge(&RIGHT.replace("vfs_read", "other")).is_err());
    }

    #[test]
    fn kernels_without_the_tick_are_known_by_their_release() {
        for (release, is_before) in [
            ("5.10.0-32-amd64", true),
            ("5.15.0-1", false),
            ("6.1.0-26-amd64", false),
        ] {
            assert_eq!(is_before_5_15(release), is_before, "{release}");
        }
        let refused = serde_json::json!({"code": 5, "errors": "it needs Linux 5.15 or newer"});
        assert!(check_tick(&refused, "5.10.0-32-amd64").is_ok());
        assert!(check_tick(&refused, "6.1.0-26-amd64").is_err());
    }

    #[test]
    fn shares_are_compared_with_what_the_program_measured() {
        let text = "p (1);count (a.py:1)_[p] 40\np (1);read_zeros (a.py:3)_[p] 60\np (1);main (a.py:3)_[p] 9\n";
        let samples = Folded::parse(text).unwrap();
        let truth = serde_json::json!({"count": 0.41, "read_zeros": 0.59});
        assert!(compare_shares(&samples, &truth).unwrap() < 0.011);
        let other = serde_json::json!({"count": 0.6, "read_zeros": 0.4});
        assert!(compare_shares(&samples, &other).is_err());
    }
}
