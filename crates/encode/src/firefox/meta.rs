//! What was profiled, the categories and the kinds of markers.

use serde_json::{Value, json};
use viperf_profile::{FrameKind, Profile};

/// What the file is written as; see the module's documentation.
const PROCESSED_VERSION: u32 = 60;

/// The version of the Gecko format that it says it comes from; no reader uses it but to refuse later ones.
const GECKO_VERSION: u32 = 30;

/// The category of a kind is its place here.
const CATEGORIES: [(&str, &str); 4] = [
    ("Python", "blue"),
    ("Native", "orange"),
    ("Kernel", "red"),
    ("Incomplete", "grey"),
];

/// The number of a kind's category.
pub(super) fn category(kind: FrameKind) -> u32 {
    match kind {
        FrameKind::Python => 0,
        FrameKind::Native | FrameKind::Interpreter => 1,
        FrameKind::Kernel => 2,
        FrameKind::Incomplete => 3,
    }
}

/// The type of the markers that say on which CPU a thread ran.
pub(super) const CPU_MARKER: &str = "viperf-cpu";
/// The type of the markers of samples that are not complete.
pub(super) const INCOMPLETE_MARKER: &str = "viperf-incomplete";

/// The head of the file.
pub(super) fn meta(profile: &Profile) -> Value {
    let information = &profile.information;
    let categories = CATEGORIES
        .map(|(name, color)| json!({ "name": name, "color": color, "subcategories": ["Other"] }));
    let cpus = profile.samples.iter().map(|sample| sample.cpu).max();
    let product = match information.target.as_str() {
        "" => "viperf",
        target => target,
    };
    let mut entries = vec![
        entry("Samples", &profile.samples.len().to_string()),
        entry("Samples complete", &profile.complete_samples().to_string()),
        entry("Samples lost", &profile.lost.to_string()),
        entry("Host", &information.hostname),
    ];
    for (reason, samples) in &profile.incomplete {
        entries.push(entry(reason, &format!("{samples} samples incomplete")));
    }
    json!({
        "version": GECKO_VERSION,
        "preprocessedProfileVersion": PROCESSED_VERSION,
        "interval": milliseconds(information.period_ns),
        "startTime": milliseconds(information.started_unix_ns),
        "profilingStartTime": 0,
        "profilingEndTime": milliseconds(information.duration_ns),
        "processType": 0,
        "product": product,
        "importedFrom": format!("viperf {}", information.viperf_version),
        "oscpu": information.kernel,
        "platform": "Linux",
        "logicalCPUs": cpus.map_or(0, |last| u64::from(last) + 1),
        "stackwalk": 1,
        "debug": false,
        "toolkit": "",
        "symbolicated": true,
        "usesOnlyOneStackType": true,
        "sourceCodeIsNotOnSearchfox": true,
        "keepProfileThreadOrder": true,
        "categories": categories,
        "sampleUnits": { "time": "ms", "eventDelay": "ms", "threadCPUDelta": "ns" },
        "markerSchema": marker_schema(),
        "extra": [{ "label": "viperf", "entries": entries }],
    })
}

fn entry(label: &str, value: &str) -> Value {
    json!({ "label": label, "format": "string", "value": value })
}

fn marker_schema() -> Value {
    json!([
        {
            "name": CPU_MARKER,
            "tooltipLabel": "on CPU {marker.data.cpu}",
            "tableLabel": "on CPU {marker.data.cpu}, {marker.data.samples} samples",
            "chartLabel": "CPU {marker.data.cpu}",
            "display": ["marker-chart", "marker-table"],
            "fields": [
                { "key": "cpu", "label": "CPU", "format": "integer" },
                { "key": "samples", "label": "samples", "format": "integer" },
            ],
            "description": "Samples in a row that were taken on one CPU.",
        },
        {
            "name": INCOMPLETE_MARKER,
            "tooltipLabel": "{marker.data.reason}",
            "tableLabel": "{marker.data.reason}",
            "chartLabel": "{marker.data.reason}",
            "display": ["marker-chart", "marker-table"],
            "fields": [{ "key": "reason", "label": "reason", "format": "string" }],
            "description": "A sample whose stack could not be read to its end.",
        },
    ])
}

/// Nanoseconds in the Profiler's unit.
pub(super) fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}
