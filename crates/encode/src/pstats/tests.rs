use super::*;
use crate::sample_profile::{
    add_frame, add_process, add_samples, add_thread, hostile_profile, rich_profile, small_profile,
};
use std::collections::HashMap;

/// What a file holds, read by other code than the writer's.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Integer(i64),
    Float(f64),
    Text(String),
    Tuple(Vec<Self>),
    Dictionary(Vec<(Self, Self)>),
}

/// The value at the start of `bytes`; `None` for the end of a dictionary.
fn read(bytes: &mut &[u8]) -> Option<Value> {
    let take = |bytes: &mut &[u8], length: usize| {
        let (taken, rest) = bytes.split_at(length);
        *bytes = rest;
        taken.to_vec()
    };
    let number = |bytes: &mut &[u8]| i32::from_le_bytes(take(bytes, 4).try_into().unwrap());
    Some(match take(bytes, 1)[0] {
        b'0' => return None,
        b'i' => Value::Integer(number(bytes).into()),
        b'l' => {
            let digits = number(bytes);
            let digit = |bytes: &mut &[u8]| u16::from_le_bytes(take(bytes, 2).try_into().unwrap());
            let sum = (0..digits).fold(0_i64, |sum, place| {
                sum | i64::from(digit(bytes)) << (15 * place)
            });
            Value::Integer(sum)
        }
        b'g' => Value::Float(f64::from_le_bytes(take(bytes, 8).try_into().unwrap())),
        b'u' => {
            let length = number(bytes) as usize;
            Value::Text(String::from_utf8(take(bytes, length)).unwrap())
        }
        b'(' => {
            let length = number(bytes);
            Value::Tuple((0..length).map(|_| read(bytes).unwrap()).collect())
        }
        b'{' => {
            let mut entries = Vec::new();
            while let Some(key) = read(bytes) {
                entries.push((key, read(bytes).unwrap()));
            }
            Value::Dictionary(entries)
        }
        other => panic!("type {other}"),
    })
}

/// `name` to calls, own, cumulative, and the same by the caller's name.
type Stats = HashMap<String, (i64, f64, f64, HashMap<String, (i64, f64, f64)>)>;

fn stats(profile: &Profile) -> Stats {
    let bytes = encode(profile, &Options::default()).unwrap();
    let mut rest = bytes.as_slice();
    let Some(Value::Dictionary(entries)) = read(&mut rest) else {
        panic!("a dictionary");
    };
    assert!(rest.is_empty());
    let name = |key: &Value| match key {
        Value::Tuple(parts) => match &parts[2] {
            Value::Text(name) => name.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let counts = |value: &Value| match value {
        Value::Tuple(parts) => match parts[..] {
            [
                Value::Integer(primitive),
                Value::Integer(calls),
                Value::Float(own),
                Value::Float(all),
                ..,
            ] => {
                assert_eq!(primitive, calls);
                (calls, own, all)
            }
            ref other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let mut stats = Stats::new();
    for (key, value) in &entries {
        let (calls, own, all) = counts(value);
        let Value::Tuple(parts) = value else {
            unreachable!()
        };
        let Value::Dictionary(callers) = &parts[4] else {
            panic!("callers")
        };
        let callers = callers
            .iter()
            .map(|(key, value)| (name(key), counts(value)));
        stats.insert(name(key), (calls, own, all, callers.collect()));
    }
    stats
}

#[test]
fn recursion_counts_a_sample_once() {
    let mut profile = Profile::default();
    let process = add_process(&mut profile, "p", 1);
    let thread = add_thread(&mut profile, process, "t", 1);
    let [main, f, g] =
        ["main", "f", "g"].map(|name| add_frame(&mut profile, FrameKind::Python, name, "a.py", 1));
    add_samples(&mut profile, thread, &[main, f, g, f, g, f], 5);
    add_samples(&mut profile, thread, &[main, f], 2);
    let stats = stats(&profile);
    let milliseconds = |count: i64| count as f64 / 1e3;
    let counts = |calls, own, all| (calls, milliseconds(own), milliseconds(all));
    let row = |name: &str| {
        let (calls, own, all, _) = stats[name];
        (calls, own, all)
    };
    assert_eq!(row("main"), counts(7, 0, 7));
    assert_eq!(row("f"), counts(7, 7, 7));
    assert_eq!(row("g"), counts(5, 0, 5));
    assert_eq!(stats["f"].3["main"], counts(7, 2, 7));
    assert_eq!(stats["f"].3["g"], counts(5, 5, 5));
    assert_eq!(stats["g"].3["f"], counts(5, 0, 5));
    assert!(stats["main"].3.is_empty());
}

#[test]
fn own_times_together_are_the_time_of_all_samples() {
    for profile in [small_profile(), hostile_profile()] {
        let own: f64 = stats(&profile).values().map(|(_, own, ..)| own).sum();
        let weights = profile.samples.iter().map(|sample| sample.weight_ns);
        let expected = weights.sum::<u64>() as f64 / 1e9;
        assert!((own - expected).abs() < 1e-9, "{own} and {expected}");
    }
}

#[test]
fn lines_of_one_function_are_one_function() {
    let stats = stats(&rich_profile());
    assert_eq!(stats["fib"].0, 70 + 71 + 6);
}

#[test]
fn counts_beyond_31_bits_are_kept() {
    let mut file = Vec::new();
    for number in [0, 1, 0x7fff_ffff, 0x8000_0000, 1 << 60] {
        file.clear();
        push_integer(&mut file, number);
        assert_eq!(
            read(&mut file.as_slice()),
            Some(Value::Integer(number as i64))
        );
    }
}
