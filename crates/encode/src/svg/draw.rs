//! The boxes as SVG.

use std::fmt::Write as _;

use viperf_profile::{FrameKind, Profile};

use crate::stack_tree::Unit;
use crate::svg::Options;
use crate::svg::call_tree::{CallTree, Label, Node};

/// Of a row of boxes, in pixels.
const ROW_HEIGHT: usize = 17;
/// Above the boxes: the title, the numbers, the legend.
const HEAD_HEIGHT: usize = 66;
/// Left and right of the boxes.
const MARGIN: f64 = 10.0;
/// Of a character of the boxes' font, on the average; a wider one is cut off by the box's own edge.
const CHARACTER_WIDTH: f64 = 6.6;

/// Light and dark as the reader's system has it. Text on every colour has a contrast of 4.5 or more.
const STYLE: &str = "\
svg{background:#fff;font-family:system-ui,sans-serif;color:#1b1f24}\
text{fill:#1b1f24;font-size:12px}\
.title{font-size:16px;font-weight:600}.note{fill:#57606a}\
rect{stroke:#fff;stroke-width:.5}g:hover>rect{stroke:#1b1f24;stroke-width:1}\
.box{font-family:ui-monospace,monospace;font-size:11px;pointer-events:none}\
.whole{fill:#d0d7de}\
.python0{fill:#9cc9f5}.python1{fill:#8abdf0}.python2{fill:#aed4f9}\
.native0{fill:#f6c99a}.native1{fill:#f2bd86}.native2{fill:#f9d5ae}\
.kernel0{fill:#f3aeb2}.kernel1{fill:#ee9fa4}.kernel2{fill:#f7bfc2}\
.incomplete0,.incomplete1,.incomplete2{fill:#c8ccd1}\
@media(prefers-color-scheme:dark){svg{background:#16191d}.head{fill:#e6edf3}.note{fill:#9da7b1}rect{stroke:#16191d}\
g:hover>rect{stroke:#fff}}";

/// The whole picture.
pub(super) fn draw(profile: &Profile, tree: &CallTree, options: &Options) -> String {
    let whole = tree.nodes.first().map_or(0, |node| node.amount);
    let mut boxes = Boxes {
        tree,
        scale: room(options) / whole.max(1) as f64,
        text: String::new(),
        deepest: 0,
    };
    boxes.draw_all();
    let height = HEAD_HEIGHT + (boxes.deepest + 1) * ROW_HEIGHT + 12;
    let width = options.width;
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n<style>{STYLE}</style>\n"
    );
    draw_head(&mut text, profile, tree);
    text += &boxes.text;
    text += "</svg>\n";
    text
}

/// How many pixels there are for all boxes of a row.
pub(super) fn room(options: &Options) -> f64 {
    (f64::from(options.width) - 2.0 * MARGIN).max(1.0)
}

fn draw_head(text: &mut String, profile: &Profile, tree: &CallTree) {
    let left_out = tree.left_out;
    let target = match profile.information.target.as_str() {
        "" => "viperf",
        target => target,
    };
    let target = escape(target);
    let samples = profile.samples.len();
    let mut note = format!(
        "{samples} samples, {} complete, {} lost",
        profile.complete_samples(),
        profile.lost
    );
    if let (Some(whole), Unit::Nanoseconds) = (tree.nodes.first(), tree.unit) {
        note += &format!(", {}", show_amount(tree.unit, whole.amount));
    }
    if left_out > 0 {
        note += &format!("; {left_out} boxes are too narrow to be drawn");
    }
    push(
        text,
        format_args!(
            "<title>{target}</title>\n<text class=\"title head\" x=\"{MARGIN}\" y=\"24\">{target}</text>\n\
             <text class=\"note\" x=\"{MARGIN}\" y=\"42\">{note}</text>\n"
        ),
    );
    let mut x = MARGIN;
    for kind in [
        FrameKind::Python,
        FrameKind::Native,
        FrameKind::Kernel,
        FrameKind::Incomplete,
    ] {
        let name = kind.name();
        push(
            text,
            format_args!(
                "<rect class=\"{name}0\" x=\"{x}\" y=\"49\" width=\"11\" height=\"11\"/>\
                 <text class=\"note\" x=\"{}\" y=\"59\">{name}</text>\n",
                x + 16.0
            ),
        );
        x += 30.0 + 7.0 * name.len() as f64;
    }
}

/// Boxes drawn so far.
struct Boxes<'a> {
    tree: &'a CallTree,
    /// Pixels per unit.
    scale: f64,
    text: String,
    deepest: usize,
}

impl Boxes<'_> {
    fn draw_all(&mut self) {
        let tree = self.tree;
        // Its place, its depth, and the amount that stands left of it.
        let mut pending = vec![(0_usize, 0_usize, 0_u64)];
        while let Some((place, depth, left)) = pending.pop() {
            let Some(node) = tree.nodes.get(place) else {
                continue;
            };
            self.deepest = self.deepest.max(depth);
            self.draw_box(node, depth, left);
            let mut child_left = left;
            for &child in &node.children {
                pending.push((child, depth + 1, child_left));
                let amount = tree.nodes.get(child).map_or(0, |child| child.amount);
                child_left = child_left.saturating_add(amount);
            }
        }
    }

    fn draw_box(&mut self, node: &Node, depth: usize, left: u64) {
        let Some(label) = self.tree.labels.get(node.label) else {
            return;
        };
        let whole = self.tree.nodes.first().map_or(0, |whole| whole.amount);
        let share = 100.0 * node.amount as f64 / whole.max(1) as f64;
        let name = escape(&label.text);
        let class = class(label);
        let x = MARGIN + left as f64 * self.scale;
        let y = HEAD_HEIGHT + depth * ROW_HEIGHT;
        let width = node.amount as f64 * self.scale;
        let height = ROW_HEIGHT - 1;
        let samples = node.samples;
        let time = match self.tree.unit {
            Unit::Nanoseconds => format!(", {}", show_amount(self.tree.unit, node.amount)),
            Unit::Samples => String::new(),
        };
        push(
            &mut self.text,
            format_args!(
                "<g><title>{name} ({samples} samples, {share:.2} %{time})</title>\
                 <rect class=\"{class}\" x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"{height}\"/>"
            ),
        );
        if let Some(shown) = fit(&label.text, width) {
            push(
                &mut self.text,
                format_args!(
                    "<text class=\"box\" x=\"{:.2}\" y=\"{}\">{}</text>",
                    x + 3.0,
                    y + 12,
                    escape(&shown)
                ),
            );
        }
        self.text += "</g>\n";
    }
}

/// As much of a name as its box has room for; `None` where that would say nothing.
fn fit(name: &str, width: f64) -> Option<String> {
    let room = ((width - 6.0) / CHARACTER_WIDTH) as usize;
    if room < 3 {
        return None;
    }
    if name.chars().count() <= room {
        return Some(name.to_owned());
    }
    let start: String = name.chars().take(room - 1).collect();
    Some(start + "…")
}

/// Three shades of a kind, by name, so that neighbours can be told apart and a function looks the same everywhere.
fn class(label: &Label) -> String {
    let Some(kind) = label.kind else {
        return "whole".to_owned();
    };
    let name = match kind {
        FrameKind::Interpreter => FrameKind::Native.name(),
        kind => kind.name(),
    };
    let sum = label.text.bytes().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    format!("{name}{}", sum % 3)
}

fn show_amount(unit: Unit, amount: u64) -> String {
    match unit {
        Unit::Nanoseconds if amount >= 1_000_000_000 => format!("{:.2} s", amount as f64 / 1e9),
        Unit::Nanoseconds => format!("{:.2} ms", amount as f64 / 1e6),
        Unit::Samples => format!("{amount} samples"),
    }
}

/// Text that is nothing but text in XML, attributes included.
///
/// Control characters, which XML 1.0 forbids, and those that turn the direction of what follows are written as escapes.
fn escape(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => {
                text.extend(character.escape_unicode());
            }
            _ if character.is_control() => text.extend(character.escape_unicode()),
            _ => text.push(character),
        }
    }
    text
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(arguments);
}
