//! CPython's own profiler as the oracle for own and total times.
//!
//! Random stacks, recursion included, are acted out by a program whose clock ticks once in each leaf, under cProfile with
//! that clock; what `pstats` then says of each function must be what the statistics say of the same stacks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use viperf_profile::{CallTree, GroupBy, Grouping, Profile, group_statistics};

use crate::made_up::{MadeUp, Random};

const ACTED: &str = r#"
import cProfile, pstats, sys

clock = 0
functions = {}
for number in range(7):
    source = f"""
def f{number}(stack, depth):
    global clock
    if depth == len(stack):
        clock += 1
    else:
        functions[stack[depth]](stack, depth + 1)
"""
    exec(source)
    functions[number] = globals()[f"f{number}"]

def run(stacks):
    for stack in stacks:
        functions[stack[0]](stack, 1)

with open(sys.argv[1]) as lines:
    stacks = [[int(number) for number in line.split()] for line in lines]
profile = cProfile.Profile(lambda: clock, 1.0, True, False)
profile.runcall(run, stacks)
profile.dump_stats(sys.argv[2])
for (file, line, name), (cc, nc, own, total, callers) in pstats.Stats(sys.argv[2]).stats.items():
    if name.startswith("f") and name[1:].isdigit():
        print(name, round(own), round(total))
"#;

/// A profile, and its stacks as lines of numbers.
fn random_stacks(seed: u64) -> (Profile, String) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut made = MadeUp::default();
    let thread = made.thread("p", 1, 1, "t");
    let mut lines = String::new();
    for _ in 0..400 {
        let depth = 1 + random.below(9);
        let numbers: Vec<u64> = (0..depth).map(|_| random.below(7)).collect();
        let frames: Vec<_> = numbers
            .iter()
            .map(|number| made.python(&format!("f{number}"), "/srv/a.py", 1, 1))
            .collect();
        made.samples(thread, &frames, 1);
        let texts: Vec<_> = numbers.iter().map(ToString::to_string).collect();
        writeln!(lines, "{}", texts.join(" ")).unwrap();
    }
    (made.profile, lines)
}

#[test]
fn own_and_total_are_what_cprofile_measures_of_the_same_stacks() {
    let folder = tempfile::tempdir().unwrap();
    let [script, input, statistics] =
        ["acted.py", "stacks.txt", "acted.pstats"].map(|name| folder.path().join(name));
    std::fs::write(&script, ACTED).unwrap();
    for seed in 1..=5 {
        let (profile, lines) = random_stacks(seed);
        std::fs::write(&input, lines).unwrap();
        let output = Command::new("python3")
            .args([&script, &input, &statistics])
            .output();
        let Ok(output) = output else {
            println!("skipped: report/cprofile: there is no python3");
            return;
        };
        assert!(output.status.success(), "{output:?}");
        let measured: BTreeMap<String, (u64, u64)> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| {
                let mut words = line.split(' ');
                let name = words.next().unwrap().to_owned();
                let mut number = || words.next().unwrap().parse().unwrap();
                (name, (number(), number()))
            })
            .collect();
        let grouping = Grouping::new(&profile, GroupBy::Function).unwrap();
        let tree = CallTree::new(&profile, &grouping).unwrap();
        let ours = group_statistics(&tree, &tree.weigh(&profile.samples), &grouping);
        let ours: BTreeMap<String, (u64, u64)> = grouping
            .iter()
            .zip(&ours)
            .map(|((_, group), ours)| {
                (
                    group.name.to_string(),
                    (ours.own.samples, ours.total.samples),
                )
            })
            .collect();
        assert_eq!(ours, measured, "seed {seed}");
    }
}
